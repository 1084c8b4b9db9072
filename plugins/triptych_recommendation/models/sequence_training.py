"""Training of the sequence model: steps over a stream without padding, and when to end."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.device import DevicePlan
from triptych.errors import ConfigError
from triptych.tuning.base import Progress
from triptych_recommendation.models.base import Report
from triptych_recommendation.models.sequence_batches import Corpus, Rows
from triptych_recommendation.models.sequence_inference import WIDTH, Reader
from triptych_recommendation.models.sequence_network import Dropout, Network, SoftmaxLoss
from triptych_recommendation.models.sequence_settings import SequenceSettings
from triptych_recommendation.models.sequence_table import Table

WARM_UP = 100, 5  # steps in which the learning rate rises, and epochs that they take at most
AVERAGE = 0.99  # of a step's weights, what the running average keeps


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch did."""

    loss: float  # mean
    standing: float  # of the held-out items after it, see `standing`
    cpu_seconds: float  # of training


class Draw:
    """Which items a step compares with: its own targets and others drawn evenly, or all items."""

    def __init__(self, corpus: Corpus, settings: SequenceSettings, rng: np.random.Generator) -> None:
        self.items, self.rng = corpus.items, rng
        self.drawn = settings.negatives if 0 < settings.negatives < corpus.items else 0
        counts = np.bincount(corpus.tokens, minlength=corpus.items)
        self.share = counts / max(1, counts.sum())

    def candidates(self, targets: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
        """Item rows [c], sorted, and the log of how many items each stands for (None: each for itself)."""
        if not self.drawn:
            return np.arange(self.items), None
        found = np.unique(np.concatenate([targets.reshape(-1), self.rng.integers(0, self.items, self.drawn)]))
        missed = targets.size * np.log1p(-self.share[found].clip(max=0.999))
        missed += self.drawn * np.log1p(-1 / self.items)
        return found.astype(np.int64), -np.log(-np.expm1(missed)).astype(np.float32)


def train(
    corpus: Corpus,
    settings: SequenceSettings,
    vectors: NDArray[np.float32] | None,
    plan: DevicePlan,
    rng: np.random.Generator,
    progress: Report,
) -> tuple[Reader, list[Epoch]]:
    """The reader of the best epoch, and what each epoch did. Without held-out items the last epoch is the best.

    Raises `ConfigError` where the loss is no number any more.
    """
    trainer = Trainer(corpus, settings, vectors, plan.device, rng)
    epochs: list[Epoch] = []
    best, leader = trainer.reader(), 0
    for number in range(settings.epochs):
        start = time.process_time()
        loss = trainer.epoch()
        seconds = time.process_time() - start
        if not np.isfinite(loss):
            reason = f"the loss of epoch {number + 1} is {loss}: training of the sequence model went astray"
            raise ConfigError(f"{reason} with learning_rate = {settings.learning_rate}; set a lower one")
        reader = trainer.reader()
        epochs.append(Epoch(loss, standing(reader, corpus), seconds))
        told = f"validation {epochs[-1].standing:.4f}" if len(corpus.held_items) else f"loss {loss:.4f}"
        progress(Progress("sequence", number + 1, settings.epochs, told))
        if not len(corpus.held_items) or number == 0 or epochs[-1].standing > epochs[leader].standing:
            best, leader = reader, number
        elif number - leader >= settings.patience:
            break
    return best, epochs


class Trainer:
    """A network in training, with the running average of its weights, which is what is used afterwards."""

    def __init__(
        self,
        corpus: Corpus,
        settings: SequenceSettings,
        vectors: NDArray[np.float32] | None,
        device: torch.device,
        rng: np.random.Generator,
    ) -> None:
        self.corpus, self.settings, self.device, self.rng = corpus, settings, device, rng
        self.network = Network(corpus.items, settings, vectors)
        self.network.initialize(rng)
        self.network.to(device)
        self.average = {name: weight.detach().clone() for name, weight in self.network.named_parameters()}
        self.optimizer = torch.optim.Adam(self.network.parameters(), betas=(0.9, 0.98), fused=True)
        self.draw, self.drop = Draw(corpus, settings, rng), Dropout(settings.dropout, device, rng)
        self.steps = 0
        self.warm_up = max(1, min(WARM_UP[0], WARM_UP[1] * len(corpus.tokens) // settings.batch))

    def epoch(self) -> float:
        """Learn from every event once; returns the mean loss."""
        settings = self.settings
        self.drop.renew(2 * max(settings.batch, settings.length) * settings.dim * WIDTH)
        losses = []
        for rows in self.corpus.epoch(settings.length, settings.batch, self.rng):
            self.steps += 1
            for group in self.optimizer.param_groups:
                group["lr"] = settings.learning_rate * min(1, self.steps / self.warm_up)
            loss = step_loss(self.network, rows, self.draw, self.drop, self.device)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            keep = min(AVERAGE, self.steps / (self.steps + 10))
            with torch.no_grad():
                for name, weight in self.network.named_parameters():
                    self.average[name].lerp_(weight, 1 - keep)
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def reader(self) -> Reader:
        """What has been learnt so far, as NumPy reads it."""
        return export(self.network, self.average, self.settings.heads)


def step_loss(network: Network, rows: Rows, draw: Draw, drop: Dropout, device: torch.device) -> Tensor:
    """The mean loss of all positions of some rows."""
    inputs, starts = (torch.from_numpy(part.astype(np.int64)).to(device) for part in (rows.inputs, rows.starts))
    chosen, weight = draw.candidates(rows.targets)
    column = torch.from_numpy(np.searchsorted(chosen, rows.targets.reshape(-1))).to(device)
    guess = network(inputs, starts, drop).flatten(0, 1)
    candidates = network.rows(torch.from_numpy(chosen).to(device))
    heavy = None if weight is None else torch.from_numpy(weight).to(device)
    loss: Tensor = SoftmaxLoss.apply(guess, candidates, heavy, column)
    return loss


@torch.no_grad()
def export(network: Network, weights: dict[str, Tensor], heads: int) -> Reader:
    """The network with those weights as NumPy reads it: an item's table row and its content are one vector there."""
    arrays = {name: weight.cpu().numpy().copy() for name, weight in weights.items()}
    table = arrays.pop("table")
    if network.content is not None:
        table = table + network.vectors.cpu().numpy() @ arrays.pop("content.weight").T
    return Reader(Table(table), arrays, heads)


def standing(reader: Reader, corpus: Corpus) -> float:
    """Mean of 1 / log2(2 + rank) of the held-out items among all their users have not chosen: NDCG without an end."""
    if not len(corpus.held_items):
        return 0.0
    gains = []
    for start in range(0, len(corpus.held_items), 256):
        histories = corpus.held_histories[start : start + 256]
        wanted = corpus.held_items[start : start + 256]
        logits = reader.table.products(reader.guesses(histories))
        own = logits[np.arange(len(wanted)), wanted].copy()
        for row, history in zip(logits, histories, strict=True):
            row[history] = -np.inf
        ranks = (logits >= own[:, None]).sum(axis=1) - 1
        gains.append(1 / np.log2(2 + np.maximum(ranks, 0)))
    return float(np.concatenate(gains).mean())
