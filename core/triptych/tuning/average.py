"""A moving average of the weights: training on few samples swings, and the middle of its path does better than its end.

Polyak & Juditsky 1992; with an exponential average as in Tarvainen & Valpola 2017, "Mean teachers". It costs a pass
over the weights a step and lets training end after fewer epochs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of a model's trainable parameters, which moves by `1 - decay` at a step; with 0 there is none.

    The first steps count for more, so that the weights at the start are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights: dict[str, Tensor] = {name: p.detach().clone() for name, p in self._own(model).items()}

    def step(self, model: nn.Module) -> None:
        """Take in the weights after a step of the optimizer."""
        self.steps += 1
        share = 1 - min(self.decay, self.steps / (self.steps + 9))
        with torch.no_grad():
            for name, parameter in self._own(model).items():
                self.weights[name].lerp_(parameter, share)

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """The model has the average for its weights inside of the block, and its own again behind it."""
        own = self._own(model)
        kept = {name: p.detach().clone() for name, p in own.items()}
        _set(own, self.weights)
        try:
            yield
        finally:
            _set(own, kept)

    def state(self) -> dict[str, Tensor]:
        """As tensors, for a checkpoint."""
        return {**self.weights, "steps": torch.tensor(self.steps)} if self.decay else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The reverse of `state`."""
        for name, weight in self.weights.items():
            weight.copy_(state[name])
        self.steps = int(state["steps"]) if self.decay else 0

    def _own(self, model: nn.Module) -> dict[str, nn.Parameter]:
        return {name: p for name, p in model.named_parameters() if p.requires_grad} if self.decay else {}


def _set(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
