"""From one encoder to another: every item's content is encoded again beside the old vectors, then they are swapped."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

from triptych.errors import DataError
from triptych.retrieval import log as truth
from triptych.retrieval import snapshots
from triptych.retrieval.base import VectorField
from triptych.retrieval.checks import check_field_vectors
from triptych.retrieval.log import Mark
from triptych.retrieval.replay import build_state, catch_up
from triptych.retrieval.state import State, check_kind

if TYPE_CHECKING:
    from triptych.retrieval.collection import Collection

Encode: TypeAlias = Callable[..., Mapping[str, Sequence[Any]]]
"""`encode(contents)`, or `encode(contents, ids=...)` where it has such a parameter."""
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
    if not collection.upkeep.migrating.acquire(blocking=False):
        raise DataError("is being migrated already; wait for that to end", file=collection.path)
    try:
        work = _Migration(collection, fields, encode, batch_size)
        work.begin()
        while work.step():
            if progress is not None:
                progress(*work.progress())
        work.finish()
    finally:
        collection.upkeep.migrating.release()
    if progress is not None:
        progress(len(collection), len(collection))


class _Migration:
    def __init__(self, collection: Collection, fields: Sequence[VectorField], encode: Encode, batch_size: int) -> None:
        self._own = collection
        self._fields = {field.name: field for field in fields}
        if len(self._fields) != len(fields):
            raise DataError(f"vector fields need different names, got {', '.join(field.name for field in fields)}")
        check_kind(collection.settings.kind, fields)
        if batch_size < 1:
            raise DataError(f"batch_size is {batch_size}; encode at least one item at a time")
        self._encode = encode
        self._takes_ids = "ids" in inspect.signature(encode).parameters
        self._batch_size = batch_size
        self._numbers: dict[str, int] = {}

    def begin(self) -> None:
        """Go on where an interrupted migration to the same fields stopped, or begin anew."""
        with self._own._change(), self._own._log.writing() as connection:
            mute = connection.execute("SELECT id FROM items WHERE content = '{}' LIMIT 6")
            self._refuse([name for (name,) in mute])
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
        with own.upkeep.rebuilding():
            state, mark = self._build()
            with own._change():
                while self.step():
                    pass
                mark = catch_up(state, own._log.writer, mark, fields="coming")
                pointer = own.upkeep.snapshot_of(state, mark)  # first, so that readers find it with the new fields
                with own._log.writing() as connection:
                    for row in truth.field_rows(connection, "live"):
                        _drop(connection, row.number)
                    connection.execute("UPDATE fields SET state = 'live'")
                    connection.execute("DELETE FROM meta WHERE name IN ('snapshot', ?)", (_REACHED,))
                    if pointer is not None:
                        truth.write_meta(connection, "snapshot", pointer.model_dump_json())
                    own._behind = True
                own._load_fields(own._log.writer)
                own._swap(state, mark, pointer)
                own._behind = False
                own.upkeep.forget()
                if pointer is not None:
                    snapshots.clear_snapshots(own.path, keep=pointer.name)

    def _build(self) -> tuple[State, Mark]:
        """A state with the new fields, at a moment when every item had been encoded."""
        own = self._own
        with ExitStack() as stack:
            with own._change():  # nothing comes between the last step and the look at the log
                while self.step():
                    pass
                connection = stack.enter_context(own._log.frozen())
            return build_state(connection, own._plans(self._fields), fields="coming")

    def _next(self, connection: Any) -> list[tuple[int, str, dict[str, Any]]]:
        reached = int(truth.read_meta(connection, _REACHED, "0"))
        rows = connection.execute(
            "SELECT key, id, content FROM items WHERE key > ? ORDER BY key LIMIT ?", (reached, self._batch_size)
        )
        found = [(key, name, json.loads(content)) for key, name, content in rows]
        self._refuse([name for _, name, content in found if not content])
        return found

    def _refuse(self, mute: Sequence[str]) -> None:
        if mute:
            raise DataError(
                f"items without content cannot be encoded again: {', '.join(map(repr, mute[:5]))}"
                f"{' ...' if len(mute) > 5 else ''}; add them again with what was encoded, or delete them",
                file=self._own.path,
            )

    def _encoded(self, rows: Sequence[tuple[int, str, dict[str, Any]]]) -> dict[str, Any]:
        ids = [name for _, name, _ in rows]
        contents = [content for _, _, content in rows]
        given = self._encode(contents, ids=ids) if self._takes_ids else self._encode(contents)
        if set(given) != set(self._fields):
            raise DataError(
                f"the encoder gave vectors for {', '.join(sorted(given)) or 'no field'}, where those for "
                f"{', '.join(sorted(self._fields))} were asked for; give None for each item that has none"
            )
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
