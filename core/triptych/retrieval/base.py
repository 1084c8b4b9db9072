"""What an index is, whatever keeps it: its fields, its hits, and what every backend must do.

`triptych.testing.index` holds the checks that every backend passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, field_validator

Metric = Literal["cosine", "dot", "l2"]
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")

WORDS = "words"
"""The name of the list by words, where several searches are fused."""
Vectors: TypeAlias = ArrayLike | Sequence[Any]
"""Float [items, dim], or a sequence with None where an item lacks the field."""
Where: TypeAlias = Mapping[str, Any]
Metadata: TypeAlias = Mapping[str, Any]


class Hit(NamedTuple):
    """One neighbour. `score`: cosine in [-1, 1], inner product, or minus the Euclidean distance: higher is nearer."""

    id: str
    score: float
    metadata: dict[str, Any]


class VectorField(BaseModel):
    """One kind of vector that items have.

    `encoder` is the fingerprint of what made them, and `source` says how to open it again, as
    "sentence:all-MiniLM-L6-v2"; both are "" where nobody said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(default="vector", min_length=1, pattern=r"^[A-Za-z0-9_-]+$")
    dim: int = Field(ge=1)
    metric: Metric = "cosine"
    encoder: str = ""
    source: str = ""

    @field_validator("name")
    @classmethod
    def _not_the_words(cls, name: str) -> str:
        if name == WORDS:
            raise ValueError(f"{WORDS!r} is what a hybrid search calls its list by words; take another name")
        return name


class Item(NamedTuple):
    """One item as it is kept: vectors by field (float32 [dim]), metadata, and what was encoded.

    A field that the item lacks is no key of `vectors`. `content` has any of "text" (searched by words), "image" and
    "audio" (paths); it is what a migration to another encoder encodes again.
    """

    id: str
    vectors: dict[str, Any]
    metadata: dict[str, Any]
    content: dict[str, Any]


@runtime_checkable
class Index(Protocol):
    """Items with vectors, metadata and text, kept durably and searched. Safe to call from many threads."""

    @property
    def fields(self) -> Mapping[str, VectorField]:
        """The vector fields by name, in the order in which they were declared."""

    def __len__(self) -> int: ...

    def __contains__(self, key: object) -> bool: ...

    def ids(self) -> list[str]:
        """All ids, in the order in which they were added or last replaced."""

    def get(self, ids: Sequence[str]) -> list[Item | None]:
        """Items by id, None for unknown ones; vectors as they were given (under cosine: normalised)."""

    def add(
        self,
        ids: Sequence[str],
        vectors: Vectors | Mapping[str, Vectors],
        metadata: Sequence[Metadata] | None = None,
        *,
        contents: Sequence[Mapping[str, Any]] | None = None,
        encoder: str | Mapping[str, str] | None = None,
    ) -> None:
        """Add items; one whose id is already there is replaced whole. When it returns, they survive a crash.

        `vectors` is the array of the only field, or one array for each field; an item needs none in every field, but
        one at least or a text. `encoder` says by fingerprint what made the vectors (one for each field, or one for
        all); it must be that of the field where the field has one.

        Raises `DataError`, and adds nothing, for a wrong shape, NaN or infinity, an id twice in one call, metadata or
        content that is not JSON, under cosine a zero vector, a field that does not exist, or another encoder.
        """

    def delete(self, ids: Iterable[str]) -> int:
        """Delete by id and say how many were there; unknown ids are passed over."""

    def search(
        self,
        queries: ArrayLike,
        k: int,
        *,
        field: str | None = None,
        where: Where | None = None,
        encoder: str | None = None,
    ) -> Sequence[Sequence[Hit]]:
        """The `k` nearest to each query float [queries, dim], best first, among what `where` lets through.

        `field` may be left out where there is one only. `k` hits come back whenever that many exist. Raises
        `DataError` as `add` does, and for k below one.
        """

    def search_text(self, texts: Sequence[str], k: int, *, where: Where | None = None) -> Sequence[Sequence[Hit]]:
        """The `k` best of each text by BM25 over the words of the items' "text"; only items with a word in common.

        Raises `DataError` for k below one.
        """

    def stats(self) -> dict[str, Any]:
        """What is kept and how it is searched, as JSON."""

    def verify(self) -> list[str]:
        """Every problem found in what is stored; empty where all is well."""

    def compact(self) -> None:
        """Make the space of deleted items free, leaving no trace of them, and fit the search to what is there."""

    def close(self) -> None:
        """Let go of files and connections; a second time does nothing."""
