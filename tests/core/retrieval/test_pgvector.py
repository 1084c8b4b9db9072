"""The index in PostgreSQL: what every index promises, and what a server, its crashes and its rights add."""

from __future__ import annotations

import itertools
import math
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from tests.core.retrieval.postgres import Server, start_server, stop_server
from triptych.errors import ConfigError, DataError, MissingError
from triptych.retrieval import pgvector as module
from triptych.retrieval import pgvector_rows, pgvector_sql
from triptych.retrieval.base import VectorField
from triptych.retrieval.open import open_index
from triptych.retrieval.pgvector import PgVectorIndex
from triptych.testing.index import IndexChecks

NUMBERS = itertools.count()
FIELD = VectorField(dim=2)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = start_server()
    yield found
    stop_server(found)


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """Of an index that does not exist yet; it is removed at the end, so that a crash has little to recover."""
    name = f"index{next(NUMBERS)}"
    yield f"{server.url}#{name}"
    tables = run(server.url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ %s", f"^{name}(_|x|$)")
    if tables:
        run(server.url, f"DROP TABLE {', '.join(row[0] for row in tables)}")


class TestPgVector(IndexChecks):
    @pytest.fixture(autouse=True)
    def place(self, url: str) -> None:
        self.url = url

    def make(self, fields: Sequence[VectorField]) -> PgVectorIndex:
        return PgVectorIndex.create(self.url, fields)

    def reopen(self, index: Any) -> PgVectorIndex:
        index.close()
        return PgVectorIndex.open(self.url)


def filled(url: str, rows: int = 20, *, dim: int = 8, **options: Any) -> tuple[PgVectorIndex, np.ndarray]:
    vectors = np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)
    index = PgVectorIndex.create(url, [VectorField(dim=dim, **options)])
    index.add([f"r{i}" for i in range(rows)], vectors, [{"n": i} for i in range(rows)])
    return index, vectors


def run(url: str, statement: str, *given: Any) -> list[Any]:
    import psycopg

    with psycopg.connect(url.partition("#")[0], autocommit=True) as connection:
        cursor = connection.execute(statement, given)
        return cursor.fetchall() if cursor.description else []


def table(url: str, ending: str = "") -> str:
    return f'"{url.partition("#")[2]}{ending}"'


def test_it_is_opened_by_its_url_and_for_reading_only_writes_nothing(url):
    filled(url)[0].close()
    index = open_index(url, read_only=True)
    assert isinstance(index, PgVectorIndex)
    assert len(index.search(np.ones((1, 8)), 3)[0]) == 3
    for write in (lambda: index.delete(["r1"]), lambda: index.add(["x"], np.ones((1, 8))), index.compact):
        with pytest.raises(DataError, match="reading only"):
            write()
    assert len(index) == 20
    index.close()


# Searching


def test_the_graph_is_used_and_finds_what_an_exact_search_finds(url, monkeypatch):
    index, vectors = filled(url, 4000)
    run(url, f"ANALYZE {table(url)}, {table(url, '_f0')}")
    exact = index.search(vectors[:50], 10)
    monkeypatch.setattr(module, "EXACT_BELOW", 100)
    plans = watched(index)
    found = index.search(vectors[:50], 10)
    assert index.stats()["fields"]["vector"]["search"] == "hnsw"
    same = [len({a.id for a in one} & {b.id for b in other}) for one, other in zip(exact, found, strict=True)]
    assert np.mean(same) >= 9.8
    assert all("_vector_idx" in plan for plan in plans)


def watched(index: PgVectorIndex) -> list[str]:
    """The plans of the searches from here on."""
    plans: list[str] = []
    read = index._pool.read

    def reading(work):
        def explained(connection):
            class Explaining:
                def execute(self, statement, given=None):
                    if "ORDER BY (f.vector" in statement:
                        plans.append("\n".join(row[0] for row in connection.execute(f"EXPLAIN {statement}", given)))
                    return connection.execute(statement, given)

            return work(Explaining())

        return read(explained)

    index._pool.read = reading
    return plans


