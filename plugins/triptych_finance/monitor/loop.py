"""The loop: sources are read ahead, their polls processed in turn, and notices delivered beside it."""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType

from triptych.errors import ConfigError, MissingError
from triptych_finance.alerts.delivery import Deliverer
from triptych_finance.monitor.engine import Monitor, Processed
from triptych_finance.monitor.feeder import Feeder, Given
from triptych_finance.monitor.memory import COUNTED
from triptych_finance.stream.source import Poll, Source

log = logging.getLogger(__name__)

DELIVER_S = 1.0  # between two looks for notices that are due
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # between two tries of a store that cannot be written
_LOOK_S = 0.2  # between two looks whether it shall stop
_SHOWN = 20  # problems that are kept by their words


@dataclass(slots=True)
class Progress:
    """What a run has done so far; `counts` as `Processed` has them."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    readings: int = 0
    notices: int = 0
    drifts: list[str] = field(default_factory=list)
    verdicts: int = 0
    problems: list[str] = field(default_factory=list)  # the first of them; `counts` has how many there were
    seconds: float = 0.0
    ended: bool = False  # all sources have given all that they ever will

    def add(self, done: Processed, problems: Sequence[str]) -> None:
        """Add what one poll has come to."""
        for name, count in done.counts.items():
            self.counts[name] += count
        self.readings += done.readings
        self.notices += len(done.notices)
        self.verdicts += done.verdicts
        self.drifts += [f"{d.source}: {d.feature}, {d.start:%Y-%m-%d} to {d.end:%Y-%m-%d}" for d in done.drifts]
        self.problems += problems[: max(0, _SHOWN - len(self.problems))]


def run(
    monitor: Monitor,
    sources: Sequence[Source],
    *,
    deliverer: Deliverer | None = None,
    stop: threading.Event | None = None,
    until_ended: bool = True,
    progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], datetime] | None = None,
) -> Progress:
    """Process what the sources give until `stop` is set or, with `until_ended`, until all of them have ended.

    `progress` is called after each transaction. The sources stay open. Several are taken as their items come.

    With `until_ended`, as in a replay, an error of a source or of the store ends the run. Without, a source that fails
    and a store that cannot be written are named once and tried again until they are back. Either way what is committed
    stays, and the next run goes on behind it. With a `clock`, for live sources alone, event time goes on with its hours
    while every source answers and none has anything; see `Monitor.beat`. Raises `ConfigError` for two sources of one
    name.
    """
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ConfigError([f"two sources are called {name!r}" for name in twice] or "there is no source to read")
    return _Run(monitor, sources, stop or threading.Event(), until_ended, progress, clock).go(deliverer)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, for `run`; a second signal raises `KeyboardInterrupt` at once.

    For the main thread. Where the event is set afterwards, the run was stopped: end with `KeyboardInterrupt`.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Run:
    def __init__(
        self,
        monitor: Monitor,
        sources: Sequence[Source],
        stop: threading.Event,
        until_ended: bool,
        progress: Callable[[Progress], None] | None,
        clock: Callable[[], datetime] | None,
    ) -> None:
        self.monitor, self.stop, self.until_ended = monitor, stop, until_ended
        self.clock = clock
        self.progress = progress or (lambda _: None)
        self.done = Progress()
        self.queue: queue.Queue[Given] = queue.Queue(maxsize=1)
        settings = monitor.settings.stream
        self.feeders = [
            Feeder(
                source, monitor.cursor(source.name), self.queue, limit=settings.chunk,
                wait_s=settings.wait_seconds, fatal=until_ended,
            )
            for source in sources
        ]  # fmt: skip

    def go(self, deliverer: Deliverer | None) -> Progress:
        began = time.monotonic()
        with _delivering(deliverer) as news:
            try:
                for feeder in self.feeders:
                    feeder.start()
                self._take_all(began, news)
            finally:
                for feeder in self.feeders:
                    feeder.stop()
                for feeder in self.feeders:
                    feeder.join()
        if deliverer is not None and self.done.ended:
            _deliver(deliverer, "")
        self.done.seconds = time.monotonic() - began
        return self.done

    def _take_all(self, began: float, news: threading.Event) -> None:
        left = len(self.feeders)
        while not self.stop.is_set() and (left or not self.until_ended):
            try:
                given = self.queue.get(timeout=_LOOK_S)
            except queue.Empty:
                done, problems = self._patiently(self._meanwhile), []
                if done.idle:
                    continue
            else:
                if given.poll is None:
                    assert given.error is not None
                    raise given.error
                left -= given.poll.ended
                done, problems = self._commit(given.feeder, given.poll), given.poll.problems
            self.done.add(done, problems)
            self.done.seconds = time.monotonic() - began
            if done.notices:
                news.set()
            self.progress(self.done)
        self.done.ended = not left

    def _meanwhile(self) -> Processed:
        """What is to be done while no items come: event time goes on, or verdicts are taken up."""
        if self.clock is not None and all(feeder.quiet for feeder in self.feeders):
            done = self.monitor.beat(self.clock())
            if not done.idle:
                return done
        return self.monitor.attend()

    def _commit(self, feeder: Feeder, poll: Poll) -> Processed:
        for problem in poll.problems:
            log.info("passed over: %s", problem)
        done = self._patiently(lambda: self.monitor.process(feeder.source.name, poll))
        feeder.acknowledge(poll.cursor)
        return done

    def _patiently(self, work: Callable[[], Processed]) -> Processed:
        """What the work gives; live, where the disk is full or the database away, it is tried again."""
        failures = 0
        while True:
            try:
                done = work()
            except MissingError as error:
                if self.until_ended or self.stop.is_set():
                    raise
                if not failures:
                    log.error("nothing can be written, and it is tried again: %s", error)
                self.stop.wait(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 20)))
                failures += 1
            else:
                if failures:
                    log.warning("the store can be written again")
                return done


@contextlib.contextmanager
def _delivering(deliverer: Deliverer | None) -> Iterator[threading.Event]:
    """Deliver notices in a thread until the block ends; the event says that there are new ones."""
    news, over = threading.Event(), threading.Event()
    if deliverer is None:
        yield news
        return

    def work() -> None:
        trouble = ""
        while not over.is_set():
            trouble = _deliver(deliverer, trouble)
            news.wait(DELIVER_S)
            news.clear()

    thread = threading.Thread(target=work, name="delivery", daemon=True)
    thread.start()
    try:
        yield news
    finally:
        over.set()
        news.set()
        thread.join()


def _deliver(deliverer: Deliverer, trouble: str) -> str:
    """One round. An error is named unless it is the same as before; the notices wait in the store. Returns it."""
    try:
        deliverer.run_once()
    except Exception as error:
        if str(error) != trouble:
            log.error("notices could not be delivered, and wait: %s", error)
        return str(error)
    return ""
