"""Stores for tests: SQLite, and a real PostgreSQL where one can be started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.retrieval.postgres import Server, start_server, stop_server
from triptych_recommendation.catalogue.tables import metadata


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = start_server()
    yield found
    stop_server(found)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that is not there yet, in each database."""
    if request.param == "sqlite":
        return str(tmp_path / "shop" / "store.sqlite3")
    url: str = request.getfixturevalue("server").url
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS experiment, " + ", ".join(f'"{name}"' for name in metadata.tables))
    return url
