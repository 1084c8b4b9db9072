"""What every index asks of what it is given, before anything is changed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import DataError
from triptych.retrieval.base import Metadata, VectorField, Vectors
from triptych.retrieval.columns import check_metadata
from triptych.retrieval.filters import plain_value

Floats: TypeAlias = NDArray[np.float32]
_SMALLEST, _LARGEST = 1e-20, 1e30  # squares of lengths that float32 computes well enough; NaN is between no two numbers


class FieldVectors(NamedTuple):
    """The vectors of one field in a batch: `rows` int [n] say which items have one, `vectors` is float32 [n, dim]."""

    rows: NDArray[np.intp]
    vectors: Floats


class Batch(NamedTuple):
    """Items that may be added as they are; `vectors` has the fields that any of them has."""

    ids: list[str]
    vectors: dict[str, FieldVectors]
    metadata: list[dict[str, Any]]
    contents: list[dict[str, Any]]


def check_batch(
    fields: Mapping[str, VectorField],
    ids: Sequence[str],
    vectors: Vectors | Mapping[str, Vectors],
    metadata: Sequence[Metadata] | None = None,
    contents: Sequence[Mapping[str, Any]] | None = None,
    encoder: str | Mapping[str, str] | None = None,
) -> Batch:
    """What `Index.add` was given, checked and copied. Raises `DataError` as `Index.add` says."""
    keys = check_ids(ids)
    rows = _one_each(keys, metadata, "metadata objects")
    for key, row in zip(keys, rows, strict=True):
        check_metadata(row, owner=key)
    texts = _one_each(keys, contents, "contents")
    for key, content in zip(keys, texts, strict=True):
        check_content(content, owner=key)
    found = {}
    for name, given in _by_field(fields, vectors).items():
        present = check_field_vectors(given, fields[name], keys)
        if len(present.rows):
            check_encoder(fields[name], encoder.get(name) if isinstance(encoder, Mapping) else encoder)
            found[name] = present
    if isinstance(encoder, Mapping):
        for name in encoder:
            pick_field(fields, name)
    something = np.zeros(len(keys), dtype=np.bool_)
    for present in found.values():
        something[present.rows] = True
    for number in np.flatnonzero(~something).tolist():
        if "text" not in texts[number]:
            raise DataError(f"item {number} (id {keys[number]!r}) has neither a vector nor a text; leave it out")
    plain = [{name: plain_value(value) for name, value in row.items()} for row in rows]
    return Batch(keys, found, plain, [dict(content) for content in texts])


def check_ids(ids: Iterable[str]) -> list[str]:
    """The ids as a list. Raises `DataError` for one that is no string or comes twice."""
    keys = list(ids)
    seen: set[str] = set()
    for key in keys:
        if not isinstance(key, str):
            raise DataError(f"id {key!r} is {type(key).__name__}; ids are strings")
        if key in seen:
            raise DataError(f"id {key!r} comes twice in one call; keep one of them")
        seen.add(key)
    return keys


def check_utf8(ids: Iterable[str]) -> None:
    """Raise `DataError` for an id with half a surrogate pair, which is no text and cannot be kept everywhere."""
    for key in ids:
        try:
            key.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(f"id {key!r} is no valid Unicode; write it without the half surrogate pair") from None


def check_content(content: Mapping[str, Any], *, owner: str) -> None:
    """Raise `DataError`, naming the owner's id, for content that is not JSON or a "text" that is no string."""
    if not isinstance(content, Mapping):
        raise DataError(f"content of {owner!r} is {content!r}; write a mapping, as {{'text': ...}}")
    try:
        json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"content of {owner!r} is not JSON: {error}") from error
    if not isinstance(content.get("text", ""), str):
        raise DataError(f"content 'text' of {owner!r} is {type(content['text']).__name__}; write a string")


def check_field_vectors(vectors: Vectors, field: VectorField, ids: Sequence[str]) -> FieldVectors:
    """The vectors of one field, None where an item lacks it. Raises `DataError` naming the row and its id."""
    rows = np.arange(len(ids))
    given: Any = vectors
    if isinstance(vectors, Iterable) and not hasattr(vectors, "__array__"):  # no array, no tensor
        given = list(vectors)
        rows = np.array([number for number, vector in enumerate(given) if vector is not None], dtype=np.intp)
        given = [np.ones(field.dim) if vector is None else vector for vector in given]  # so that rows keep their number
    checked = check_vectors(given, dim=field.dim, metric=field.metric, ids=ids)
    if len(checked) != len(ids):
        raise DataError(f"{len(ids)} ids came with {len(checked)} vectors; give one for each")
    return FieldVectors(rows, checked if len(rows) == len(checked) else checked[rows])


