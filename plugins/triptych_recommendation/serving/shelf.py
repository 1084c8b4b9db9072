"""The catalogue in memory: columns that rules and filters are computed from in one step for all items."""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.retrieval.columns import Columns
from triptych.retrieval.filters import Both, Either, Filter, OneOf, Without, key_of, parse
from triptych.retrieval.growing import Growing
from triptych_recommendation.data.items import Item

Mask = NDArray[np.bool_]
_CACHED = 64  # filters whose rows are remembered
_HINTED = 5_000  # ids that a mistyped one is compared with
_UNCOUNTED = -1  # the stock of an item whose stock is not counted


class Shelf:
    """Items by row. The first rows are those of the bundle; a row never goes to another item.

    A filter (`triptych.retrieval.filters`) sees an item's metadata and, before those, its id, category, price, stock
    and tags; a condition on tags is met by an item that has one of the values.

    Any number of threads may read; one that puts or removes must be alone.
    """

    def __init__(self, items: Sequence[Item] = ()) -> None:
        self.items: list[Item] = []  # by row, also removed ones
        self.rows: dict[str, int] = {}
        self.version = 0  # another one after each change
        self._alive = Growing(np.bool_)
        self._price = Growing(np.float32)  # NaN: none
        self._stock = Growing(np.int64)
        self._place = Growing(np.int64)  # of an item's fields in `_columns`, where a change appends
        self._columns = Columns()
        self._tagged: dict[str, set[int]] = {}
        self._masks: OrderedDict[str, tuple[int, Mask]] = OrderedDict()
        self._caching = threading.Lock()
        self.put(items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def alive(self) -> Mask:
        """Bool [items]: which are there, and not removed."""
        return self._alive.view

    @property
    def price(self) -> NDArray[np.float32]:
        """Float32 [items]; NaN where an item has none."""
        return self._price.view

    @property
    def stock(self) -> NDArray[np.int64]:
        """Int64 [items]; -1 where it is not counted."""
        return self._stock.view

    def put(self, items: Sequence[Item]) -> list[int]:
        """Add items, or put them in place of those with their ids. Returns their rows."""
        if not items:
            return []
        rows = [self._row(item) for item in items]
        new = len(self.items) - len(self._alive)
        for column in (self._alive, self._price, self._stock, self._place):
            column.extend(np.zeros(new))
        self._alive.view[rows] = True
        self._price.view[rows] = [math.nan if item.price is None else item.price for item in items]
        self._stock.view[rows] = [_UNCOUNTED if item.stock is None else item.stock for item in items]
        self._place.view[rows] = np.arange(len(self._columns), len(self._columns) + len(items))
        self._columns.extend([_fields(item) for item in items])
        for row, item in zip(rows, items, strict=True):
            for tag in item.tags:
                self._tagged.setdefault(tag, set()).add(row)
        self.version += 1
        return rows

    def remove(self, ids: Iterable[str]) -> list[int]:
        """Mark items as removed; unknown ids are passed over. Returns the rows of those that were there."""
        known = (self.rows[name] for name in dict.fromkeys(ids) if name in self.rows)
        rows = [row for row in known if self.alive[row]]
        self._alive.view[rows] = False
        self.version += bool(rows)
        return rows

    def select(self, where: Mapping[str, Any]) -> Mask:
        """Bool [items]: which ones a filter lets through, removed ones included; do not change it.

        Raises `DataError` for a filter that is not understood.
        """
        key = key_of(where)
        with self._caching:
            version, mask = self._masks.pop(key, (-1, None))
            if mask is None or version != self.version:
                mask = self._select(parse(where))
            self._masks[key] = (self.version, mask)
            if len(self._masks) > _CACHED:
                self._masks.popitem(last=False)
            return mask

    def items_named(self, start: str) -> list[str]:
        """Ids of items that are there and whose id begins so, at most `_HINTED`."""
        alive = self.alive
        found = (name for name, row in self.rows.items() if name.startswith(start) and alive[row])
        return list(itertools.islice(found, _HINTED))

    def _row(self, item: Item) -> int:
        """The row of an item that is put: the one of its id, or a new one."""
        row = self.rows.setdefault(item.id, len(self.items))
        if row == len(self.items):
            self.items.append(item)
        else:
            for tag in self.items[row].tags:
                self._tagged[tag].discard(row)
            self.items[row] = item
        return row

    def _select(self, found: Filter) -> Mask:
        if isinstance(found, Both | Either):
            mask = np.full(len(self), isinstance(found, Both), dtype=np.bool_)
            for part in found.parts:
                selected = self._select(part)
                mask = mask & selected if isinstance(found, Both) else mask | selected
            return mask
        if isinstance(found, Without):
            return ~self._select(found.part)
        if isinstance(found, OneOf) and found.name in ("id", "tags"):
            mask = np.zeros(len(self), dtype=np.bool_)
            for value in found.values:
                mask[self._named(value) if found.name == "id" else self._with_tag(value)] = True
            return mask
        return self._columns.select(found)[self._place.view]

    def _named(self, value: Any) -> list[int]:
        return [self.rows[value]] if isinstance(value, str) and value in self.rows else []

    def _with_tag(self, value: Any) -> list[int]:
        return list(self._tagged.get(value, ())) if isinstance(value, str) else []


def _fields(item: Item) -> dict[str, Any]:
    """What a filter sees of an item; what it lacks is no field."""
    fields = {"category": item.category, "price": item.price, "stock": item.stock}
    return {**item.metadata, **{name: value for name, value in fields.items() if value not in (None, "")}}
