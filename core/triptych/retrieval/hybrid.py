"""One answer from several searches: words and vectors, text and pictures.

"rrf" adds 1 / (60 + rank) over the lists (reciprocal rank fusion: Cormack, Clarke and Buettcher, SIGIR 2009): no
scores are compared, so nothing has to be calibrated. "calibrated" compares them: a score counts by how many standard
deviations it lies above what the same query gives to items drawn at random, so that a field in which everything is
alike does not drown another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import DataError
from triptych.retrieval.base import WORDS, Hit, Index, Item, VectorField, Where
from triptych.retrieval.checks import check_k, check_vectors

_RRF_K = 60
_SAMPLE = 256  # items that stand for all others
_FLOOR = 1e-6

Fusion: TypeAlias = Literal["rrf", "calibrated"]
Rerank: TypeAlias = Callable[[list[Hit]], Sequence[float]]

_samples: WeakKeyDictionary[Any, tuple[int, list[VectorField], list[Item]]] = WeakKeyDictionary()


def hybrid(
    index: Index,
    k: int,
    *,
    text: str | None = None,
    vectors: Mapping[str, ArrayLike] | None = None,
    where: Where | None = None,
    encoder: str | Mapping[str, str] | None = None,
    fusion: Fusion = "rrf",
    weights: Mapping[str, float] | None = None,
    depth: int = 100,
    rerank: Rerank | None = None,
) -> list[Hit]:
    """The `k` best items by a text's words and by vectors [dim] of any fields, best first.

    Each search gives `depth` candidates. `weights` are by field, and "words" for the words; 1 where
    none is given, and a list of weight 0 takes no part.
    `rerank` takes the candidates, best first, and gives each a score of its own (a cross-encoder's, a margin's): they
    are sorted by it. The hits' scores are those of the fusion, or of `rerank`.

    Raises `DataError` where neither text nor vectors are given, and as `Index.search` does.
    """
    check_k(k)
    lists = _searches(index, max(k, depth), text, vectors or {}, where, encoder)
    if not lists:
        raise DataError("nothing to search for: give a text, a vector, or both")
    unknown = set(weights or {}) - set(index.fields) - {WORDS}
    if unknown:
        raise DataError(f"weights for {', '.join(sorted(unknown))}: there is {', '.join([*index.fields, WORDS])}")
    of = {name: (weights or {}).get(name, 1.0) for name in lists}
    lists = {name: hits for name, hits in lists.items() if of[name]}
    scores = _by_rank(lists, of) if fusion == "rrf" else _by_score(index, lists, vectors or {}, of)
    found = {hit.id: hit for hits in lists.values() for hit in hits}
    order = sorted(scores, key=lambda name: (-scores[name], name))
    fused = [Hit(name, scores[name], found[name].metadata) for name in order]
    if rerank is None:
        return fused[:k]
    return _reranked(fused[: max(k, depth)], rerank)[:k]


def _searches(
    index: Index,
    depth: int,
    text: str | None,
    vectors: Mapping[str, ArrayLike],
    where: Where | None,
    encoder: str | Mapping[str, str] | None,
) -> dict[str, list[Hit]]:
    lists = {}
    if text is not None:
        lists[WORDS] = list(index.search_text([text], depth, where=where)[0])
    for name, vector in vectors.items():
        query: Any = np.asarray(vector)[None]  # what is no vector, the index refuses in its own words
        fingerprint = encoder.get(name) if isinstance(encoder, Mapping) else encoder
        lists[name] = list(index.search(query, depth, field=name, where=where, encoder=fingerprint)[0])
    return lists


def _by_rank(lists: Mapping[str, list[Hit]], weights: Mapping[str, float]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for name, hits in lists.items():
        for rank, hit in enumerate(hits, 1):
            scores[hit.id] = scores.get(hit.id, 0.0) + weights[name] / (_RRF_K + rank)
    return scores


def _by_score(
    index: Index, lists: Mapping[str, list[Hit]], vectors: Mapping[str, ArrayLike], weights: Mapping[str, float]
) -> dict[str, float]:
    """The weighted mean of what each candidate has, over the lists that can say something of it."""
    names = list(dict.fromkeys(hit.id for hits in lists.values() for hit in hits))
    items = {item.id: item for item in index.get(names) if item is not None}
    totals, shares = dict.fromkeys(items, 0.0), dict.fromkeys(items, 0.0)
    for name in [name for name in vectors if name in lists]:
        field = index.fields[name]
        query = check_vectors(np.asarray(vectors[name])[None], dim=field.dim, metric=field.metric, what="query")[0]
        holders = [item for item in items.values() if name in item.vectors]
        background = [item for item in _sample_of(index) if name in item.vectors]
        standing = _standing(
            _scores(query, holders, name, field.metric), _scores(query, background, name, field.metric)
        )
        for item, value in zip(holders, standing, strict=True):
            totals[item.id] += weights[name] * value
            shares[item.id] += weights[name]
    if WORDS in lists:
        # from zero, which is what an item without any of the words has
        own = np.array([hit.score for hit in lists[WORDS]])
        scale = max(float(np.sqrt(np.mean(own**2))), _FLOOR) if len(own) else 1.0
        for hit in lists[WORDS]:
            if hit.id in totals:
                totals[hit.id] += weights[WORDS] * hit.score / scale
        for name in totals:
            shares[name] += weights[WORDS]
    return {name: totals[name] / max(shares[name], _FLOOR) for name in totals}


def _scores(query: Any, items: Sequence[Item], name: str, metric: str) -> NDArray[np.float64]:
    if not items:
        return np.empty(0)
    held = np.stack([item.vectors[name] for item in items]).astype(np.float64)
    found: NDArray[np.float64] = -np.linalg.norm(held - query, axis=1) if metric == "l2" else held @ query
    return found


def _standing(scores: NDArray[np.float64], background: NDArray[np.float64]) -> list[float]:
    """Standard deviations above the mean of the background."""
    if not len(background):
        return [0.0] * len(scores)
    found: list[float] = ((scores - background.mean()) / max(float(background.std()), _FLOOR)).tolist()
    return found


def _sample_of(index: Index) -> list[Item]:
    """Items drawn at random, kept until the index has doubled or halved or has other fields."""
    size, fields = len(index), list(index.fields.values())
    known = _samples.get(index)
    if known is None or fields != known[1] or not known[0] / 2 <= size <= known[0] * 2:
        ids = index.ids()
        chosen = np.sort(np.random.default_rng(0).permutation(len(ids))[:_SAMPLE])
        known = (size, fields, [item for item in index.get([ids[row] for row in chosen]) if item is not None])
        _samples[index] = known
    return known[2]


def _reranked(hits: list[Hit], rerank: Rerank) -> list[Hit]:
    scores = list(rerank(hits))
    if len(scores) != len(hits):
        raise DataError(f"the re-ranking gave {len(scores)} scores for {len(hits)} hits; give one for each")
    order = sorted(range(len(hits)), key=lambda row: -float(scores[row]))
    return [hits[row]._replace(score=float(scores[row])) for row in order]
