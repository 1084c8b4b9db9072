"""What the checks of an index have in common: how they make one, and small helpers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych.retrieval.base import METRICS, Hit, Index, Item, VectorField
from triptych.testing import index_oracle as oracle

CLOSE = 1e-4
"""How far a score may be from the one computed in float64."""


class IndexMaker(ABC):
    """What a subclass gives, and the index of a test."""

    _CASES: ClassVar[dict[str, Sequence[str]]] = {
        "metric": METRICS,
        "bad": list(oracle.BAD),
        "where": list(oracle.FILTERS),
    }
    _index: Index

    @abstractmethod
    def make(self, fields: Sequence[VectorField]) -> Index:
        """A new, empty index with these fields; called once in a test."""

    @abstractmethod
    def reopen(self, index: Index) -> Index:
        """The index that `make` gave, closed and opened again."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """One test for each metric, filter and bad input where a test asks for it by name."""
        for name in self._CASES.keys() & set(metafunc.fixturenames):
            metafunc.parametrize(name, self._CASES[name])

    @contextmanager
    def made(self, *fields: VectorField) -> Iterator[Index]:
        """A new index; whatever a test does to it, `verify` finds it sound at the end."""
        self._index = self.make(fields)
        try:
            yield self._index
            assert self._index.verify() == [], "verify finds problems at the end of the test"
        finally:
            self._index.close()

    def opened_again(self, index: Index) -> Index:
        """`reopen`, for the rest of the test."""
        self._index = self.reopen(index)
        return self._index


def random_vectors(rows: int, dim: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Float32 [rows, dim], the same at each call."""
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def texts_of(*texts: str) -> list[dict[str, str]]:
    """Contents with these texts."""
    return [{"text": text} for text in texts]


def ids_of(index: Index, query: Sequence[float], *, k: int = 3, **options: Any) -> list[str]:
    """What one query [dim] finds, best first."""
    return [hit.id for hit in index.search([query], k, **options)[0]]


def all_items(index: Index) -> list[Item]:
    """Every item."""
    return [item for item in index.get(index.ids()) if item is not None]


def vector_of(index: Index, key: str, field: str = "vector") -> Any:
    """One vector of one item, float32 [dim]."""
    item = index.get([key])[0]
    assert item is not None
    return item.vectors[field]


def plain(found: Sequence[Sequence[Hit]]) -> list[list[Hit]]:
    """Hits in lists, whatever sequences a backend gives; scores to the fifth place."""
    return [[Hit(hit.id, round(hit.score, 5), hit.metadata) for hit in hits] for hits in found]


def types_of(row: Mapping[str, Any]) -> dict[str, type]:
    """The kinds of values in metadata."""
    return {name: type(value) for name, value in row.items()}


def refused(act: Callable[[], Any], message: str) -> str:
    """The message of the `DataError` that is raised; it must hold `message`."""
    try:
        act()
    except DataError as error:
        came = str(error)
    else:
        raise AssertionError(f"accepted, where a DataError with {message!r} belongs")
    assert message in came, f"the message {came!r} does not say {message!r}"
    return came