def test_where_the_graph_gives_up_the_rest_is_found_exactly(url, monkeypatch):
    monkeypatch.setattr(module, "EXACT_BELOW", 100)
    index, vectors = filled(url, 1500)
    run(url, f"ANALYZE {table(url)}, {table(url, '_f0')}")
    prepare = index._pool._prepare

    def short_of_breath(connection):
        prepare(connection)
        connection.execute("SET hnsw.max_scan_tuples = 1; SET hnsw.ef_search = 1")

    monkeypatch.setattr(index._pool, "_prepare", short_of_breath)
    index._pool._forget()
    far = np.argsort(vectors @ vectors[0])[:7].tolist()
    plans = watched(index)
    where = {"$or": [{"n": {"min": n, "max": n}} for n in far]}
    assert {hit.id for hit in index.search(vectors[:1], 7, where=where)[0]} == {f"r{n}" for n in far}
    assert len(index.search(vectors[:1], 1499)[0]) == 1499
    assert "_vector_idx" in plans[0]
    assert "_vector_idx" not in plans[1]


def test_fields_that_are_too_wide_for_a_graph_are_searched_exactly(url, monkeypatch):
    monkeypatch.setattr(module, "EXACT_BELOW", 0)
    index, vectors = filled(url, 20, dim=2001)
    assert index.search(vectors[3:4], 1)[0][0].id == "r3"
    assert index.stats()["fields"]["vector"]["search"] == "exact"
    assert index.verify() == []


def test_bm25_is_that_of_sqlite(url):
    random = np.random.default_rng(1)
    words = np.array(["alpha", "beta", "gamma", "delta", "épsilon", "zeta", "eta", "theta"])
    shares = np.array([8, 7, 6, 3, 2, 1, 1, 1]) / 29
    texts = [" ".join(random.choice(words, size=random.integers(1, 15), p=shares)) for _ in range(60)]
    index = PgVectorIndex.create(url, [FIELD])
    index.add(["gone"], {}, contents=[{"text": "alpha " * 100}])
    index.add([str(number) for number in range(60)], {}, contents=[{"text": text} for text in texts])
    index.delete(["gone"])
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE texts USING fts5(text)")
    database.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", enumerate(texts))
    query = "SELECT rowid, -bm25(texts) FROM texts WHERE texts MATCH ?"
    for asked in (["alpha"], ["theta"], ["epsilon", "beta"], ["alpha", "gamma", "zeta", "nowhere"]):
        expected = {str(row): score for row, score in database.execute(query, [" OR ".join(asked)])}
        hits = index.search_text([" ".join(asked)], 100)[0]
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, rel=1e-5, abs=1e-9)
    index.close()


def test_texts_with_what_postgresql_does_not_store_are_kept_and_compared(url):
    index = PgVectorIndex.create(url, [FIELD])
    odd = ["a\x00b", "a\x01b", "a", "\ud800x", "\udfff", "\ue000", "\ud7ff", "\x01\x02", "\ue000\u2000"]
    index.add(
        odd, np.ones((len(odd), 2)), [{"v": text, text: [text]} for text in odd], contents=[{"text": t} for t in odd]
    )
    assert index.ids() == odd
    for text in odd:
        item = index.get([text])[0]
        assert item is not None
        assert (item.metadata, item.content) == ({"v": text, text: [text]}, {"text": text})
        assert {h.id for h in index.search([[1, 1]], 99, where={"v": {"min": text}})[0]} == {
            o for o in odd if o >= text
        }
        assert [h.id for h in index.search([[1, 1]], 99, where={text: [text]})[0]] == [text]
    assert index.search([[1, 1]], 99, where={"v": {"in": [math.nan, math.inf]}}) == [[]]
    assert index.search([[1, 1]], 99, where={"v": {"min": -math.inf}}) == [[]]
    assert index.verify() == []
    index.close()


