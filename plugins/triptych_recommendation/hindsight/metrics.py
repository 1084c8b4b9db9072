"""Metrics of ranked recommendations: where held-out items stand, and what else the lists are like.

A rank is counted from 0. Of items with equal scores a held-out one stands last, so that a model that scores all items
alike gains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.evaluation.bootstrap import DRAWS, LEVEL, SEED, Interval, bootstrap_interval, paired_bootstrap

Array = NDArray[np.float64]
METRIC = "ndcg@10"
"""By which settings and models are chosen, and rivals are ranked."""
NAMES = (METRIC, "ndcg@20", "recall@10", "recall@20", "hit@10", "mrr")
_CELLS = 4_000_000  # of resampled users that are held at once


def target_ranks(scores: NDArray[np.float32], targets: Sequence[NDArray[np.int32]]) -> list[NDArray[np.int64]]:
    """For each row of scores [users, items], the ranks of its targets among all items, the lowest first.

    What must not be recommended has a score of minus infinity. Raises `ValueError` for NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    ranks = []
    for row, wanted in zip(scores, targets, strict=True):
        own = np.sort(row[wanted])[::-1]
        found = [np.count_nonzero(row >= score) - np.count_nonzero(own >= score) for score in own]
        ranks.append(np.array(found, dtype=np.int64) + np.arange(len(own)))
    return ranks


def per_user(ranks: Sequence[NDArray[np.int64]]) -> dict[str, Array]:
    """Each metric in `NAMES` for each user, float64 [users], from the ranks of the user's held-out items.

    `ndcg@k` has binary gains and divides by the best that is possible with min(k, held out) hits; `recall@k` is hits
    over all that is held out; `hit@k` is 1 where there is any; `mrr` is 1 over the place of the first.
    """
    gains = 1 / np.log2(np.arange(2, 22))
    ideal = np.cumsum(gains)
    values = {name: np.zeros(len(ranks)) for name in NAMES}
    for user, own in enumerate(ranks):
        for k in (10, 20):
            hits = own[own < k]
            values[f"ndcg@{k}"][user] = gains[hits].sum() / ideal[min(k, len(own)) - 1]
            values[f"recall@{k}"][user] = len(hits) / len(own)
        values["hit@10"][user] = float(own.min() < 10)
        values["mrr"][user] = 1 / (1 + own.min())
    return values


def ranking_metrics(users: Mapping[str, Array]) -> dict[str, float]:
    """The mean of each metric over users, and as `low` and `high` the 95 % bootstrap interval of NDCG@10."""
    interval = bootstrap_interval(users[METRIC])
    return {name: float(values.mean()) for name, values in users.items()} | {"low": interval.low, "high": interval.high}


def difference(a: Mapping[str, Array], b: Mapping[str, Array], name: str = METRIC) -> Interval:
    """The mean of a - b over the same users, with its 95 % paired bootstrap interval."""
    return paired_bootstrap(a[name], b[name])


def intervals(columns: Array) -> list[Interval]:
    """The mean of each column of values [users, columns], with its 95 % bootstrap interval, all of the same draws.

    Raises `ValueError` for no users.
    """
    low, high = _ends(_means(columns))
    means = columns.mean(axis=0)
    return [Interval(*map(float, found)) for found in zip(means, low, high, strict=True)]


def list_metrics(lists: NDArray[np.int32], counts: NDArray[Any]) -> dict[str, float]:
    """What lists [users, k] are like, given how many events each item has in the training (counts [items]); -1: empty.

    `coverage`: share of all items that are in any list; `novelty`: mean self-information of a recommended item in
    bits, its probability being its share of all events, each item counted once more than seen; `popularity`: mean
    percentile of recommended items by count, 0 (rarest) to 1, items of equal count sharing the middle; `gini`: how
    unevenly the places go to all items (0: all alike, near 1: few items have all).
    """
    shown = lists[lists >= 0]
    if not len(shown):
        return {"coverage": 0.0, "novelty": 0.0, "popularity": 0.0, "gini": 0.0}
    times = np.bincount(shown, minlength=len(counts))
    information = -np.log2((counts + 1) / (counts + 1).sum())
    return {
        "coverage": float(np.mean(times > 0)),
        "novelty": float(information[shown].mean()),
        "popularity": float(_percentiles(counts)[shown].mean()),
        "gini": gini(times),
    }


def gini(times: NDArray[Any]) -> float:
    """The Gini coefficient of amounts [items], 0 or more and not all 0."""
    ordered = np.sort(times.astype(np.float64))
    n = len(ordered)
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * ordered.sum()))


def group_gaps(values: Array, groups: Sequence[str]) -> dict[str, Interval]:
    """For each group, the mean of a metric [users] in it less the mean over all others, with its 95 % interval.

    The interval resamples users. A group that is empty or everybody has no gap and is left out.
    """
    names = np.asarray(groups)
    found = [name for name in sorted(set(groups)) if not (names == name).all()]
    if not found:
        return {}
    inside = np.stack([names == name for name in found], axis=1).astype(np.float64)
    columns = np.concatenate([inside, inside * values[:, None], values[:, None]], axis=1)
    low, high = _ends(_gaps(_means(columns), len(found)))
    gaps = _gaps(columns.mean(axis=0, keepdims=True), len(found))[0]
    return {name: Interval(float(gaps[n]), float(low[n]), float(high[n])) for n, name in enumerate(found)}


def _gaps(means: Array, count: int) -> Array:
    """From means [draws, 2 count + 1] of being in each group, of values in each, and of values: [draws, groups]."""
    share = np.clip(means[:, :count], 1e-9, 1 - 1e-9)
    inside, total = means[:, count:-1], means[:, -1:]
    gaps: Array = inside / share - (total - inside) / (1 - share)
    return gaps


def _means(columns: Array) -> Array:
    """The means of columns [users, columns] over users drawn anew, [draws, columns]."""
    n = len(columns)
    if not n:
        raise ValueError("there are no users to draw from")
    generator = np.random.default_rng(SEED)
    means = np.empty((DRAWS, columns.shape[1]))
    step = max(1, _CELLS // n)
    for start in range(0, DRAWS, step):
        rows = min(step, DRAWS - start)
        drawn = generator.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        means[start : start + rows] = times.astype(np.float64) @ columns / n
    return means


def _ends(draws: Array) -> Array:
    """Where the interval of each column of draws begins and ends, [2, columns]."""
    tail = 100 * (1 - LEVEL) / 2
    ends: Array = np.percentile(draws, [tail, 100 - tail], axis=0)
    return ends


def _percentiles(counts: NDArray[Any]) -> Array:
    """Float64 [items]: the share of items with a lower count, plus half of those with the same."""
    ordered = np.sort(counts)
    below = np.searchsorted(ordered, counts, side="left")
    upto = np.searchsorted(ordered, counts, side="right")
    result: Array = (below + upto) / (2 * len(counts))
    return result
