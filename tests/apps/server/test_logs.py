"""The log's lines: whole, in order, and there soon."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from triptych_apps.server import logs


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the server's log writes."""
    stream = io.StringIO()
    handler = logs.Lines(stream)
    handler.setFormatter(logs.JsonLines())
    level = logs.log.level
    monkeypatch.setattr(logs, "_lines", handler)
    logs.log.addHandler(handler)
    logs.log.setLevel(logging.INFO)
    yield stream
    logs.log.removeHandler(handler)
    logs.log.setLevel(level)


def events(stream: io.StringIO) -> list[tuple[str, int | None]]:
    return [(line["event"], line.get("n")) for line in map(json.loads, stream.getvalue().splitlines())]


def test_lines_of_calls_wait_for_each_other_but_not_long(written: io.StringIO):
    async def run() -> None:
        logs.log_call({"n": 1})
        logs.log_call({"n": 2})
        assert written.getvalue() == ""
        for _ in range(500):
            await asyncio.sleep(0.01)
            if written.getvalue():
                return

    asyncio.run(run())
    assert events(written) == [("call", 1), ("call", 2)]


def test_any_other_line_is_written_at_once_after_the_calls_before_it(written: io.StringIO):
    async def run() -> None:
        logs.log_call({"n": 1})
        logs.log.warning("not cached", extra={"fields": {"n": 2}})
        assert events(written) == [("call", 1), ("not cached", 2)]

    asyncio.run(run())


def test_many_calls_do_not_wait_in_memory(written: io.StringIO):
    async def run() -> None:
        for n in range(1_000):
            logs.log_call({"n": n})
        assert [n for _, n in events(written)] == list(range(1_000))

    asyncio.run(run())
