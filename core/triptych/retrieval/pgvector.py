"""The index in PostgreSQL: vectors by pgvector, for many machines that write and search at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from triptych.errors import ConfigError, DataError, MissingError
from triptych.retrieval import pgvector_rows as rows
from triptych.retrieval import pgvector_sql as sql
from triptych.retrieval.base import Hit, Item, Metadata, Metric, VectorField, Vectors, Where
from triptych.retrieval.checks import (
    check_batch,
    check_encoder,
    check_k,
    check_texts,
    check_vectors,
    pick_field,
)
from triptych.retrieval.filters import parse

if TYPE_CHECKING:
    from triptych.retrieval.pgvector_pool import Connection, Pool

EXACT_BELOW = 10_000
"""Items below which every vector is looked at: quicker than the graph would be, and exact."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")  # PostgreSQL cuts names off after 63 bytes, endings included
_ID_BYTES = 2000  # a B-tree refuses rows above 2,700
_BEAM = (200, 1000)  # candidates of HNSW: at least, and at most as pgvector allows


class PgVectorIndex:
    """An index in a database of PostgreSQL with pgvector 0.8 or later; see `Index` for what its methods promise.

    The URL is PostgreSQL's own, and its fragment is the name of the index: `postgresql://user@host/db#articles`. A
    password is better kept in ~/.pgpass or PGPASSWORD, and is never shown.

    Below `EXACT_BELOW` items search is exact; from there on it is by an HNSW graph for each field that scans on until
    k neighbours met the filter, and by an exact scan where the graph gave up before. Fields of more than 2,000 numbers
    have no graph and are always searched exactly. Writers on other ids do not wait for each other.

    Errors: `MissingError` where psycopg, the server, its extension or a right is missing.
    """

    def __init__(self, pool: Pool, name: str, settings: sql.Settings, *, read_only: bool = False) -> None:
        self._pool = pool
        self.read_only = read_only
        self._settings = settings
        self._fields = {field.name: field for field in settings.fields}
        self._tables = sql.Tables(name, self._fields)

    @classmethod
    def create(cls, url: str, fields: Sequence[VectorField], *, words: str = "unicode") -> Self:
        """A new, empty index. Raises `DataError` where one of that name exists, `ConfigError` for other settings."""
        if words != "unicode":
            raise ConfigError(f"words {words!r} is unknown to an index in PostgreSQL; use 'unicode'")
        names = [field.name for field in fields]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"an index needs vector fields of different names, not {names}")
        pool, name = _open(url)
        made = cls(pool, name, sql.Settings(words=words, fields=list(fields)))
        tables = made._tables

        def create(connection: Connection) -> None:
            for statement in tables.create(made._fields):
                connection.execute(statement)
            connection.execute(tables.fill("INSERT INTO {settings} VALUES (%s)"), [made._settings.model_dump_json()])

        with _kept_on_success(pool):
            pool.write(create)
        return made

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> Self:
        """The index that `create` made; `read_only` refuses to write to it.

        Raises `DataError` where there is none of that name, or of another version.
        """
        pool, name = _open(url)
        table = f'"{name}_settings"'

        def read(connection: Connection) -> Any:
            if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() == (None,):
                raise DataError(f"{pool.location} does not exist; create it first")
            return connection.execute(f"SELECT settings FROM {table}").fetchone()

        with _kept_on_success(pool):
            row = pool.read(read)
            try:
                settings = sql.Settings.model_validate(row[0] if row else {})
            except ValidationError as error:
                raise DataError(f"{pool.location} is no index that this version reads: {error}") from error
            if settings.format != sql.FORMAT:
                raise DataError(f"{pool.location} has format {settings.format}; upgrade triptych, or create it again")
        return cls(pool, name, settings, read_only=read_only)

    @property
    def location(self) -> str:
        """The URL without its password."""
        return self._pool.location

    @property
    def fields(self) -> Mapping[str, VectorField]:
        """The vector fields by name, in the order in which they were declared."""
        return MappingProxyType(self._fields)

    @property
    def _writing(self) -> Pool:
        if self.read_only:
            raise DataError(f"{self.location} was opened for reading only; open it for writing")
        return self._pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"PgVectorIndex({self.location!r})"

    def __len__(self) -> int:
        return self._pool.read(lambda connection: rows.totals(connection, self._tables).items)

    def __contains__(self, key: object) -> bool:
        statement = self._tables.fill("SELECT 1 FROM {items} WHERE id = %s")
        if not isinstance(key, str):
            return False
        return self._pool.read(lambda c: c.execute(statement, [sql.storable(key)]).fetchone()) is not None

    def ids(self) -> list[str]:
        """All ids, in the order in which they were added or last replaced."""
        statement = self._tables.fill("SELECT id FROM {items} ORDER BY key")
        found = self._pool.read(lambda c: c.execute(statement).fetchall())
        return [sql.restored(row[0]) for row in found]

    def get(self, ids: Sequence[str]) -> list[Item | None]:
        """Items by id, None for unknown ones; vectors as they were given (under cosine: normalised)."""
        wanted = [sql.storable(key) for key in ids if isinstance(key, str)]
        statement = self._tables.fill("SELECT key, id, metadata, content FROM {items} WHERE id = ANY(%s)")

        def read(connection: Connection) -> dict[str, Item]:
            selected = connection.execute(statement, [wanted]).fetchall()
            found = {key: Item(sql.restored(id_), {}, metadata, content) for key, id_, metadata, content in selected}
            for name, table in self._tables.fields.items():
                select = f"SELECT key, vector FROM {table} WHERE key = ANY(%s)"
                for key, vector in connection.execute(select, [list(found)], binary=True).fetchall():
                    found[key].vectors[name] = vector.to_numpy().astype(np.float32)
            return {item.id: item for item in found.values()}

        items = self._pool.read(read)
        return [items.get(key) for key in ids]

    def add(
        self,
        ids: Sequence[str],
        vectors: Vectors | Mapping[str, Vectors],
        metadata: Sequence[Metadata] | None = None,
        *,
        contents: Sequence[Mapping[str, Any]] | None = None,
        encoder: str | Mapping[str, str] | None = None,
    ) -> None:
        """Add items, replacing whole those whose id is there; see `Index.add`. Ids have at most 2,000 bytes."""
        batch = check_batch(self._fields, ids, vectors, metadata, contents, encoder)
        stored = [sql.storable(key) for key in batch.ids]
        for key, text in zip(batch.ids, stored, strict=True):
            if len(text.encode()) > _ID_BYTES:
                raise DataError(f"id {key[:60]!r}... has more than {_ID_BYTES} bytes; shorten it")
        if stored:
            self._writing.write(lambda connection: rows.insert(connection, self._tables, batch, stored))

    def delete(self, ids: Iterable[str]) -> int:
        """Delete by id and say how many were there; unknown ids are passed over."""
        stored = list({sql.storable(key) for key in ids if isinstance(key, str)})

        if not stored:
            return 0
        return self._writing.write(lambda connection: rows.delete(connection, self._tables, stored))

    def search(
        self,
        queries: ArrayLike,
        k: int,
        *,
        field: str | None = None,
        where: Where | None = None,
        encoder: str | None = None,
    ) -> list[list[Hit]]:
        """The `k` nearest to each query float [queries, dim], best first; see `Index.search`."""
        check_k(k)
        chosen = pick_field(self._fields, field)
        check_encoder(chosen, encoder)
        checked = check_vectors(queries, dim=chosen.dim, metric=chosen.metric, what="query")
        parameters: sql.Parameters = {}
        names = {
            "field": self._tables.fields[chosen.name],
            "operator": sql.OPERATORS[chosen.metric],
            "where": sql.condition(parse(where or {}), parameters),
        }
        quick = self._tables.fill(sql.NEAREST, **names, exactly="")
        exact = self._tables.fill(sql.NEAREST, **names, exactly=" + 0")

        def read(connection: Connection) -> list[list[Any]]:
            items = rows.totals(connection, self._tables).items
            parameters["k"] = min(k, items)
            by_graph = items >= EXACT_BELOW and chosen.dim <= sql.INDEXED_DIM
            if by_graph:
                beam = min(max(_BEAM[0], 2 * k), _BEAM[1])
                connection.execute("SELECT set_config('hnsw.ef_search', %s, true)", [str(beam)])
            found = []
            for query in checked if items else ():
                given = parameters | {"query": query}
                near = connection.execute(quick, given).fetchall() if by_graph else []
                if len(near) < parameters["k"]:  # the graph gives up after some tens of thousands of vectors
                    near = connection.execute(exact, given).fetchall()
                found.append(near)
            return found

        found = self._pool.read(read) if len(checked) else []
        score = _SCORES[chosen.metric]
        hits = [[Hit(sql.restored(key), score(distance), row) for key, distance, row in near] for near in found]
        return hits or [[] for _ in checked]

    def search_text(self, texts: Sequence[str], k: int, *, where: Where | None = None) -> list[list[Hit]]:
        """The `k` best of each text by BM25 over the words of the items' "text"; only items with a word in common."""
        check_k(k)
        wanted = [list(sql.words_of(text)) for text in check_texts(texts)]
        parameters: sql.Parameters = {"k": min(k, 2**62)}
        where_sql = sql.condition(parse(where or {}), parameters)
        statement = self._tables.fill(sql.BEST_TEXTS, where=where_sql)

        def read(connection: Connection) -> list[list[Any]]:
            return [
                connection.execute(statement, parameters | {"words": words}).fetchall() if words else []
                for words in wanted
            ]

        found = self._pool.read(read) if any(wanted) else [[] for _ in wanted]
        return [[Hit(sql.restored(key), score, row) for key, score, row in best] for best in found]

    def stats(self) -> dict[str, Any]:
        """What is kept and how it is searched, as JSON; "disk_bytes" counts tables and their indexes."""

        def read(connection: Connection) -> dict[str, Any]:
            items, texts, _ = rows.totals(connection, self._tables)

            def one(statement: str, *given: Any) -> Any:
                row = connection.execute(statement, given).fetchone()
                return row[0] if row else None

            fields = {}
            for name, field in self._fields.items():
                graph = items >= EXACT_BELOW and field.dim <= sql.INDEXED_DIM
                count = one(f"SELECT count(*) FROM {self._tables.fields[name]}")
                fields[name] = field.model_dump() | {"vectors": count, "search": "hnsw" if graph else "exact"}
            return {
                "backend": "postgresql",
                "location": self.location,
                "items": items,
                "texts": texts,
                "words": self._settings.words,
                "fields": fields,
                "disk_bytes": sum(one("SELECT pg_total_relation_size(%s)", table) for table in self._tables.all),
                "server": one("SHOW server_version"),
                "pgvector": one("SELECT extversion FROM pg_extension WHERE extname = 'vector'"),
                "fsync": one("SHOW fsync"),
            }

        return self._pool.read(read)

    def verify(self) -> list[str]:
        """Every problem found in what is stored; empty where all is well. Reads all of it."""
        return self._pool.read(lambda connection: rows.problems(connection, self._tables, self._fields))

    def compact(self) -> None:
        """Write tables and graphs anew without what was deleted; searches and writes wait meanwhile.

        The server's write-ahead log and your backups keep deleted items until the server recycles them.
        """

        def compact(connection: Connection) -> None:
            connection.execute(self._tables.fill(sql.FOLD_TOTALS))
            for table in self._tables.all:
                connection.execute(f"VACUUM (FULL, ANALYZE) {table}")  # makes its indexes anew as well

        self._writing.run(compact)

    def close(self) -> None:
        """Close the connections; a second time does nothing."""
        self._pool.close()


