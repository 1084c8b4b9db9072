"""What a collection does for itself: snapshots, compaction, remembering queries, testing its own recall."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from triptych.retrieval import log as truth
from triptych.retrieval import snapshots
from triptych.retrieval.checks import check_vectors
from triptych.retrieval.engines.base import Floats
from triptych.retrieval.engines.trial import NEAREST
from triptych.retrieval.log import Mark
from triptych.retrieval.replay import build_state, catch_up, exact_trial
from triptych.retrieval.state import State

if TYPE_CHECKING:
    from triptych.retrieval.collection import Collection

_REMEMBERED = 1_024  # recent queries of a field, in memory only
_ENOUGH_QUERIES = 256  # from so many on they stand for those to come
_EACH_CALL = 8
_DEAD_SHARE = 0.2  # deleted rows make searches slower; more than this share starts a compaction
_DEAD_LEAST = 1_000
_SNAPSHOT_SHARE = 0.1  # of the items written since the last snapshot start another one
_SNAPSHOT_LEAST = 20_000
_CLOSING_LEAST = 2_000  # changes that are worth a snapshot when the collection is closed

log = logging.getLogger(__name__)


class Upkeep:
    """Belongs to one collection; its thread starts when there is something to do."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._worker: ThreadPoolExecutor | None = None
        self._job: Future[None] | None = None
        self._rebuilding = threading.RLock()  # one at a time builds a state to put in service
        self._remembered: int | None = None  # from which tombstone on whoever does so will ask for them
        self.migrating = threading.Lock()
        self._stopping = threading.Event()
        self._tester: threading.Thread | None = None
        self._suspended = 0  # how many write much at once
        self._queries: dict[str, deque[Any]] = {}
        kept = collection._snapshot
        self._written = Mark() if kept is None else Mark(kept.key, kept.seq)  # what the last snapshot holds
        self.measured: dict[str, float] = {}  # recall by field in the last self-test
        self.alarm = False  # whether the last self-test found a field below its target

    def remember(self, field: str, queries: ArrayLike) -> None:
        """Keep some of the queries asked, in memory, for tuning and the self-test."""
        kept = self._queries.setdefault(field, deque(maxlen=_REMEMBERED))
        some: Any = queries
        kept.extend(np.array(some[:_EACH_CALL], dtype=np.float32))

    def forget(self) -> None:
        """Drop what belongs to vectors that are no longer there."""
        self._queries.clear()
        self.measured.clear()
        self.alarm = False

    def after_write(self) -> None:
        """Start in the background what the writes so far make worthwhile."""
        own = self._collection
        if self._suspended or (self._job is not None and not self._job.done()):
            return
        table = own._state.table
        dead = len(table.deaths)
        if (dead > _DEAD_LEAST and dead > _DEAD_SHARE * len(table)) or any(
            search.rows.outgrown for search in own._state.searches.values()
        ):
            self._start(self._compact_quietly)
        elif self._unsaved() > max(_SNAPSHOT_LEAST, _SNAPSHOT_SHARE * len(table)):
            self._start(self.write_snapshot_quietly)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Start nothing in the background meanwhile."""
        with self._collection._writing:
            self._suspended += 1
        try:
            yield
        finally:
            with self._collection._writing:
                self._suspended -= 1

    def settle(self) -> None:
        """Wait for what goes on in the background."""
        if self._job is not None:
            self._job.result()

    def write_snapshot(self) -> None:
        """Write a snapshot of the state as it is; the caller is the one who writes."""
        own = self._collection
        mark = own._mark
        forgotten = mark.seq if self._remembered is None else min(mark.seq, self._remembered)
        with snapshots.full_disk_explained(own.path):
            pointer = snapshots.write_snapshot(own.path, own._state, mark)
        with own._log.writing() as connection:
            truth.write_meta(connection, "snapshot", pointer.model_dump_json())
            truth.write_meta(connection, "forgotten", str(forgotten))
            connection.execute("DELETE FROM tombstones WHERE seq <= ?", (forgotten,))
        own._snapshot = pointer
        self._written = mark
        snapshots.clear_snapshots(own.path, keep=pointer.name)

    def snapshot_of(self, state: State, mark: Mark) -> snapshots.Pointer | None:
        """Write a snapshot of a state that is to come into service; None, told in the log, where that fails."""
        own = self._collection
        try:
            with snapshots.full_disk_explained(own.path):
                return snapshots.write_snapshot(own.path, state, mark)
        except Exception:
            log.exception("no snapshot of %s could be written; opening it will take longer", own.path)
            return None

    def write_snapshot_quietly(self) -> None:
        """As `write_snapshot`, for a caller that loses nothing where that fails."""
        own = self._collection
        try:
            with own._writing:
                if not own._closed:
                    self.write_snapshot()
        except Exception:
            log.exception("no snapshot of %s could be written; opening it will take longer", own.path)

    @contextmanager
    def rebuilding(self) -> Iterator[None]:
        """Build a state beside the one in service: nobody else does, and what is deleted meanwhile stays known."""
        own = self._collection
        with self._rebuilding:
            with own._writing:
                self._remembered = own._mark.seq
            try:
                yield
            finally:
                self._remembered = None

    def compact(self, *, clean: bool) -> None:
        """Build anew beside the old, catch up, swap, and write a snapshot; `clean` also rewrites the log."""
        own = self._collection
        with self.rebuilding():
            with own._log.frozen() as connection:
                state, mark = build_state(connection, own._plans(), self.recent_queries())
            with own._writing:
                own._current()
                mark = catch_up(state, own._log.writer, mark)
                own._swap(state, mark, own._snapshot)
                self._remembered = None
                self.write_snapshot()
                if clean:
                    self._rewrite_log()

    def _rewrite_log(self) -> None:
        """Leave nothing of what was deleted in the log's files; the caller is the one who writes."""
        writer = self._collection._log.writer
        with truth.translated(self._collection._log.path):
            writer.execute("INSERT INTO words(words) VALUES ('optimize')")
            writer.execute("VACUUM")
            busy, *_ = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                log.warning(
                    "a reader holds on to the write-ahead log of %s, where deleted items still are; compact again",
                    self._collection.path,
                )

    def recent_queries(self) -> dict[str, Floats]:
        """By field, those remembered, where there are enough of them: float32 [queries, dim]."""
        found = {}
        for name, kept in list(self._queries.items()):
            field = self._collection._fields.get(name)
            if field is not None and len(kept) >= _ENOUGH_QUERIES:
                queries = [query for query in list(kept) if query.shape == (field.dim,)]
                found[name] = check_vectors(queries, dim=field.dim, metric=field.metric, what="query")
        return found

    def self_test(self, queries: int) -> dict[str, float]:
        """Recall by field against exact search over the log, and an alarm where it is below the target."""
        own = self._collection
        recent = self.recent_queries()
        with ExitStack() as stack:
            with own._writing:  # so that memory and the frozen log hold the same
                state = own._current()
                connection = stack.enter_context(own._log.frozen())
                rows = truth.field_rows(connection)
                asked = {row.field.name: self._sample(connection, row, recent, queries) for row in rows}
                found = {
                    name: state.search(name, some, NEAREST, None).positions for name, some in asked.items() if len(some)
                }
            for row in rows:
                name = row.field.name
                if name not in found:
                    continue
                trial = exact_trial(connection, row, own._plans()[name], asked[name])
                keys = np.where(found[name] < 0, found[name], state.table.keys.view[found[name]])
                self.measured[name], _ = trial.recall(keys)
        self._judge()
        return dict(self.measured)

    def test_every(self, seconds: float) -> None:
        """Test in the background, again and again."""

        def work() -> None:
            while not self._stopping.wait(seconds):
                try:
                    self._collection.self_test()
                except Exception:
                    log.exception("the self-test of %s failed", self._collection.path)

        self._tester = threading.Thread(target=work, name="triptych-self-test", daemon=True)
        self._tester.start()

    def close(self) -> None:
        """End the threads, and write a snapshot where much was written since the last one."""
        own = self._collection
        self._stopping.set()
        if self._tester is not None and self._tester is not threading.current_thread():
            self._tester.join()
        if self._worker is not None:
            self._worker.shutdown()
        if not own.read_only and self._unsaved() > _CLOSING_LEAST:
            self.write_snapshot_quietly()

    def _judge(self) -> None:
        target = self._collection.settings.recall
        low = {name: recall for name, recall in self.measured.items() if recall < target - 0.02}
        self.alarm = bool(low)
        for name, recall in low.items():
            log.warning(
                "recall of field %r in %s is %.3f, below its target of %.2f; `compact` fits the search anew",
                name,
                self._collection.path,
                recall,
                target,
            )

    def _sample(self, connection: Any, row: truth.FieldRow, recent: dict[str, Floats], count: int) -> Floats:
        if row.field.name in recent:
            return recent[row.field.name][-count:]
        return truth.LogSource(connection, row).sample(count, seed=len(self._collection))

    def _unsaved(self) -> int:
        mark = self._collection._mark
        return mark.key - self._written.key + mark.seq - self._written.seq

    def _start(self, work: Any) -> None:
        if self._stopping.is_set():
            return
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="triptych-upkeep")
        self._job = self._worker.submit(work)

    def _compact_quietly(self) -> None:
        try:
            self.compact(clean=False)
        except Exception:
            log.exception("the compaction of %s failed; it goes on as it is", self._collection.path)
