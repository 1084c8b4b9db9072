"""Everything that a client can be told in place of an answer, in one shape: `{"error": {"kind", "message"}}`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from triptych.errors import DataError, MissingError, RefusedError, UnknownNameError

_MISSING_S = 5.0  # until it is worth trying again
KINDS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media",
    422: "invalid",
    429: "rate_limited",
    500: "internal",
    503: "unavailable",
}
MEANINGS = {
    400: "What was sent is no HTTP, JSON or form that can be read.",
    401: "A key is needed, and there is none, or it is wrong or revoked.",
    403: "The key does not allow this, its budget is spent, or a guardrail refused the request.",
    404: "There is no such path, or nothing of that name.",
    408: "The request came too slowly.",
    413: "The request, a picture, a sound or a text is too large.",
    415: "The content is of a type that is not read here.",
    422: "A field is missing, unknown or wrong, or a file is damaged.",
    429: "The key was used too often; `Retry-After` says when to try again.",
    500: "A bug of the server; its log has the id that the header `Request-Id` gives.",
    503: "The server is starting, stopping, busy, or lacks something; `Retry-After` says when to try again.",
}


class ErrorDetail(BaseModel):
    """`kind` is for programs, `message` for people."""

    kind: str
    message: str


class ErrorBody(BaseModel):
    """What every answer with a status of 400 or more holds."""

    error: ErrorDetail


class Problem(Exception):  # noqa: N818 - most are the client's, no error of ours
    """A status, its kind (where not the usual one of that status) and a message."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "",
        retry_after: float | None = None,
        headers: Mapping[str, str] = {},
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind or KINDS.get(status, "error")
        self.headers = dict(headers)
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_after + 0.5)))

    def json(self) -> bytes:
        """The body."""
        return ErrorBody(error=ErrorDetail(kind=self.kind, message=self.message)).model_dump_json().encode()


def is_own(error: Exception) -> bool:
    """Whether something is wrong with the server rather than with the request, so that the log has to tell of it."""
    return not isinstance(error, Problem | RefusedError | UnknownNameError | DataError)


def problem_of(error: Exception) -> Problem:
    """What a client is told when a request could not be answered; of bugs, nothing but that there was one."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RefusedError):
        return Problem(403, str(error), kind="refused")
    if isinstance(error, UnknownNameError):
        return Problem(404, f"no {error.what} is called {error.name[:200]!r}")  # which ones exist is not everybody's
    if isinstance(error, DataError):
        return Problem(422, str(error))
    if isinstance(error, MissingError):  # a database, room on the disk: its message is for who runs the server
        return Problem(
            503, "something that this needs is missing now; the server's log says what", retry_after=_MISSING_S
        )
    return Problem(500, "this request met a bug of the server, which its log describes")
