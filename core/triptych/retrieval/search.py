"""The rows of one vector field, searched: engines one behind the other, filters, the GPU."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from triptych.retrieval.columns import Mask
from triptych.retrieval.engines.base import Engine, Floats, Plan, Rows, best_first, some_missing
from triptych.retrieval.engines.choose import engine_of, outgrown
from triptych.retrieval.engines.flat import FlatEngine
from triptych.retrieval.gpu import GpuCopy, worthwhile
from triptych.retrieval.locks import ReadWriteLock
from triptych.retrieval.selection import SMALL, Selection, own_engine

_FILTERS_KEPT = 64
_OWN_ROWS_SHARE = 0.75  # of all rows may stand in filters' own indexes together; at least _OWN_ROWS_LEAST
_OWN_ROWS_LEAST = 10_000
_STALE = 1.2
_PATIENCE = 50  # searches before a filter whose index was outdated by an addition gets another
_TAIL_FROM = 5_000  # rows behind a frozen engine that are worth lists of their own

log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """What a search may find: a key that is equal for equal filters, and how to compute bool [rows from a start]."""

    key: str
    mask: Callable[[], Mask]
    deaths: int  # how many deletions the mask knows of


class RowSearch:
    """Vectors by row number. Safe to search from many threads; who adds is alone.

    `frozen` says that the first engine is mapped from a file: rows are added behind it, in an engine of their own.
    `lock` is the one that its callers hold, shared to search and alone to add.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine | None = None,
        *,
        recall: float = 1.0,
        frozen: bool = False,
        lock: ReadWriteLock | None = None,
    ) -> None:
        self.plan = plan
        self._lock = lock or ReadWriteLock()  # what goes on in the background reads under it
        self.recall = recall  # as measured when the engine was built
        self._parts: list[Engine] = [FlatEngine(plan) if engine is None else engine]
        self.rows = self._parts[0].rows  # how many vectors there are
        self._frozen = frozen
        self._selections: OrderedDict[str, Selection] = OrderedDict()
        self._uses: dict[str, int] = {}
        self._mutex = threading.Lock()  # guards the two above and what is under way
        self._worker: ThreadPoolExecutor | None = None
        self._closed = False
        self._under_way: dict[str, Future[None]] = {}
        self._gpu: GpuCopy | None = None
        self._gpu_tried = False
        self._gpu_lock = threading.Lock()  # FAISS' GPU indexes serve one thread at a time

    @property
    def engine(self) -> Engine:
        """The engine with (nearly) all rows."""
        return self._parts[0]

    @property
    def exact(self) -> bool:
        """Whether a search without a filter looks at every vector."""
        return all(part.exact for part in self._parts)

    @property
    def outgrown(self) -> bool:
        """Whether another engine would serve the rows better by now."""
        return outgrown(self.engine, self.plan)

    @property
    def stale(self) -> bool:
        """Whether it is outgrown, or fitted to noticeably fewer rows than there are."""
        return self.outgrown or (not self.exact and self.rows > _STALE * self.engine.trained_on)

    def add(self, vectors: Floats) -> None:
        """Append rows: float32 [rows, dim]."""
        if self._frozen and len(self._parts) == 1:
            self._parts.append(FlatEngine(self.plan))
        tail = self._parts[-1]
        tail.add(vectors)
        self.rows += len(vectors)
        if self._frozen and tail.rows >= _TAIL_FROM and tail.rows > 4 * tail.trained_on:
            self._parts[-1], _ = engine_of(tail.vectors(np.arange(tail.rows)), self.plan)
            self._parts[-1].trained_on = tail.rows
        if self._gpu is not None and len(self._parts) == 1:
            try:
                self._gpu.extend(tail, self._gpu.rows)
            except RuntimeError as error:
                log.warning("the index leaves the GPU: %s", error)
                self._gpu = None

    def vectors(self, rows: Rows) -> Floats:
        """Vectors by row, float32 [rows, dim], as they are held."""
        found = np.empty((len(rows), self.plan.dim), dtype=np.float32)
        first = 0
        for part in self._parts:
            inside = (rows >= first) & (rows < first + part.rows)
            if inside.any():
                found[inside] = part.vectors(rows[inside] - first)
            first += part.rows
        return found

    def nearest(self, queries: Floats, k: int, limits: Limits | None) -> tuple[Floats, Rows]:
        """At most `k` nearest rows, best first: (scores, rows), both [queries, k or fewer]; none where none may be.

        Scores are inner products or squared distances.
        """
        selection = None if limits is None else self._selection(limits)
        k = min(k, self.rows if selection is None else selection.count)
        if k < 1 or not len(queries):
            return np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
        found = self._on_gpu(queries, k, selection)
        if found is not None:
            return found
        scores, rows = self._nearest(queries, k, selection, everything=False)
        # the lists that were probed held too few rows: these queries look into all of them
        if some_missing(rows):
            short = np.flatnonzero(rows[:, -1] < 0)
            scores[short], rows[short] = self._nearest(queries[short], k, selection, everything=True)
        return scores, rows

    def close(self, *, wait: bool = True) -> None:
        """End what goes on in the background, and wait for it; searches that are under way go on."""
        with self._mutex:
            self._closed = True
            self._selections.clear()  # FAISS' selectors are not to outlive FAISS at the end of the process
        if self._worker is not None:
            self._worker.shutdown(wait=wait, cancel_futures=True)

    def settle(self) -> None:
        """Wait until the indexes of filters that are being made are there."""
        for future in list(self._under_way.values()):
            future.result()

    def _nearest(
        self, queries: Floats, k: int, selection: Selection | None, *, everything: bool
    ) -> tuple[Floats, Rows]:
        if len(self._parts) == 1:
            return self._in_part(0, queries, k, selection, everything)
        found = []
        first = 0
        for number, part in enumerate(self._parts):
            count = part.rows if selection is None else selection.counts[number]
            if count:
                scores, rows = self._in_part(number, queries, min(k, count), selection, everything)
                found.append((scores, np.where(rows < 0, rows, rows + first) if first else rows))
            first += part.rows
        if len(found) == 1:
            return _widened(*found[0], k)
        return self._merged(found, k)

    def _in_part(
        self, number: int, queries: Floats, k: int, selection: Selection | None, everything: bool
    ) -> tuple[Floats, Rows]:
        part = self._parts[number]
        if selection is None:
            return part.search_all(queries, k) if everything else part.search(queries, k)
        selector = selection.selectors[number]
        if number == 0 and selection.own is not None and not everything:
            unchanged = selection.own_deaths == selection.deaths
            return selection.own.search(queries, k, None if unchanged else selector)
        if everything:
            return part.search_all(queries, k, selector)
        return part.search(queries, k, selector, share=selection.counts[number] / part.rows)

    def _merged(self, found: list[tuple[Floats, Rows]], k: int) -> tuple[Floats, Rows]:
        scores = np.concatenate([pair[0] for pair in found], axis=1)
        rows = np.concatenate([pair[1] for pair in found], axis=1)
        worst = -np.inf if self.plan.similarity else np.inf
        order = best_first(np.where(rows < 0, worst, scores), self.plan.similarity)[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)

    def _selection(self, limits: Limits) -> Selection:
        """The selection of a filter, made or brought up to date where rows came or went since."""
        starts = [0, *np.cumsum([part.rows for part in self._parts])[:-1].tolist()]
        with self._mutex:
            known = self._selections.get(limits.key)
            uses = self._uses[limits.key] = self._uses.get(limits.key, 0) + 1
        if known is None or len(known.mask) != self.rows or known.deaths != limits.deaths:
            fresh = Selection.of(limits.mask(), starts, limits.deaths)
            if known is not None and known.own is not None:
                fresh = self._inherit(known, fresh)
                if fresh.own is None:
                    uses = self._uses[limits.key] = -_PATIENCE
            known = fresh
            self._keep(limits.key, known)
        else:
            with self._mutex:
                if limits.key in self._selections:
                    self._selections.move_to_end(limits.key)
        if known.deserves_own(self.engine, uses):
            known = self._give_own(limits.key, known)
        return known

    def _inherit(self, old: Selection, new: Selection) -> Selection:
        """The index of an older selection serves on where no row has come that it lacks."""
        if old.own is None or new.mask[old.own_rows : self.engine.rows].any():
            return new
        return new.with_own(old.own, old.own_rows, old.own_deaths)

    def _give_own(self, key: str, selection: Selection) -> Selection:
        """Make a filter an index of its own: at once for few rows, in the background for many."""
        if selection.counts[0] <= SMALL:
            selection = self._with_own(selection, ReadWriteLock())  # the caller holds the true one
            self._keep(key, selection)
            return selection
        with self._mutex:
            if key not in self._under_way and not self._closed:
                self._worker = self._worker or ThreadPoolExecutor(1, thread_name_prefix="triptych-filter")
                self._under_way[key] = self._worker.submit(self._own_later, key, selection)
        return selection

    def _own_later(self, key: str, selection: Selection) -> None:
        try:
            made = self._with_own(selection, self._lock)
            with self._mutex:
                now = self._selections.get(key)
            if now is not None and now.own is None:
                self._keep(key, self._inherit(made, now))
        except Exception:
            log.exception("a filter gets no index of its own; it goes on with a selector")
        finally:
            with self._mutex:
                self._under_way.pop(key, None)
                self._uses[key] = 0  # should it not have worked out, some more searches go by before the next try

    def _with_own(self, selection: Selection, lock: ReadWriteLock) -> Selection:
        known = selection.starts[1] if len(selection.starts) > 1 else len(selection.mask)
        rows = np.flatnonzero(selection.mask[:known])
        return selection.with_own(own_engine(self.engine, self.plan, rows, lock), known, selection.deaths)

    def _keep(self, key: str, selection: Selection) -> None:
        with self._mutex:
            self._selections[key] = selection
            self._selections.move_to_end(key)
            while len(self._selections) > _FILTERS_KEPT:
                oldest, _ = self._selections.popitem(last=False)
                self._uses.pop(oldest, None)
            room = max(_OWN_ROWS_LEAST, int(_OWN_ROWS_SHARE * self.rows))
            for name in reversed(list(self._selections)):  # the latest first
                one = self._selections[name]
                room -= one.own.rows if one.own is not None else 0
                if room < 0 and one.own is not None and name != key:
                    self._selections[name] = one.with_own_dropped()

    def _on_gpu(self, queries: Floats, k: int, selection: Selection | None) -> tuple[Floats, Rows] | None:
        if len(self._parts) > 1 or (self._gpu_tried and self._gpu is None) or not worthwhile(self.rows):
            return None
        with self._gpu_lock:
            if not self._gpu_tried:
                self._gpu = GpuCopy.of(self.engine, self.plan)
                self._gpu_tried = True
            if self._gpu is None:
                return None
            try:
                if selection is None:
                    return self._gpu.search(queries, k)
                return self._gpu.search(queries, k, selection.mask, selection.count / self.rows)
            except RuntimeError as error:
                log.warning("the index leaves the GPU: %s", error)
                self._gpu = None
                return None


def _widened(scores: Floats, rows: Rows, k: int) -> tuple[Floats, Rows]:
    """With columns of nothing up to `k`."""
    missing = k - rows.shape[1]
    return (
        np.pad(scores, ((0, 0), (0, missing))),
        np.pad(rows, ((0, 0), (0, missing)), constant_values=-1),
    )
