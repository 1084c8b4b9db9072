"""Types of columns, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Integer, LargeBinary, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from triptych.errors import DataError

Vector = NDArray[np.float32]
COUNTED = BigInteger().with_variant(Integer, "sqlite")  # SQLite's row id is INTEGER by name


class Words(TypeDecorator[str]):
    """Text in the order of code points. A subclass replaces or refuses what no database holds."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """On PostgreSQL too the order is that of the code points, whatever the language of the database."""
        return Text(collation="C") if dialect.name == "postgresql" else Text()


class Json(TypeDecorator[Any]):
    """JSON as text. Raises `DataError` for what JSON cannot say, such as infinity."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """The JSON text; in ASCII, so that no character in it is beyond a database."""
        try:
            return None if value is None else _JSON.encode(value)
        except (TypeError, ValueError) as error:
            raise DataError(f"{_shortened(value)} cannot be kept as JSON: {error}") from error

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """What the text says."""
        return None if value is None else json.loads(value)


class Half(TypeDecorator[Vector]):
    """A vector as float16. Raises `DataError` for numbers beyond its range."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Vector | None, dialect: Dialect) -> bytes | None:
        """Little-endian float16."""
        if value is None:
            return None
        with np.errstate(over="ignore"):
            halves = np.asarray(value).astype("<f2")
        if halves.ndim != 1 or not np.isfinite(halves).all():
            raise DataError("a vector must be one row of finite numbers of at most 65,504")
        return halves.tobytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Vector | None:
        """Float32 [dim]."""
        return None if value is None else np.frombuffer(value, dtype="<f2").astype(np.float32)


def _plain(value: Any) -> Any:
    """A mapping that is no dict, for `json.dumps`."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"it holds {value!r}")


_JSON = json.JSONEncoder(default=_plain, allow_nan=False, separators=(",", ":"))


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
