"""The log: one JSON object a line on standard error. No text, no key, no address and no path of a client is in it."""

from __future__ import annotations

import datetime
import functools
import json
import logging
import sys
import traceback
from typing import Any

from triptych.errors import MissingError

log = logging.getLogger("triptych.server")
_ENCODER = json.JSONEncoder(default=str)  # made once, for `json.dumps` would make one for each line


class JsonLines(logging.Formatter):
    """`fields` of a record (`extra={"fields": {...}}`) stand beside its time, level and event."""

    def format(self, record: logging.LogRecord) -> str:
        """One line. Of an exception only its type and the places in the code: its words may be a client's."""
        at = f"{_second(int(record.created))}.{int(record.msecs):03d}+00:00"
        line: dict[str, Any] = {"time": at, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= describe(record.exc_info[1])
        return _ENCODER.encode(line)


@functools.lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    """A time without its fraction."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def log_call(fields: dict[str, Any]) -> None:
    """The line of a call, at the level INFO; without a search for the place in the code that writes it."""
    record = logging.LogRecord(log.name, logging.INFO, __file__, 0, "call", (), None)
    record.fields = fields
    log.handle(record)


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
    handler = logging.StreamHandler(sys.stderr)
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
