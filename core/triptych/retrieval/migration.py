"""From one encoder to another: every item's content is encoded again beside the old vectors, then they are swapped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from triptych.errors import DataError
from triptych.retrieval import log as truth
from triptych.retrieval.base import VectorField
from triptych.retrieval.checks import check_field_vectors
from triptych.retrieval.replay import build_state, catch_up

if TYPE_CHECKING:
    from triptych.retrieval.collection import Collection

Encode: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Sequence[Any]]]
Progress: TypeAlias = Callable[[int, int], None]
_REACHED = "migrated"  # the entry of `meta` with the last key that was encoded again


def migrate(
    collection: Collection,
    fields: Sequence[VectorField],
    encode: Encode,
    *,
    batch_size: int,
    progress: Progress | None,
) -> None:
    """See `Collection.migrate`. Raises `DataError` for items without content, which nothing can encode again."""
    work = _Migration(collection, fields, encode, batch_size)
    work.begin()
    while work.step():
        if progress is not None:
            progress(*work.progress())
    work.finish()
    if progress is not None:
        progress(len(collection), len(collection))


class _Migration:
    def __init__(self, collection: Collection, fields: Sequence[VectorField], encode: Encode, batch_size: int) -> None:
        self._own = collection
        self._fields = {field.name: field for field in fields}
        self._encode = encode
        self._batch_size = batch_size
        self._numbers: dict[str, int] = {}

    def begin(self) -> None:
        """Go on where an interrupted migration to the same fields stopped, or begin anew."""
        with self._own._change(), self._own._log.writing() as connection:
            coming = truth.field_rows(connection, "coming")
            if {row.field for row in coming} != set(self._fields.values()):
                for row in coming:
                    _drop(connection, row.number)
                for field in self._fields.values():
                    truth.add_coming_field(connection, field)
                truth.write_meta(connection, _REACHED, "0")
            self._numbers = {row.field.name: row.number for row in truth.field_rows(connection, "coming")}

    def step(self) -> bool:
        """Encode some items; says whether there were any."""
        with self._own._reading() as connection:
            rows = self._next(connection)
        if not rows:
            return False
        self._write(rows, self._encoded(rows))
        return True

    def progress(self) -> tuple[int, int]:
        """How many items are done, of how many."""
        with self._own._reading() as connection:
            reached = int(truth.read_meta(connection, _REACHED, "0"))
            (done,) = connection.execute("SELECT count(*) FROM items WHERE key <= ?", (reached,)).fetchone()
        return done, len(self._own)

    def finish(self) -> None:
        """Build the searches of the new fields, encode what came meanwhile, and swap."""
        own = self._own
        plans = own._plans(self._fields)
        with own._log.frozen() as connection:
            state, mark = build_state(connection, plans, fields="coming")
        with own._change():
            while self.step():
                pass
            mark = catch_up(state, own._log.writer, mark)
            with own._log.writing() as connection:
                for row in truth.field_rows(connection, "live"):
                    _drop(connection, row.number)
                connection.execute("UPDATE fields SET state = 'live'")
                connection.execute("DELETE FROM meta WHERE name IN ('snapshot', ?)", (_REACHED,))
            own._load_fields()
            own._swap(state, mark, None)
            own.upkeep.forget()
            own.upkeep.write_snapshot()

    def _next(self, connection: Any) -> list[tuple[int, str, dict[str, Any]]]:
        reached = int(truth.read_meta(connection, _REACHED, "0"))
        rows = connection.execute(
            "SELECT key, id, content FROM items WHERE key > ? ORDER BY key LIMIT ?", (reached, self._batch_size)
        )
        found = [(key, name, json.loads(content)) for key, name, content in rows]
        mute = [name for _, name, content in found if not content]
        if mute:
            raise DataError(
                f"items without content cannot be encoded again: {', '.join(map(repr, mute[:5]))}"
                f"{' ...' if len(mute) > 5 else ''}; add them again with what was encoded, or delete them",
                file=self._own.path,
            )
        return found

    def _encoded(self, rows: Sequence[tuple[int, str, dict[str, Any]]]) -> dict[str, Any]:
        ids = [name for _, name, _ in rows]
        given = self._encode([content for _, _, content in rows])
        unknown = set(given) - set(self._fields)
        if unknown:
            raise DataError(f"the encoder gave vectors for {', '.join(sorted(unknown))}, which are no fields asked for")
        return {name: check_field_vectors(given[name], self._fields[name], ids) for name in given}

    def _write(self, rows: Sequence[tuple[int, str, dict[str, Any]]], vectors: Mapping[str, Any]) -> None:
        keys = [key for key, _, _ in rows]
        with self._own._change(), self._own._log.writing() as connection:
            question = "SELECT key FROM items WHERE key BETWEEN ? AND ?"
            there = {key for (key,) in connection.execute(question, (keys[0], keys[-1]))}  # some may be gone by now
            for name, present in vectors.items():
                kept = [number for number, row in enumerate(present.rows.tolist()) if keys[row] in there]
                owners = [keys[present.rows[number]] for number in kept]
                truth.write_vectors(connection, self._numbers[name], owners, present.vectors[kept])
            truth.write_meta(connection, _REACHED, str(keys[-1]))


def _drop(connection: Any, number: int) -> None:
    connection.execute(f"DROP TABLE vectors_{number}")
    connection.execute("DELETE FROM fields WHERE number = ?", (number,))
