"""The databases' errors as a user should read them: never with a password, never with what was being written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from triptych.errors import DataError, MissingError, TriptychError

_DAMAGED_SQLITE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_RIGHTS_SQLITE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
_FULL_SQLITE = ("SQLITE_FULL", "SQLITE_IOERR")


@contextmanager
def translated(name: str, password: str = "") -> Iterator[None]:
    """Raises `MissingError` or `DataError` that name the store in place of what the database raised.

    What says nothing about its cause, such as a wrong statement, stays as it was.
    """
    try:
        yield
    except exc.TimeoutError as error:
        raise MissingError(f"{name}: too many threads use it at once ({error}); try again later") from error
    except sqlite3.Error as error:
        problem = _of_sqlite(error, name, str(error))
        if problem is None:
            raise
        raise problem from error
    except exc.StatementError as error:
        if isinstance(error.orig, TriptychError):  # raised while a value was made ready
            raise error.orig from None
        if not isinstance(error, exc.DBAPIError):
            raise
        reason = " ".join(str(error.orig).split())
        if password:
            reason = reason.replace(password, "***")
        if isinstance(error.orig, sqlite3.Error):
            problem = _of_sqlite(error.orig, name, reason)
        else:
            problem = _of_postgres(error.orig, name, reason)
        if problem is None:
            raise
        raise problem from error


def _of_sqlite(error: sqlite3.Error, name: str, reason: str) -> TriptychError | None:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(_FULL_SQLITE):
        return _full(name, reason)
    if code.startswith("SQLITE_BUSY"):
        return MissingError(f"{name}: another program has been writing for too long ({reason}); try again later")
    if code.startswith(_RIGHTS_SQLITE):
        return MissingError(
            f"{name} cannot be opened or written ({reason}); check the rights of the file and its folder"
        )
    if code.startswith(_DAMAGED_SQLITE):
        return DataError(f"is damaged, or no store ({reason}); restore it from a backup", file=name)
    if isinstance(error, sqlite3.IntegrityError):
        return DataError(f"holds this already ({reason})", file=name)
    return None


def _of_postgres(error: BaseException | None, name: str, reason: str) -> TriptychError | None:
    state = getattr(error, "sqlstate", None) or ""
    if state == "53100":
        return _full(name, reason)
    if state == "42501":
        return MissingError(f"{name}: the user lacks the right ({reason})")
    if state.startswith("23"):
        return DataError(f"holds this already ({reason})", file=name)
    if state.startswith("XX"):
        return DataError(f"is damaged ({reason}); restore it from a backup", file=name)
    if not state or state[:2] in ("08", "28", "3D", "40", "53", "55", "57"):
        return MissingError(f"{name}: the database does not answer, or refuses ({reason})")
    return None


def _full(name: str, reason: str) -> MissingError:
    return MissingError(
        f"{name}: nothing was written, for the disk is full or failing ({reason}); make room, then go on"
    )
