"""How far a build has come, on standard error: bars on a terminal, single lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from triptych_apps.errors import say
from triptych_apps.output import console

_SECONDS_BETWEEN_LINES = 10.0


class Moment(Protocol):
    """What `triptych.tuning.base.Progress` has, which cannot be imported before torch."""

    @property
    def step(self) -> str:
        """The step that is at work."""

    @property
    def done(self) -> int:
        """How much of it is done, of `total`."""

    @property
    def total(self) -> int:
        """All of it; 0 where it is not known."""

    @property
    def message(self) -> str:
        """A few words."""


@dataclass(frozen=True, slots=True)
class Event:
    """A moment of the command line's own."""

    step: str
    done: int
    total: int
    message: str


@contextmanager
def progress() -> Iterator[Callable[[Moment], None]]:
    """A callback for the pipeline; what it shows is closed at the end, also after an error."""
    if not sys.stderr.isatty():
        lines = _Lines()
        yield lines
        lines.close()
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]:>11}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False, style="dim"),
    )
    with Progress(*columns, console=console(stderr=True)) as live:
        bars = _Bars(live)
        yield bars
        bars.close()


class _Bars:
    """One bar for each step; a step is done when the next one begins."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._step: str | None = None
        self._task: Any = None

    def __call__(self, event: Moment) -> None:
        if event.step != self._step:
            self.close()
            self._step = event.step
            self._task = self._live.add_task(event.step, total=event.total or None, count="", note="")
        count = f"{event.done:,}/{event.total:,}" if event.total > 1 else ""
        self._live.update(self._task, completed=event.done, total=event.total or None, count=count, note=event.message)

    def close(self) -> None:
        if self._task is not None:
            task = self._live.tasks[self._task]
            total = task.total or 1
            self._live.update(self._task, total=total, completed=total)


class _Lines:
    """A line when a step begins, one when it ends, and one now and then between."""

    def __init__(self) -> None:
        self._event: Moment | None = None
        self._started = self._said = 0.0

    def __call__(self, event: Moment) -> None:
        now = time.monotonic()
        if self._event is None or event.step != self._event.step:
            self.close()
            self._started = self._said = now
        elif now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            share = f" {event.done:,}/{event.total:,}" if event.total > 1 else ""
            say(f"{event.step}:{share} {event.message}".rstrip())
        self._event = event

    def close(self) -> None:
        if self._event is not None:
            seconds = time.monotonic() - self._started
            note = f" ({self._event.message})" if self._event.message else ""
            say(f"{self._event.step}: done in {seconds:.1f} s{note}")
            self._event = None