@contextmanager
def _kept_on_success(pool: Pool) -> Iterator[None]:
    try:
        yield
    except BaseException:
        pool.close()
        raise


def _open(url: str) -> tuple[Pool, str]:
    """The connections and the name of the index. Raises `MissingError` without the packages, `DataError` for a URL."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise DataError("an index in PostgreSQL has a URL: postgresql://user@host/database#name")
    address, _, name = url.partition("#")
    name = name or "items"
    if not _NAME.fullmatch(name):
        # what is no name is not shown: it may be the rest of a password that holds a #
        raise DataError(
            "the name of an index in PostgreSQL, behind the # of its URL, has up to 40 letters, digits and _, no digit "
            "first; in a password write # as %23"
        )
    try:
        from triptych.retrieval.pgvector_pool import Pool
    except ImportError as error:
        raise MissingError(f"an index in PostgreSQL needs {error.name}: pip install 'triptych[postgres]'") from error
    return Pool(address, name), name


_SCORES: dict[Metric, Callable[[float], float]] = {
    "cosine": lambda distance: min(max(0.0 - distance, -1.0), 1.0),  # rounding goes beyond by 1e-7
    "dot": lambda distance: 0.0 - distance,
    "l2": lambda distance: 0.0 - distance,  # not -0.0
}
