"""Stores for tests: SQLite, and a real PostgreSQL where one can be started; and rows to put in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.core.retrieval.postgres import Server, start_server, stop_server
from triptych_finance.store.schema import AlertRow, EntityRow, ItemRow, NoticeRow, ReadingRow
from triptych_finance.store.tables import metadata

START = datetime(2026, 3, 2, 9, 30, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = start_server()
    yield found
    stop_server(found)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that is not there yet, in each database."""
    if request.param == "sqlite":
        return str(tmp_path / "news.sqlite3")
    url: str = request.getfixturevalue("server").url
    empty(url)
    return url


def is_postgres(place: str) -> bool:
    return place.startswith("postgresql")


def empty(url: str) -> None:
    """Drop the store's tables of a PostgreSQL."""
    names = ", ".join(f'"{name}"' for name in metadata.tables)
    execute(url, f"DROP TABLE IF EXISTS {names}")


def execute(place: str, script: str) -> list[Any]:
    """Run SQL beside the store. Returns the rows of the last statement, if it has any."""
    if is_postgres(place):
        import psycopg

        with psycopg.connect(place, autocommit=True) as connection:
            cursor = connection.execute(script)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(place, isolation_level=None)) as file:
        rows: list[Any] = []
        for statement in filter(None, (part.strip() for part in script.split(";"))):
            rows = file.execute(statement).fetchall()
        return rows


def item(number: int, **changes: Any) -> ItemRow:
    vector = np.random.default_rng(number).normal(size=8).astype(np.float16).astype(np.float32)
    values: dict[str, Any] = {
        "key": f"wire\x1f{number}",
        "source": "wire",
        "id": str(number),
        "published": START + number * HOUR,
        "arrived": START + number * HOUR + timedelta(seconds=5),
        "title": f"Title {number}",
        "text": f"Acme and Globex, part {number}.",
        "url": f"https://example.org/{number}",
        "metadata": {"desk": "metals"},
        "digest": f"d{number}",
        "score": -0.25,
        "probabilities": (0.5, 0.25, 0.25),
        "vector": vector,
        "entities": (EntityRow("ACME", -0.5, 1.0, "Acme fell."), EntityRow("GLBX", 0.25, 0.5, "Globex rose.")),
    }
    return ItemRow(**{**values, **changes})


def reading(number: int, entity: str = "ACME") -> ReadingRow:
    start = START + number * 24 * HOUR
    return ReadingRow(entity, start, start + 24 * HOUR, 0.1 * number, -0.01, 3.0, 1.5, 4.0, number % 2 == 0, -1)


def alert(name: str, **changes: Any) -> AlertRow:
    values: dict[str, Any] = {"entity": "ACME", "kind": "sentiment", "state": "firing", "started": START}
    return AlertRow(name, **{**values, **changes})


def notice(name: str, **changes: Any) -> NoticeRow:
    values: dict[str, Any] = {
        "alert": "a1",
        "kind": "fired",
        "channel": "log",
        "created": START,
        "payload": {"entity": "ACME", "items": [1, 2]},
        "next_try": START,
    }
    return NoticeRow(name, **{**values, **changes})
