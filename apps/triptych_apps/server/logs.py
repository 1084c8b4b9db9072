"""The log: one JSON object a line on standard error. No text, no key, no address and no path of a client is in it."""

from __future__ import annotations

import asyncio
import datetime
import functools
import json
import logging
import sys
import time
import traceback
from contextlib import suppress
from typing import Any, TextIO

from pydantic_core import to_json

from triptych.errors import MissingError

log = logging.getLogger("triptych.server")
_WAIT_SECONDS, _MOST_LINES = 0.1, 1_000  # for which the line of a call waits for others, and how many do
_ENCODER = json.JSONEncoder(default=str)  # made once, for `json.dumps` would make one for each line


class JsonLines(logging.Formatter):
    """`fields` of a record (`extra={"fields": {...}}`) stand beside its time, level and event."""

    def format(self, record: logging.LogRecord) -> str:
        """One line. Of an exception only its type and the places in the code: its words may be a client's."""
        event = record.getMessage()
        line: dict[str, Any] = {"time": _at(record.created), "level": record.levelname.lower(), "event": event}
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= describe(record.exc_info[1])
        return _ENCODER.encode(line)


def _at(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int(1000 * (seconds - whole)):03d}+00:00"


def _encoded(line: dict[str, Any]) -> str:
    """JSON in ASCII, for a log may be of any encoding; the quick way where that can."""
    try:
        return to_json(line).decode("ascii")
    except ValueError:
        return _ENCODER.encode(line)


@functools.lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    """A time without its fraction."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def log_call(fields: dict[str, Any]) -> None:
    """The line of a call, at the level INFO; in the thread of an event loop."""
    if _lines is None:
        log.info("call", extra={"fields": fields})
    else:  # a record of `logging` costs more than the line
        _lines.add_call(fields)


class Lines(logging.StreamHandler[TextIO]):
    """Lines of calls are written together, a tenth of a second later at most; any other line at once, after those.

    To write each by itself costs more than to make it: writing lets other threads take over.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging`."""
        try:
            self._lines.append(self.format(record))
            self.flush()
        except Exception:
            self.handleError(record)

    def add_call(self, fields: dict[str, Any]) -> None:
        """The line of a call, soon. For the thread of an event loop."""
        line = _encoded({"time": _at(time.time()), "level": "info", "event": "call", **fields})
        self.acquire()  # another thread may write just now
        self._lines.append(line)
        waiting = len(self._lines)
        self.release()
        if waiting >= _MOST_LINES:
            self._flush_later()
        elif waiting == 1:
            asyncio.get_running_loop().call_later(_WAIT_SECONDS, self._flush_later)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            if self._lines:
                lines, self._lines = self._lines, []
                self.stream.write("\n".join(lines) + "\n")
            super().flush()
        finally:
            self.release()

    def _flush_later(self) -> None:
        with suppress(OSError, ValueError):  # nobody reads the log any more, or it is closed
            self.flush()


_lines: Lines | None = None  # of this process, once it is set up


def describe(error: BaseException) -> dict[str, Any]:
    """The type of an exception and where it came from, without its message."""
    frames = traceback.extract_tb(error.__traceback__)
    return {"error": type(error).__name__, "trace": [f"{f.filename}:{f.lineno} {f.name}" for f in frames]}


def tell(error: Exception, **fields: Any) -> None:
    """Log what is wrong with the server: what it lacks, with the reason, or a bug, without its message."""
    if isinstance(error, MissingError):
        log.error("missing", extra={"fields": {**fields, "reason": str(error)}})
    else:
        log.error("bug", extra={"fields": {**fields, **describe(error)}})


def set_up() -> None:
    """Everything that this process logs goes through `JsonLines`."""
    global _lines
    handler = _lines = Lines(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.captureWarnings(True)
    # what no line shows is not looked up for each
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger().handlers[:] = [handler]
    for name in ("triptych", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    logging.getLogger("triptych").setLevel(logging.WARNING)
    logging.getLogger("triptych.server").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True
