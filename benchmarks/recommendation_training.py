"""Training the sequence model: throughput, and CPU seconds to a quality, beside a plain PyTorch loop.

The plain loop is SASRec as it is usually written: `nn.TransformerEncoder` over histories padded to one length, with
the same size, loss, optimizer, learning rate and steps an epoch. It computes the loss only where there is an item, so
that padding costs it in the transformer alone. Both run on one thread and are timed in CPU seconds, validation left
out; validation is the NDCG without a cut-off of all items for the item before the last of up to 500 users. On the
public sets the plain loop runs for a number of epochs, and the quality to be reached is the best it had.

    python benchmarks/recommendation_training.py [movielens amazon synthetic]

Sets that are not named keep the rows that an earlier run saved.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import common
from triptych.device import choose_device
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.splits import leave_one_out
from triptych_recommendation.models.sequence_batches import MOST_HELD, Corpus
from triptych_recommendation.models.sequence_settings import SequenceSettings
from triptych_recommendation.models.sequence_training import Draw, train

SEED = 0
CPU = torch.device("cpu")


@dataclass
class Curve:
    """After each epoch: CPU seconds of training so far, and the validation NDCG."""

    seconds: list[float]
    ndcg: list[float]
    tokens: int  # positions that the transformer computed in an epoch

    def until(self, target: float) -> float | None:
        """CPU seconds after which the target was reached."""
        return next((at for at, value in zip(self.seconds, self.ndcg, strict=True) if value >= target), None)


class Plain(nn.Module):
    """SASRec of PyTorch's own parts."""

    def __init__(self, items: int, settings: SequenceSettings) -> None:
        super().__init__()
        self.item = nn.Embedding(items + 1, settings.dim, padding_idx=items)
        self.place = nn.Embedding(settings.length, settings.dim)
        layer = nn.TransformerEncoderLayer(
            settings.dim, settings.heads, 4 * settings.dim, settings.dropout, batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(settings.dim)
        self.encoder = nn.TransformerEncoder(layer, settings.layers, norm, enable_nested_tensor=False)
        self.dropout = nn.Dropout(settings.dropout)
        nn.init.normal_(self.item.weight, std=0.02)
        nn.init.normal_(self.place.weight, std=0.02)

    def forward(self, rows: Tensor) -> Tensor:
        """Float32 [histories, length, dim] from item rows, filled up behind their end."""
        length = rows.shape[1]
        x = self.item(rows) * math.sqrt(self.item.embedding_dim) + self.place.weight[:length]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        found: Tensor = self.encoder(self.dropout(x), mask=mask, is_causal=True)
        return found


def padded(histories: list[np.ndarray], length: int, filler: int) -> np.ndarray:
    rows = np.full((len(histories), length), filler, dtype=np.int64)
    for row, history in zip(rows, histories, strict=True):
        row[: min(length, len(history))] = history[-length:]
    return rows


def plain(corpus: Corpus, settings: SequenceSettings, epochs: int, most_steps: int | None) -> Curve:
    """Train the plain loop; with `most_steps` its one epoch is timed on so many steps and scaled up."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    network = Plain(corpus.items, settings)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)
    draw = Draw(corpus, settings, rng)
    histories = [part for part in np.split(corpus.tokens, corpus.ends[1:-1]) if len(part) >= 2]
    size = max(1, round(settings.batch * len(histories) / len(corpus.tokens)))
    curve, spent = Curve([], [], len(histories) * settings.length), 0.0
    for _ in range(epochs):
        network.train()
        order = rng.permutation(len(histories))
        parts = np.array_split(order, math.ceil(len(order) / size))
        start = time.process_time()
        for part in parts[:most_steps]:
            taken = [histories[place][-settings.length - 1 :] for place in part]
            inputs = padded([row[:-1] for row in taken], settings.length, corpus.items)
            targets = padded([row[1:] for row in taken], settings.length, corpus.items)
            there = targets != corpus.items
            chosen, weight = draw.candidates(targets[there])
            guess = network(torch.from_numpy(inputs))[torch.from_numpy(there)]
            column = torch.from_numpy(np.searchsorted(chosen, targets[there]))
            logits = guess @ network.item(torch.from_numpy(chosen)).T
            if weight is not None:
                own = logits.gather(1, column[:, None])
                logits = (logits + torch.from_numpy(weight)).scatter(1, column[:, None], own)
            loss = F.cross_entropy(logits, column)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        taken_seconds = time.process_time() - start
        spent += taken_seconds if most_steps is None else taken_seconds * len(parts) / len(parts[:most_steps])
        curve.seconds.append(spent)
        curve.ndcg.append(plain_standing(network, corpus, settings.length) if most_steps is None else math.nan)
        print(f"  plain {spent:.1f} s: {curve.ndcg[-1]:.4f}", flush=True)
    return curve


@torch.no_grad()
def plain_standing(network: Plain, corpus: Corpus, length: int) -> float:
    network.eval()
    gains = []
    for start in range(0, len(corpus.held_items), 100):
        histories = corpus.held_histories[start : start + 100]
        rows = torch.from_numpy(padded(histories, length, corpus.items))
        last = torch.tensor([min(length, len(history)) - 1 for history in histories])
        guess = network(rows)[torch.arange(len(rows)), last]
        logits = guess @ network.item.weight[: corpus.items].T
        for row, history, wanted in zip(logits, histories, corpus.held_items[start:], strict=False):
            own = float(row[wanted])
            row[torch.from_numpy(history.astype(np.int64))] = -math.inf
            gains.append(1 / math.log2(1 + max(1, int((row >= own).sum()))))
    return float(np.mean(gains))


def ours(corpus: Corpus, settings: SequenceSettings) -> Curve:
    rng = np.random.default_rng(SEED)
    _, epochs = train(corpus, settings, None, choose_device("cpu"), rng, lambda step: print(" ", step, flush=True))
    seconds = np.cumsum([epoch.cpu_seconds for epoch in epochs]).tolist()
    width = min(settings.length, len(corpus.tokens))
    return Curve(seconds, [epoch.standing for epoch in epochs], len(corpus.tokens) // width * width)


def corpus_of(interactions: Interactions) -> Corpus:
    """The training part of a split, and what its validation asks of up to 500 users."""
    split = leave_one_out(interactions)
    rng = np.random.default_rng(SEED)
    chosen = np.sort(rng.permutation(len(split.validation))[:MOST_HELD])
    users = split.validation.users[chosen]
    histories = [split.train.history(int(user)).items for user in users]
    items = np.array([split.validation.targets[place][0] for place in chosen], dtype=np.int32)
    return Corpus(split.train.item, split.train.starts, len(split.train.items), histories, items)


def read(path: Path, item: str, time_column: str | None) -> Interactions:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    times = None if time_column is None else [int(row[time_column]) for row in rows]
    return Interactions.of([row["user_id"] for row in rows], [row[item] for row in rows], times)


def movielens() -> Interactions:
    path = common.data_folder("rec/movielens_mm") / "rec/movielens_mm/ratings.csv.gz"
    return read(path, "movie_id", "timestamp")


def amazon() -> Interactions:
    path = common.data_folder("rec/amazon_video_games") / "rec/amazon_video_games/interactions.csv.gz"
    return read(path, "item_id", None)


def synthetic() -> Interactions:
    """100,000 items of a Zipf-like popularity in 1,000 groups; 30,000 users stay mostly in one group for a while."""
    rng = np.random.default_rng(SEED)
    items, groups, users = 100_000, 1_000, 30_000
    lengths = rng.geometric(1 / 9, users).clip(3, 200)
    total = int(lengths.sum())
    inside = np.minimum(rng.pareto(1.2, total) * 10, items // groups - 1).astype(int)
    moved = rng.random(total) < 0.2
    moved[np.cumsum(lengths) - lengths] = True
    group = rng.integers(0, groups, total)[np.maximum.accumulate(np.where(moved, np.arange(total), 0))]
    return Interactions.of_rows(
        [str(user) for user in range(users)],
        [str(item) for item in range(items)],
        np.repeat(np.arange(users), lengths),
        group + groups * inside,
    )


SETS: dict[str, tuple[str, Callable[[], Interactions], dict[str, Any], int, int | None]] = {
    "movielens": ("movielens_mm", movielens, {"epochs": 25}, 15, None),
    "amazon": ("amazon_video_games", amazon, {"epochs": 5, "length": 50}, 2, None),
    "synthetic": ("100,000 items (synthetic)", synthetic, {"epochs": 1, "length": 50}, 1, 15),
}
"""Name, events, settings that differ from the defaults, epochs of the plain loop, steps of it that are timed."""

NOTES = (
    "one thread; CPU seconds of training, validation left out; dim 64, 2 layers, the defaults otherwise",
    "NDCG has no cut-off and is of all items, for the last item but one of up to 500 users; the one to reach is the "
    "best of the plain loop in its epochs",
    "both compute the same loss: all items where there are few, else drawn ones, corrected for the drawing",
    "on the synthetic set the plain loop is timed on 15 steps and scaled up to its epoch",
    "ours keeps a running average of its weights, which the plain loop does not: its cost is in ours",
)


def measured(name: str) -> list[dict[str, Any]]:
    title, events, changed, epochs, steps = SETS[name]
    corpus = corpus_of(events())
    settings = SequenceSettings(**{"patience": 1000, **changed})
    print(f"{title}: {len(corpus.tokens)} events, {corpus.items} items", flush=True)
    curves = {"ours": ours(corpus, settings), "plain PyTorch": plain(corpus, settings, epochs, steps)}
    target = None if steps else max(curves["plain PyTorch"].ndcg)
    sizes = np.diff(corpus.ends)
    learnt = {
        "ours": len(corpus.tokens),  # the plain loop has no target for a first event, nor for events it has no room for
        "plain PyTorch": int(np.minimum(sizes - 1, settings.length).clip(0).sum()),
    }
    rows = []
    for method, curve in curves.items():
        epoch = curve.seconds[-1] / len(curve.seconds)
        rows.append(
            {
                "set": title,
                "method": method,
                "length": settings.length,
                "histories/s": float((sizes > 0).sum() / epoch),
                "events learnt/s": learnt[method] / epoch,
                "positions computed for an event": curve.tokens / learnt[method],
                "epochs": len(curve.seconds),
                "CPU s of an epoch": epoch,
                "best NDCG": None if steps else max(curve.ndcg),
                "NDCG to reach": target,
                "CPU s until it": None if target is None else curve.until(target),
            }
        )
    return rows


def saved(again: list[str]) -> list[dict[str, Any]]:
    """The rows of an earlier run of the sets that are not measured again."""
    path = common.RESULTS / "recommendation_training.json"
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["tables"]["Measured"]
    return [row for row in rows if row["set"] not in again]


def ratio(mine: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    until = mine["CPU s until it"]
    return {
        "set": mine["set"],
        "histories/s": mine["histories/s"] / other["histories/s"],
        "events learnt/s": mine["events learnt/s"] / other["events learnt/s"],
        "CPU s to the same NDCG": None if until is None else other["CPU s until it"] / until,
    }


def main() -> None:
    torch.set_num_threads(1)
    names = sys.argv[1:] or list(SETS)
    rows = saved([SETS[name][0] for name in names])
    for name in names:
        rows += measured(name)
        ratios = [ratio(mine, other) for mine, other in zip(rows[::2], rows[1::2], strict=True)]
        common.save(
            "recommendation_training",
            "Training a sequence model",
            {"Measured": rows, "Ours beside the plain loop (times as fast)": ratios},
            seed=SEED,
            notes=NOTES,
        )


if __name__ == "__main__":
    main()
