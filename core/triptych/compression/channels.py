"""Fewer channels in a convolutional image encoder: "channels:0.75" keeps three quarters of those of every layer.

Whole channels go, with all that hangs on them (Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", by its
library torch-pruning), so what is left is a smaller dense network that any runtime computes faster. The weakest go:
those whose weights, over all layers that share the channel, have the smallest norm (Li et al. 2017, "Pruning Filters
for Efficient ConvNets"). The size of the vectors stays.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from triptych.compression.base import CompressionContext, Compressor
from triptych.compression.distil import distil
from triptych.compression.text import share_of
from triptych.encoders.timm import TimmEncoder
from triptych.errors import ConfigError, MissingError
from triptych.models.multimodal import MultimodalModel

ROUND_TO = 8  # channels: what processors compute at once
STATISTICS = 256  # pictures are enough for the mean and variance of a channel
BATCH = 16
PRUNABLE = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)


class Channels(Compressor):
    """Keep the strongest channels; the narrow network's statistics are taken anew, and it is trained again."""

    name = "channels"

    def __init__(self, argument: str = "0.75") -> None:
        super().__init__(argument or "0.75")
        self._share = share_of(self.name, self.argument, 0.75)

    def obstacle(self, model: MultimodalModel) -> str | None:
        """See the base."""
        if "image" not in model.modalities:
            return "the model sees no pictures"
        encoder = model.encoder("image")
        if not isinstance(encoder, TimmEncoder):
            return f"the image encoder {encoder.name} is not one of timm's"
        layers = [m for m in encoder.model.modules() if any(True for _ in m.parameters(recurse=False))]
        strange = sorted({type(m).__name__ for m in layers if not isinstance(m, PRUNABLE)})
        if strange or not any(isinstance(m, nn.Conv2d) for m in layers):
            return f"the image encoder {encoder.name} is not a plain convolutional network: {', '.join(strange)}"
        return None

    def convert(self, model: MultimodalModel, context: CompressionContext) -> MultimodalModel:
        """See the base. Raises `ConfigError` for a network whose channels cannot be taken apart."""
        student = copy.deepcopy(model).to("cpu").eval()
        encoder = student.encoder("image")
        assert isinstance(encoder, TimmEncoder)
        _prune(encoder, self._share)
        return student

    def recover(self, model: MultimodalModel, context: CompressionContext) -> list[str]:
        """See the base."""
        encoder = model.encoder("image")
        assert isinstance(encoder, TimmEncoder)
        pictures = [s.image for s in context.train if s.image is not None]
        _measure_statistics(encoder, pictures[:: -(-len(pictures) // STATISTICS) or 1])
        return distil(model, context, modalities=["image"], step=self.name)


def _prune(encoder: TimmEncoder, share: float) -> None:
    """Take the weakest channels out of the network of an encoder on the CPU, in place."""
    try:
        import torch_pruning
    except ImportError as error:
        raise MissingError("torch-pruning is not installed; pip install torch-pruning") from error
    network, size = encoder.model, int(encoder.settings["image_size"])
    picture = torch.zeros(1, 3, size, size)
    try:
        pruner = torch_pruning.pruner.MagnitudePruner(
            network,
            picture,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=1 - share,
            ignored_layers=[_last(network, encoder.dim)],
            round_to=ROUND_TO,
        )
        pruner.step()
        with torch.inference_mode():
            vectors: Tensor = network(picture)
    except (RuntimeError, ValueError, IndexError, AttributeError, AssertionError) as error:
        raise ConfigError(f"the channels of {encoder.name} cannot be taken apart: {error}") from error
    if vectors.shape[1] != encoder.dim:
        raise ConfigError(f"the channels of {encoder.name} cannot be taken apart without changing its vectors")
    for parameter in network.parameters():
        parameter.grad = None
    encoder.keep_sizes()


def _last(network: nn.Module, dim: int) -> nn.Module:
    """The layer that makes the vectors: the last one with as many outputs."""
    layers: list[nn.Module] = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.out_channels == dim]
    layers += [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features == dim]
    if not layers:
        raise ConfigError("the network has no layer whose outputs are its vectors")
    return layers[-1]


@torch.no_grad()
def _measure_statistics(encoder: TimmEncoder, values: list[object]) -> None:
    """Take mean and variance of every channel anew: the old ones are those of the wide network."""
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # a plain mean over the batches
        module.train()
    for start in range(0, len(values), BATCH):
        batch = values[start : start + BATCH]
        if len(batch) > 1 or len(values) == 1:
            pixels = encoder.prepare(batch)["pixels"].to(encoder.device)
            encoder.model(encoder.standardise(pixels))
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
        module.eval()