def test_totals_are_folded_without_a_change(url, monkeypatch):
    monkeypatch.setattr(pgvector_rows, "_FOLD_SHARE", 1.0)
    index, vectors = filled(url)
    index.add(["r1", "new"], vectors[:2], contents=[{"text": "three words here"}, {}])
    index.delete(["r2"])
    assert len(index) == 20
    assert run(url, f"SELECT * FROM {table(url, '_totals')}") == [(20, 1, 3)]
    index.close()


# Crashes and company


def test_a_server_that_was_killed_and_started_again_is_found_again(url, server):
    if not server.owned:
        pytest.skip("the server of TRIPTYCH_TEST_POSTGRES is not ours to kill")
    index, vectors = filled(url)
    assert index.search(vectors[3:4], 1)[0][0].id == "r3"
    server.kill()
    try:
        with pytest.raises(MissingError, match="cannot be reached"):
            index.add(["down"], vectors[:1])
    finally:
        server.start()
    assert index.search(vectors[3:4], 1)[0][0].id == "r3"
    index.add(["up"], vectors[:1])
    assert index.ids()[-1] == "up"
    assert index.verify() == []
    index.close()


def test_a_connection_that_the_server_closed_is_replaced(url):
    index, vectors = filled(url)
    end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'triptych'"
    assert run(url, end)[0][0] >= 1
    assert index.delete(["r3"]) == 1
    run(url, end)
    index.add(["r4"], vectors[:1])
    run(url, end)
    assert len(index) == 19
    index.close()


WRITER = """
import itertools, sys
from triptych.retrieval.pgvector import PgVectorIndex
index = PgVectorIndex.open(sys.argv[1])
for number in itertools.count():
    keys = [f"{sys.argv[2]}-{number}-{n}" for n in range(3)]
    index.add(keys, [[1.0, n] for n in range(3)], [{"n": n} for n in range(3)], contents=[{"text": "some words"}] * 3)
    print("added", *keys, flush=True)
    index.delete(keys[:1])
    print("deleted", keys[0], flush=True)
"""


def test_no_acknowledged_write_is_lost_when_the_writer_is_killed(url):
    PgVectorIndex.create(url, [FIELD]).close()
    there: set[str] = set()
    gone: set[str] = set()
    for kill in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(kill)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(5 + 7 * kill)]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        for line in lines:
            word, *keys = line.split()
            if word == "added" and len(keys) == 3:
                there.update(keys)
            elif word == "deleted" and line.endswith("\n"):
                there.difference_update(keys)
                gone.update(keys)
    with PgVectorIndex.open(url) as index:
        assert index.verify() == []
        kept = set(index.ids())
        assert len(there) > 20
        assert there - kept <= {max(there - kept, default="")}  # its deletion may have been done and not yet told
        assert not gone & kept
        assert len(index) == len(kept)


def test_writers_of_the_same_ids_do_not_lose_or_double_any(url):
    first, vectors = filled(url, 30)
    others = [PgVectorIndex.open(url) for _ in range(3)]
    failures: list[BaseException] = []

    def write(index: PgVectorIndex, seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            for _ in range(15):
                rows = random.permutation(30)[:10].tolist()
                texts = [{"text": f"by {seed}"}] * len(rows)
                index.add([f"r{n}" for n in rows], vectors[rows], [{"n": n, "by": seed} for n in rows], contents=texts)
                index.delete([f"r{n}" for n in random.permutation(30)[:3]])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(index, seed)) for seed, index in enumerate([first, *others])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert first.verify() == []
    assert len(first) == len(set(first.ids())) <= 30
    for index in (first, *others):
        index.close()


def test_a_fork_has_connections_of_its_own(url):
    index, vectors = filled(url)
    index._pool._process -= 1  # as a child finds it
    assert index.search(vectors[3:4], 1)[0][0].id == "r3"
    assert len(index._pool._idle) == 1
    index.close()


# What is refused, and how


def test_an_index_is_made_once(url):
    PgVectorIndex.create(url, [FIELD]).close()
    with pytest.raises(DataError, match=r"#index\d+ exists already"):
        PgVectorIndex.create(url, [FIELD])