def check_vectors(
    vectors: ArrayLike, *, dim: int, metric: str, what: str = "vector", ids: Sequence[str] = ()
) -> Floats:
    """Float32 [rows, dim], C-contiguous, normalised under cosine. Raises `DataError` naming the row and its id."""
    checked = _as_floats(vectors, dim, what)
    if checked.size == 0 and checked.ndim <= 2:
        return np.empty((0, dim), dtype=np.float32)
    if checked.ndim != 2 or checked.shape[1] != dim:
        raise DataError(f"expected {what} rows of shape [rows, {dim}], got {list(checked.shape)}")

    def name(row: int) -> str:
        return f"{what} {row}" + (f" (id {ids[row]!r})" if row < len(ids) else "")

    if what == "query" and len(checked) == 1:  # a lone query is answered in half a millisecond, which this is part of
        square = float(checked[0] @ checked[0])
        if _SMALLEST < square < _LARGEST:
            return checked / np.float32(math.sqrt(square)) if metric == "cosine" else np.array(checked, order="C")
    elif what == "query" and len(checked):
        short = np.vecdot(checked, checked)
        if short.min() > _SMALLEST and short.max() < _LARGEST:  # the common case; queries are not kept
            return checked / np.sqrt(short)[:, None] if metric == "cosine" else np.array(checked, order="C")
    wide = checked.astype(np.float64)
    squares = np.einsum("ij,ij->i", wide, wide)  # not finite where any number is not: one pass serves both questions
    if not np.isfinite(squares).all():
        bad = int(np.flatnonzero(~np.isfinite(squares))[0])
        raise DataError(f"{name(bad)} holds NaN or infinity; check what computed it")
    if metric == "cosine":
        if not squares.all():
            zero = int(np.flatnonzero(squares == 0)[0])
            raise DataError(f"{name(zero)} is all zeros, which has no cosine with anything; leave it out")
        checked = (wide / np.sqrt(squares)[:, None]).astype(np.float32)
    return np.array(checked, order="C") if checked is vectors else checked


def check_k(k: int) -> None:
    """Raise `DataError` for a number of neighbours below one."""
    if k < 1:
        raise DataError(f"k is {k}; ask for at least one neighbour")


def check_texts(texts: Sequence[str]) -> list[str]:
    """The texts of a search as a list. Raises `DataError` for one that is no string."""
    if isinstance(texts, str):
        raise DataError(f"search_text takes a list of texts; write [{texts!r:.60}]")
    for text in texts:
        if not isinstance(text, str):
            raise DataError(f"text {text!r:.60} is {type(text).__name__}; search for strings")
    return list(texts)


def check_encoder(field: VectorField, encoder: str | None) -> None:
    """Raise `DataError` for vectors of another encoder, or of nobody knows which, where the field records its own."""
    if not field.encoder or encoder == field.encoder:
        return
    came = f"these are of {encoder!r}" if encoder else "these came without the name of theirs (None)"
    raise DataError(
        f"the vectors of field {field.name!r} are of the encoder {field.encoder!r}, {came}; "
        "encode again with the former, or migrate the index to the latter"
    )


def pick_field(fields: Mapping[str, VectorField], name: str | None) -> VectorField:
    """The field of that name, or the only one. Raises `DataError` where there is none, or one must be named."""
    if name is None:
        if len(fields) != 1:
            raise DataError(f"name the field, there is more than one: {', '.join(fields)}")
        return next(iter(fields.values()))
    if name not in fields:
        raise DataError(f"no vector field is called {name!r}; there is {', '.join(fields)}")
    return fields[name]


def _as_floats(vectors: ArrayLike, dim: int, what: str) -> Floats:
    """Float32 of any shape; the very same array where it is that already."""
    found: Floats
    if isinstance(vectors, np.ndarray) and vectors.dtype == np.float32:
        found = vectors
        return found
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity, refused by the caller
            found = np.array(vectors, dtype=np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise DataError(f"what should be {what} rows of {dim} numbers is not: {error}") from error
    return found


def _by_field(fields: Mapping[str, VectorField], vectors: Vectors | Mapping[str, Vectors]) -> dict[str, Vectors]:
    if isinstance(vectors, Mapping):
        return {pick_field(fields, name).name: given for name, given in vectors.items()}
    return {pick_field(fields, None).name: vectors}


def _one_each(ids: Sequence[str], rows: Sequence[Any] | None, what: str) -> list[Any]:
    found = [{} for _ in ids] if rows is None else list(rows)
    if len(found) != len(ids):
        raise DataError(f"{len(ids)} ids came with {len(found)} {what}; give one for each")
    return found
