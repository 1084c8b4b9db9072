"""Which rows a search may find: FAISS' selectors, and a small index of its own for a filter in regular use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import faiss
import numpy as np

from triptych.retrieval.columns import Mask
from triptych.retrieval.engines.base import BLOCK, Engine, Floats, Plan, Rows, prepare_products
from triptych.retrieval.engines.flat import FlatEngine
from triptych.retrieval.engines.lists import ListsEngine, centroids, lists_for, new_index
from triptych.retrieval.engines.trial import make_trial
from triptych.retrieval.engines.tune import tune
from triptych.retrieval.locks import ReadWriteLock

SMALL = 4_000  # so few rows are copied and searched exactly
_LARGEST_SHARE = 0.6  # a filter that lets more through gains nothing from an index of its own
_USES = 3  # searches with a filter before that index is made
_TRIAL_QUERIES = 384
_HIGHEST = 0.995  # recall that an index of a filter is tuned to at most


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that one filter lets through, deleted ones left out: `mask` is bool [rows].

    `selectors` and `counts` have an entry for each part of the search, whose rows begin at `starts`. `own` is an
    index of the first part's passing rows alone, made while `own_deaths` rows had been deleted.
    """

    mask: Mask
    starts: tuple[int, ...]
    selectors: tuple[Any, ...]
    counts: tuple[int, ...]
    deaths: int
    own: Engine | None = None
    own_rows: int = 0
    own_deaths: int = 0

    @classmethod
    def of(cls, mask: Mask, starts: Sequence[int], deaths: int) -> Selection:
        """From bool [rows], the first rows of the parts, and how many deletions the mask knows of."""
        parts = np.split(mask, list(starts[1:]))
        bitmaps = [np.packbits(part, bitorder="little") for part in parts]
        selectors = tuple(faiss.IDSelectorBitmap(bitmap) for bitmap in bitmaps)
        return cls(mask, tuple(starts), selectors, tuple(int(part.sum()) for part in parts), deaths)

    @property
    def count(self) -> int:
        """How many rows pass."""
        return sum(self.counts)

    def deserves_own(self, engine: Engine, uses: int) -> bool:
        """Whether an index of its own would serve it better than a selector does."""
        count = self.counts[0]
        if self.own is not None or not 0 < count <= _LARGEST_SHARE * engine.rows:
            return False
        return count <= SMALL or uses >= _USES

    def with_own(self, own: Engine, rows: int, deaths: int) -> Selection:
        """The same with an index of its own, of the first `rows` rows."""
        return replace(self, own=own, own_rows=rows, own_deaths=deaths)

    def with_own_dropped(self) -> Selection:
        """The same, served by its selectors."""
        return replace(self, own=None)


class EngineSource:
    """Some rows of an engine as the source of another: vectors as they are held."""

    def __init__(self, engine: Engine, rows: Rows, lock: ReadWriteLock) -> None:
        self._engine = engine
        self._rows = rows
        self._lock = lock  # a writer may move what is read

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self._rows)

    def sample(self, count: int, seed: int) -> Floats:
        """Some of them."""
        chosen = np.random.default_rng(seed).permutation(self.rows)[:count]
        with self._lock.reading():
            return self._engine.vectors(self._rows[np.sort(chosen)])

    def blocks(self) -> Iterator[Floats]:
        """All of them."""
        for start in range(0, self.rows, BLOCK):
            with self._lock.reading():
                block = self._engine.vectors(self._rows[start : start + BLOCK])
            yield block


def own_engine(engine: Engine, plan: Plan, rows: Rows, lock: ReadWriteLock) -> Engine:
    """An engine of some rows of another, which finds them by the numbers that they have there.

    Few rows are copied; many are put into lists whose cells are merged from the other's, with candidates scored again
    by the other's store, so that they cost little memory. The lock is held for short times only.
    """
    source = EngineSource(engine, rows, lock)
    if len(rows) <= SMALL or not isinstance(engine, ListsEngine):
        return NumberedFlat.of(source, plan, rows)
    count = min(lists_for(engine.kind, len(rows)), engine.lists)
    cells = centroids(engine.ivf.quantizer.reconstruct_n(0, engine.lists), plan, count)  # of centroids: larger cells
    index = new_index(plan, engine.kind, cells, source.sample(SMALL, seed=0), store=engine.store, numbered=True)
    own = ListsEngine(plan, engine.kind, index, probes=min(16, count), factor=engine.factor)
    own.kept = engine
    prepare_products(plan.dim)
    first = 0
    for block in source.blocks():
        own.ivf.add_with_ids(block, rows[first : first + len(block)])
        first += len(block)
    if own.store is not None:
        own.index.ntotal = engine.rows  # FAISS checks the numbers that candidates have in the store
    trial = make_trial(source, plan, count=_TRIAL_QUERIES)
    own.guard = lock.reading
    numbered = np.where(trial.truth < 0, trial.truth, rows[trial.truth])
    tune(own, replace(trial, truth=numbered), max(plan.recall, min(engine.stored_recall, _HIGHEST)))
    own.guard = nullcontext
    return own


class NumberedFlat(FlatEngine):
    """Exact search over rows that keep their numbers."""

    @classmethod
    def of(cls, source: EngineSource, plan: Plan, rows: Rows) -> NumberedFlat:
        """Copies of some rows of an engine."""
        engine = cls(plan, faiss.IndexIDMap(faiss.IndexFlat(plan.dim, plan.metric)))
        first = 0
        for block in source.blocks():
            engine.index.add_with_ids(block, rows[first : first + len(block)])
            first += len(block)
        return engine