def test_an_index_that_is_not_there_is_not_opened(url):
    with pytest.raises(DataError, match="does not exist; create it first"):
        PgVectorIndex.open(url)
    with PgVectorIndex.create(url, [FIELD]) as index:
        for name in index._tables.all:
            run(url, f"DROP TABLE {name}")
        with pytest.raises(DataError, match="is no longer there"):
            len(index)


@pytest.mark.parametrize(
    ("settings", "message"), [('{"format": 2}', "format 2"), ('{"words": 3}', "no index that this")]
)
def test_an_index_of_another_version_is_refused(url, settings, message):
    PgVectorIndex.create(url, [FIELD]).close()
    run(url, f"UPDATE {table(url, '_settings')} SET settings = settings || %s::jsonb", settings)
    with pytest.raises(DataError, match=message):
        PgVectorIndex.open(url)


def test_fields_and_words_that_cannot_be_are_refused(url):
    with pytest.raises(ConfigError, match="'porter' is unknown"):
        PgVectorIndex.create(url, [FIELD], words="porter")
    with pytest.raises(ConfigError, match="different names"):
        PgVectorIndex.create(url, [FIELD, FIELD])
    with pytest.raises(ConfigError, match="vector fields"):
        PgVectorIndex.create(url, [])
    with pytest.raises(DataError, match="cannot exceed 16000"):
        PgVectorIndex.create(url, [FIELD, VectorField(name="wide", dim=16_001)])
    PgVectorIndex.create(url, [FIELD]).close()  # nothing was left behind


@pytest.mark.parametrize("name", ["1a", "a b", 'a"; DROP TABLE items; --', "a%22", "a" * 41, "ä"])
def test_a_name_is_letters_digits_and_underscores(server, name):
    for act in (PgVectorIndex.open, lambda url: PgVectorIndex.create(url, [FIELD])):
        with pytest.raises(DataError, match="the name of an index"):
            act(f"{server.url}#{name}")


def test_no_value_is_ever_sql(url):
    evil = "'; DROP TABLE items; -- \" $1 %s %(k)s {items} \\"
    index, _ = filled(url, dim=2)
    fields = [VectorField(name="a", dim=2, encoder=evil, source=evil)]
    with PgVectorIndex.create(url + "x", fields) as other:
        assert PgVectorIndex.open(url + "x").fields["a"].encoder == evil
        other.add([evil], [[1, 2]], [{evil: evil}], contents=[{"text": evil, evil: evil}], encoder=evil)
        assert other.search([[1, 2]], 1, where={evil: {"min": evil, "max": evil}}, encoder=evil)[0][0].id == evil
        assert other.search_text([evil], 1, where={evil: {"in": [evil, [evil], {evil: evil}]}})[0][0].id == evil
        assert (other.delete([evil]), other.verify()) == (1, [])
    assert len(index) == 20
    index.close()


def test_an_id_that_no_database_index_holds_is_refused(url):
    with PgVectorIndex.create(url, [FIELD]) as index:
        with pytest.raises(DataError, match="more than 2000 bytes"):
            index.add(["ok", "é" * 1001], [[1, 2], [1, 2]])
        index.add(["é" * 1000], [[1, 2]], [{"long": "x" * 100_000}], contents=[{"text": "y" * 100_000}])
        assert index.search_text(["y" * 100_000], 1)[0][0].id == "é" * 1000
        assert index.search([[1, 2]], 1, where={"long": "x" * 100_000})[0][0].id == "é" * 1000


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:s3cr3t@127.0.0.1:9/db#items",
        "postgresql://user:s3cr3t%ZZ@127.0.0.1:9/db#items",
        "postgresql://user:s3cr3t#more@127.0.0.1:9/db",
        "postgresql://user@127.0.0.1:9/db?password=s3cr3t",
        "postgresql://user:s3cr3t@127.0.0.1:9/db?no_such_option=s3cr3t",
        "postgresql://user:s3cr3t@[::1/db",
        "host=127.0.0.1 port=9 password=s3cr3t",
    ],
)
def test_a_password_is_in_no_message(address):
    with pytest.raises((MissingError, DataError)) as caught:
        PgVectorIndex.open(address)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cr3t" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_password_is_not_in_what_an_index_says_of_itself(url):
    with PgVectorIndex.create(url.replace("postgres@", "postgres:s3cr3t@"), [FIELD]) as index:
        assert "s3cr3t" not in f"{index!r} {index.stats()} {index.location}"


