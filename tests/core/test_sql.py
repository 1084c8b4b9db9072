"""What stores in SQLite and PostgreSQL have in common; each plugin tests its own store on both."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from sqlalchemy import Column, MetaData, Table, Text, make_url, select

from triptych.errors import ConfigError, DataError, MissingError
from triptych.sql.columns import Half, Json, Words
from triptych.sql.databases import Database, place_of, postgres_engine, sqlite_engine
from triptych.sql.meta import make, meta_table, next_numbers, refuse_newer, version_of
from triptych.sql.statements import insert, narrowed, put

METADATA = MetaData()
META = meta_table(METADATA)
THING = Table(
    "thing", METADATA, Column("id", Words, primary_key=True), Column("json", Json), Column("vector", Half)
)  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A store with one counter."""
    database = Database("shop", sqlite_engine(tmp_path / "shop.sqlite3"))
    with database.engine.begin() as connection:
        make(connection, METADATA, 3, ["thing"])
    yield database
    database.close()


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("a/b.sqlite3", Path("a/b.sqlite3")),
        (Path("a/b"), Path("a/b")),
        ("sqlite:///a/b.sqlite3", Path("a/b.sqlite3")),
        ("postgresql://ann@host/shop", make_url("postgresql://ann@host/shop")),
    ],
)
def test_an_address_is_a_file_or_a_server(where: str | Path, place: object) -> None:
    assert place_of(where) == place


@pytest.mark.parametrize(
    "where",
    ["mysql://ann:s3cret@host/shop", "postgresql://ann:s3cret@host:port/shop", "sqlite://", "sqlite:///:memory:"],
)
def test_any_other_address_is_refused_without_its_password(where: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///file or postgresql://") as caught:
        place_of(where)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_driver_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="the shop: no such driver"):
        postgres_engine(make_url("postgresql+quill://ann:s3cret@host/shop"), "the shop")


def test_values_come_back_and_rows_take_the_place_of_their_like(database: Database) -> None:
    vector = np.array([0.5, -2], dtype=np.float32)
    with database.engine.begin() as connection:
        put(connection, THING, [{"id": "a", "json": None, "vector": None}])
        put(connection, THING, [{"id": "a", "json": MappingProxyType({"é": [1]}), "vector": vector}])
        connection.execute(insert(connection, THING).on_conflict_do_nothing(), [{"id": "a", "json": 1}])
    with database.connect_to_read() as connection:
        (row,) = connection.execute(select(THING))
    assert (row.id, row.json, row.vector.tolist()) == ("a", {"é": [1]}, [0.5, -2])


@pytest.mark.parametrize("values", [{"json": float("inf")}, {"json": object()}, {"vector": np.array([[1.0]])}])
def test_what_a_column_cannot_keep_is_refused(database: Database, values: dict[str, object]) -> None:
    with pytest.raises(DataError), database.translated(), database.engine.begin() as connection:
        connection.execute(THING.insert(), {"id": "a", **values})


def test_more_values_than_one_question_may_name_are_asked_for_in_parts(database: Database) -> None:
    names = [f"{n:04}" for n in range(1_200)]
    with database.engine.begin() as connection:
        put(connection, THING, [{"id": name, "json": None, "vector": None} for name in names])
        parts = narrowed([select(THING.c.id)], THING.c.id, [*names[1:], *names[1:]])
        assert len(parts) == 3
        assert [name for part in parts for name in connection.scalars(part.order_by(THING.c.id))] == names[1:]


def test_a_reader_sees_what_was_there_at_its_first_question(database: Database) -> None:
    with database.engine.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA journal_mode = WAL")  # type: ignore[union-attr]
    with database.connect_to_read() as reading, reading.begin():
        assert reading.scalars(select(THING.c.id)).all() == []
        with database.engine.begin() as connection:
            put(connection, THING, [{"id": "a", "json": None, "vector": None}])
        assert reading.scalars(select(THING.c.id)).all() == []


def test_numbers_are_given_out_once_and_a_lost_counter_is_told(database: Database) -> None:
    with database.engine.begin() as connection:
        assert next_numbers(connection, METADATA, "thing", 2) == [1, 2]
        assert next_numbers(connection, METADATA, "thing", 1) == [3]
        with pytest.raises(DataError, match="counter 'other'"):
            next_numbers(connection, METADATA, "other", 1)


def test_a_store_is_known_by_its_tables_and_newer_ones_are_refused(database: Database, tmp_path: Path) -> None:
    with database.engine.begin() as connection:
        assert version_of(connection, METADATA, "shop", needed=METADATA.tables) == 3
        with pytest.raises(DataError, match=r"another program \(meta, thing\)"):
            version_of(connection, METADATA, "shop", needed=["meta", "receipt"])
    with sqlite_engine(tmp_path / "empty").begin() as connection:
        assert version_of(connection, METADATA, "empty", needed=["meta"]) is None
        Table("meta", MetaData(), Column("song", Text)).create(connection)
        with pytest.raises(DataError, match=r"another program \(meta\)"):
            version_of(connection, METADATA, "empty", needed=["meta"])
    refuse_newer(3, 3, "shop")
    with pytest.raises(MissingError, match=r"newer version of Triptych \(schema 4, known up to 3\)"):
        refuse_newer(4, 3, "shop")


def test_errors_of_the_database_name_the_store(database: Database) -> None:
    with pytest.raises(DataError, match=r"shop.*already"), database.translated(), database.engine.begin() as connection:
        connection.execute(THING.insert(), [{"id": "a"}, {"id": "a"}])
    with pytest.raises(RuntimeError, match="my own"), database.translated():
        raise RuntimeError("my own")
