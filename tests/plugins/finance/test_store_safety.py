"""Who may write, what a kill, a full disk or a cut connection leaves, and how a store grows older."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import sqlite3
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, inspect, text

from tests.plugins.finance.stores import (
    HOUR,
    START,
    alert,
    empty,
    execute,
    is_postgres,
    item,
    notice,
    place,
    reading,
    server,
)
from triptych.errors import ConfigError, DataError, MissingError
from triptych_finance.store import migrations
from triptych_finance.store.schema import SilenceRow, VerdictRow
from triptych_finance.store.store import Pruned, Store

__all__ = ["place", "server"]  # fixtures
CHUNK = 40
FIRST_SCHEMA = Path(__file__).with_name("store_version_1.sql")


def write_on(place: str, committed: Any) -> None:
    """Chunks of items with their cursor and states, until somebody kills this process."""
    with Store.open(place, writer=True) as store:
        while True:
            committed.release()
            with store.transaction() as tx:
                done = int(tx.cursor("wire") or 0)
                tx.set_cursor("wire", str(done + CHUNK))
                tx.add_items([item(n) for n in range(done, done + CHUNK)])
                tx.put_states("board", {"ACME": {"items": done + CHUNK}, "GLBX": {"items": done + CHUNK}})
                tx.add_readings([reading(done)])
                tx.put_alerts([alert("a1", json={"items": done + CHUNK})])
                tx.add_notices([notice(f"n{done}")])


def test_kills_at_any_moment_leave_whole_chunks(place: str) -> None:
    moments = random.Random(5)
    context = multiprocessing.get_context("fork")
    before = 0
    for _ in range(8):
        committed = context.Semaphore(0)
        writer = context.Process(target=write_on, args=(place, committed))
        writer.start()
        for _ in range(moments.randint(1, 4)):
            assert committed.acquire(timeout=30), f"the writer ended with {writer.exitcode}"
        time.sleep(moments.uniform(0, 0.05))
        writer.kill()
        writer.join()
        with Store.open(place, writer=False) as store, store.transaction() as tx:
            done = int(tx.cursor("wire") or 0)
            keys = [row.key for row in tx.items()]
            assert keys == [f"wire\x1f{n}" for n in range(done)]
            assert all(len(row.entities) == 2 for row in tx.items(limit=CHUNK))
            assert done % CHUNK == 0
            if done:
                assert tx.states("board") == {"ACME": {"items": done}, "GLBX": {"items": done}}
                assert tx.alerts()[0].json == {"items": done}
            assert len(tx.readings()) == len(tx.notices()) == done // CHUNK
        assert done >= before
        before = done
    assert before > 0


def test_a_second_writer_is_refused_and_told_who_writes(place: str) -> None:
    with Store.open(place, writer=True) as first:
        with pytest.raises(MissingError, match=rf"another monitor \(.*process {os.getpid()}.*is writing into.*stop it"):
            Store.open(place, writer=True)
        with first.transaction() as tx:
            tx.set_cursor("wire", "1")
    with Store.open(place, writer=True) as second, second.transaction() as tx:
        assert tx.cursor("wire") == "1"
    with pytest.raises(DataError, match="is closed"), second.transaction():
        pass


def test_two_names_of_one_file_are_one_store(tmp_path: Path) -> None:
    (tmp_path / "other.sqlite3").symlink_to(tmp_path / "news.sqlite3")
    with Store.open(tmp_path / "news.sqlite3", writer=True):
        for name in (str(tmp_path / "other.sqlite3"), f"sqlite:///{tmp_path}/news.sqlite3"):
            with pytest.raises(MissingError, match="another monitor"):
                Store.open(name, writer=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["news.sqlite3", "other.sqlite3"]


def test_readers_see_one_moment_whatever_is_written(place: str) -> None:
    with Store.open(place, writer=True) as writer, Store.open(place, writer=False) as reader:
        with writer.transaction() as tx:
            tx.add_items([item(1)])
            with reader.transaction() as view:
                assert view.items() == []
        with reader.transaction() as view:
            assert len(view.items()) == 1
            with writer.transaction() as tx:
                tx.add_items([item(2)])
                with writer.reading() as other:
                    assert len(other.items()) == 1
            assert len(view.items()) == 1
        with reader.transaction() as view:
            assert len(view.items()) == 2


def test_a_reader_posts_verdicts_but_writes_nothing_else(place: str) -> None:
    with Store.open(place, writer=True) as writer, Store.open(place, writer=False) as reader:
        with reader.posting() as tx:
            tx.add_verdict(VerdictRow("a1", "ACME", False, "ann", "", START))
        for view in (reader.transaction, reader.posting, writer.reading):
            with pytest.raises(DataError, match="open for reading"), view() as tx:
                tx.set_cursor("wire", "1")
        with pytest.raises(DataError, match="open for reading"), reader.transaction() as tx:
            tx.add_silence(SilenceRow("s", "*", START, START + HOUR))
        with writer.transaction() as tx:
            assert len(tx.verdicts()) == 1


def test_nothing_to_read_is_said(place: str, tmp_path: Path) -> None:
    with pytest.raises((MissingError, DataError), match="a monitor makes one when it starts"):
        Store.open(place, writer=False)
    with pytest.raises(MissingError, match="there is no store"):
        Store.open(tmp_path / "none" / "news.sqlite3", writer=False)
    assert not (tmp_path / "none").exists()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "news.sqlite3"
    with Store.open(path, writer=True) as store:
        with store.transaction() as tx:
            tx.add_items([item(1)])
            tx.set_cursor("wire", "1")
        log = path.with_name("news.sqlite3-wal").stat().st_size

        def fill() -> None:
            with store.transaction() as tx:
                tx.set_cursor("wire", "2")
                tx.add_items([item(n, text="x" * 5_000) for n in range(2, 200)])

        with largest_file(log + 100_000), pytest.raises(MissingError, match=r"nothing was written.*disk is full"):
            fill()
        with store.transaction() as tx:
            assert (tx.cursor("wire"), len(tx.items())) == ("1", 1)
        fill()
        with store.transaction() as tx:
            assert (tx.cursor("wire"), len(tx.items())) == ("2", 199)


def test_a_full_disk_of_the_server_leaves_nothing_half_written(server: Any) -> None:
    empty(server.url)
    with Store.open(server.url, writer=True) as store:

        def fill() -> None:
            with store.transaction() as tx:
                tx.set_cursor("wire", "2")
                tx.connection.execute(text("DO $$ BEGIN RAISE 'no room' USING ERRCODE = 'disk_full'; END $$"))

        with pytest.raises(MissingError, match=r"nothing was written.*disk is full.*no room"):
            fill()
        with store.transaction() as tx:
            assert tx.cursor("wire") is None


def test_a_writer_that_was_cut_off_takes_the_lock_anew_or_stays_out(server: Any) -> None:
    empty(server.url)
    with Store.open(server.url, writer=True) as store:
        for other_came in (False, True):
            execute(server.url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
            with pytest.raises(MissingError, match="does not answer"), store.transaction() as tx:
                tx.set_cursor("wire", "1")
            if not other_came:
                with store.transaction() as tx:
                    tx.set_cursor("wire", "2")
            else:
                with Store.open(server.url, writer=True) as other:
                    with pytest.raises(MissingError, match="another monitor"), store.transaction():
                        pass
                    with other.transaction() as tx:
                        assert tx.cursor("wire") == "2"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql://ann:s3cret@127.0.0.1:1/none", MissingError),
        ("postgresql://127.0.0.1:1/none?user=ann&password=s3cret", MissingError),
        ("postgresql://ann:s3cret@host:port/none", ConfigError),
        ("mysql://ann:s3cret@host/none", ConfigError),
        ("nothing://ann:s3cret@host/none", ConfigError),
        ("sqlite://", ConfigError),
    ],
)
def test_no_message_shows_the_password(url: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        Store.open(url, writer=True)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_damaged_or_foreign_file_is_refused_untouched(tmp_path: Path) -> None:
    text_file, foreign = tmp_path / "notes.txt", tmp_path / "app.sqlite3"
    text_file.write_text("no database\n" * 100)
    execute(str(foreign), "CREATE TABLE customer (id INTEGER)")
    before = foreign.read_bytes()
    for path, reason in ((text_file, "is damaged, or no store"), (foreign, r"another program \(customer\)")):
        for writer in (True, False):
            with pytest.raises(DataError, match=f"{path.name}.*{reason}"):
                Store.open(path, writer=writer)
    assert text_file.read_text() == "no database\n" * 100
    assert foreign.read_bytes() == before


def test_tables_of_another_program_are_left_alone(server: Any) -> None:
    empty(server.url)
    execute(server.url, "CREATE TABLE alert (bell TEXT)")
    with pytest.raises(DataError, match=r"another program \(alert\)"):
        Store.open(server.url, writer=True)
    execute(server.url, "DROP TABLE alert")


def first_version(place: str) -> None:
    """A store as version 1 made it, with a verdict on an alert."""
    script = FIRST_SCHEMA.read_text()
    for name, kinds in {"$WORDS": ('TEXT COLLATE "C"', "TEXT"), "$FLOAT": ("DOUBLE PRECISION", "DOUBLE")}.items():
        script = script.replace(name, kinds[not is_postgres(place)])
    if is_postgres(place):
        empty(place)
        script = script.replace("number INTEGER", "number BIGINT").replace("BLOB", "BYTEA")
    execute(place, script)


def shape(place: str) -> dict[str, Any]:
    """Tables, columns and indexes as the database tells of them."""
    engine = create_engine(
        place.replace("postgresql:", "postgresql+psycopg:") if is_postgres(place) else f"sqlite:///{place}"
    )
    found = inspect(engine)
    shapes = {
        table: (
            {c["name"]: (str(c["type"]), c["nullable"]) for c in found.get_columns(table)},
            found.get_pk_constraint(table)["constrained_columns"],
            sorted((str(i["name"]), tuple(i["column_names"])) for i in found.get_indexes(table)),
        )
        for table in found.get_table_names()
    }
    engine.dispose()
    return shapes


def test_a_store_of_version_1_is_brought_up(place: str) -> None:
    if is_postgres(place):
        empty(place)
    Store.open(place, writer=True).close()
    new = shape(place)
    if not is_postgres(place):
        Path(place).unlink()
    first_version(place)
    with pytest.raises(DataError, match=r"earlier version \(schema 1, now 2\)"):
        Store.open(place, writer=False)
    with Store.open(place, writer=True) as store, store.transaction() as tx:
        assert [(row.entity, row.confirmed) for row in tx.verdicts()] == [("ACME", True)]
        assert [(row.id, row.number) for row in tx.items()] == [("7", 3)]
        assert tx.add_items([item(8)]) == [4]
        assert tx.add_verdict(VerdictRow("a1", "ACME", False, "bob", "", START)) == 2
    assert shape(place) == new
    with Store.open(place, writer=False) as store, store.transaction() as tx:
        assert len(tx.items()) == 2


def test_a_migration_that_fails_changes_nothing(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE item ADD COLUMN colour TEXT"))
        raise KeyboardInterrupt

    first_version(place)
    before = shape(place)
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, fails))
    with pytest.raises(KeyboardInterrupt):
        Store.open(place, writer=True)
    assert shape(place) == before
    assert execute(place, "SELECT value FROM meta WHERE name = 'version'") == [(1,)]


def test_a_newer_version_is_refused(place: str) -> None:
    if is_postgres(place):
        empty(place)
    Store.open(place, writer=True).close()
    execute(place, "UPDATE meta SET value = 99 WHERE name = 'version'")
    for writer in (True, False):
        with pytest.raises(MissingError, match=r"newer version of Triptych \(schema 99, known up to 2\); update it"):
            Store.open(place, writer=writer)
    assert execute(place, "SELECT value FROM meta WHERE name = 'version'") == [(99,)]


def test_retention_removes_what_is_done_with(place: str) -> None:
    before = START + 300 * HOUR
    with Store.open(place, writer=True) as store:
        with store.transaction() as tx:
            tx.add_items([item(n, text="x" * 2_000) for n in range(400)])
            tx.add_readings([reading(n) for n in range(20)])
            old = {"state": "resolved", "ended": START}
            tx.put_alerts([alert("done", **old), alert("open"), alert("unsent", **old)])
            tx.put_alerts([alert("new", state="resolved", ended=before), alert("given up", **old)])
            tx.put_alerts([alert("calm", state="inactive", ended=START)])  # it was pending, and never fired
            for name in ("done", "open", "unsent", "new", "given up"):
                tx.add_notices([notice(f"{name} 1", alert=name, sent=START, next_try=None)])
            tx.add_notices([notice("unsent 2", alert="unsent"), notice("given up 2", alert="given up", next_try=None)])
            for name in ("done", "open"):
                tx.add_verdict(VerdictRow(name, "ACME", True, "ann", "", START))
            tx.add_silence(SilenceRow("past", "*", START, START + HOUR))
            tx.add_silence(SilenceRow("ahead", "*", START, before))
        assert store.prune(before) == Pruned(items=300, readings=12, alerts=3, notices=3)
        with store.transaction() as tx:
            assert [row.id for row in tx.items()] == [str(n) for n in range(300, 400)]
            assert len(tx.items(entity="ACME")) == 100
            assert tx.readings()[0] == reading(12)
            assert [row.id for row in tx.alerts()] == ["new", "open", "unsent"]
            assert [row.id for row in tx.notices()] == ["new 1", "open 1", "unsent 1", "unsent 2"]
            assert [row.id for row in tx.silences()] == ["ahead"]
            assert [row.alert for row in tx.verdicts()] == ["open"]
            assert tx.add_items([item(400)]) == [401]
        assert store.prune(before) == Pruned(0, 0, 0, 0)
    assert execute(place, "SELECT count(*) FROM item_entity") == [(202,)]


def test_retention_gives_room_back(tmp_path: Path) -> None:
    path = tmp_path / "news.sqlite3"
    with Store.open(path, writer=True) as store:
        with store.transaction() as tx:
            tx.add_items([item(n, text="x" * 20_000) for n in range(200)])
        store.prune(START + 300 * HOUR)
        assert path.stat().st_size < 500_000
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