def test_a_server_that_is_down_is_missing():
    with pytest.raises(MissingError, match=r"postgresql://user@127.0.0.1:9/db#items cannot be reached.*running"):
        PgVectorIndex.open("postgresql://user@127.0.0.1:9/db")


@pytest.mark.parametrize("package", ["psycopg", "pgvector.psycopg"])
def test_packages_that_are_absent_are_named_with_their_extra(package, monkeypatch):
    monkeypatch.delitem(sys.modules, "triptych.retrieval.pgvector_pool", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingError, match=r"pip install 'triptych\[postgres\]'"):
        PgVectorIndex.open("postgresql://user@127.0.0.1:9/db")


def test_without_the_extension_or_the_right_to_make_it_the_way_is_told(server):
    if not server.owned:
        pytest.skip("the server of TRIPTYCH_TEST_POSTGRES is not ours to make databases on")
    run(server.url, "CREATE ROLE nobody LOGIN")
    run(server.url, "CREATE DATABASE bare OWNER nobody")
    bare = server.url.replace("postgres@/postgres", "nobody@/bare")
    for act in (PgVectorIndex.open, lambda url: PgVectorIndex.create(url, [FIELD])):
        with pytest.raises(MissingError, match="CREATE EXTENSION vector"):
            act(bare)
    run(bare.replace("nobody@", "postgres@"), "CREATE EXTENSION vector VERSION '0.8.5'")
    PgVectorIndex.create(bare, [FIELD]).close()
    reader = server.url.replace("postgres@/postgres", "reader@/bare")
    run(server.url, "CREATE ROLE reader LOGIN")
    with pytest.raises(MissingError, match="permission denied"):
        PgVectorIndex.open(reader)


# Damage

DAMAGE = {
    "an item without its vector": ('DELETE FROM "{0}_f0" WHERE key = 3', "neither a vector nor a text"),
    "a vector without its item": ('DELETE FROM "{0}" WHERE key = 3', "'vector' has no item"),
    "another length": ("UPDATE \"{0}_f0\" SET vector = '[3,4,0,0,0,0,0,0]' WHERE key = 3", "not normalised"),
    "other facets": ("UPDATE \"{0}\" SET facets = '{{}}' WHERE key = 3", "'r2' is filtered by other metadata"),
    "other words": ('UPDATE "{0}" SET words = 2 WHERE key = 3', "the words of a text"),
    "a word without its item": ("INSERT INTO \"{0}_words\" VALUES ('x', 99, 1)", "a word has no item"),
    "other totals": ('INSERT INTO "{0}_totals" VALUES (1, 0, 0)', "the totals are"),
    "a broken graph": (
        "UPDATE pg_index SET indisvalid = false WHERE indrelid = '\"{0}_f0\"'::regclass AND NOT indisprimary",
        "is not valid",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_verify_finds(name, url):
    index, _ = filled(url)
    assert index.verify() == []
    statement, message = DAMAGE[name]
    run(url, statement.format(url.partition("#")[2]))
    assert any(message in problem for problem in index.verify())
    index.close()


def test_compaction_takes_the_deleted_out_of_the_tables(url):
    index, _ = filled(url, 600, dim=128)
    before = index.stats()["disk_bytes"]
    index.delete([f"r{n}" for n in range(570)])
    index.compact()
    assert index.stats()["disk_bytes"] < before / 4
    assert index.verify() == []
    index.close()


def test_stored_texts_come_back():
    texts = ["", "a", "\x00", "\x01", "\x00\x01\x02", "\ue000", "\ud800\udfff", "\U0001f388"]
    assert [pgvector_sql.restored(pgvector_sql.storable(text)) for text in texts] == texts
