"""A client of a server of `triptych serve`, with the standard library alone.

    client = Client("http://127.0.0.1:8000", key="tt_...")
    response = client.answer("customer-service", text="I was charged twice", image="receipt.png")
    print(response["answer"])

What a server would not answer now (429, 503) is asked again after the time that it names, unless it may have been done.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from triptych.errors import ConfigError, TriptychError

_AGAIN = (429, 503)
Json = dict[str, Any]


class ServerError(TriptychError):
    """What the server says in place of an answer; `retry_after` is in seconds, None where it names none."""

    def __init__(self, status: int, kind: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"the server says {status} ({kind}): {message}")
        self.status, self.kind, self.message, self.retry_after = status, kind, message, retry_after


class Client:
    """Asks one server, from any number of threads: each call has a connection of its own.

    `timeout` is the seconds without a byte after which a call fails with `TimeoutError`; `patience` the seconds for
    which a call is tried again at most. Raises `ConfigError` for an address that is no http or https URL, `OSError`
    where the server cannot be reached, and `ServerError` for what it says in place of an answer.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 60.0, patience: float = 60.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no address of a server: it looks like http://127.0.0.1:8000")
        self._parts, self._key = parts, key
        self.timeout, self.patience = timeout, patience

    def about(self, vertical: str) -> Json:
        """What answers in a vertical."""
        found: Json = self.call(f"/v1/{quote(vertical)}")
        return found

    def answer(self, vertical: str, **fields: Any) -> Json:
        """One answer. Fields are those of the vertical's request; a file is a `Path`, the name of one, or its bytes.

        Only `image` and `audio` are files by their names; every other text is sent as it is.
        """
        found: Json = self.call(f"/v1/{quote(vertical)}/answer", body=_sendable(fields))
        return found

    def answers(self, vertical: str, requests: Sequence[Mapping[str, Any]]) -> list[Json | ServerError]:
        """Several answers, in the order given; one that failed has its error in the place of its answer."""
        body = {"requests": [_sendable(request) for request in requests]}
        found = self.call(f"/v1/{quote(vertical)}/answers", body=body)["answers"]
        return [_error(422, item) if set(item) == {"error"} else item for item in found]

    def answer_events(self, vertical: str, **fields: Any) -> Iterator[tuple[str, Any]]:
        """One answer as events: "waiting" (how many are `before` it), then "answer" or "error", each with its data."""
        return self.stream(f"/v1/{quote(vertical)}/answer", body=_sendable(fields))

    def call(
        self,
        path: str,
        *,
        method: str | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """What an endpoint returns: parsed JSON, or bytes where it is something else.

        Without a method it is POST for a body, else GET. A value of the query that is a list is given several times.
        """
        with self._response(path, method, query, body, "*/*") as response:
            with _speaking():
                content = response.read()
            kind = response.headers.get_content_type()
        return json.loads(content) if kind == "application/json" else content

    def stream(
        self, path: str, *, query: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[str, Any]]:
        """The server-sent events of an endpoint, as names and data, until the server ends them."""
        with self._response(path, None, query, body, "text/event-stream") as response, _speaking():
            name, data = "message", ""
            for raw in response:
                field, _, value = raw.decode().rstrip("\r\n").partition(":")
                if field == "event":
                    name = value.strip()
                elif field == "data":
                    data += value.strip()
                elif not field and not value and data:
                    yield name, json.loads(data)
                    name, data = "message", ""

    def _response(
        self,
        path: str,
        method: str | None,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        accept: str,
    ) -> _Response:
        """An answer with a status below 400; what has to wait is asked again."""
        started = time.monotonic()
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        target = self._parts.path.rstrip("/") + path + _query(query)
        while True:
            response = self._once(method or ("GET" if content is None else "POST"), target, content, accept)
            if response.status < 400:
                return response
            with response, _speaking():
                error = _problem(response)
            wait = error.retry_after if error.retry_after is not None else 1.0
            twice = content is not None and error.kind == "timeout"  # what came too late may have been done
            if twice or error.status not in _AGAIN or time.monotonic() - started + wait > self.patience:
                raise error
            time.sleep(wait)

    def _once(self, method: str, target: str, content: bytes | None, accept: str) -> _Response:
        host, port = self._parts.hostname or "", self._parts.port  # without a port, an IPv6 address would be split
        connection = (
            http.client.HTTPSConnection(host, port or 443, timeout=self.timeout, context=ssl.create_default_context())
            if self._parts.scheme == "https"
            else http.client.HTTPConnection(host, port or 80, timeout=self.timeout)
        )
        headers = {"Accept": accept, "Connection": "close"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            with _speaking():
                connection.request(method, target, content, headers)
                response: _Response = connection.getresponse()
        except OSError:
            connection.close()
            raise
        return response


_Response = http.client.HTTPResponse


@contextmanager
def _speaking() -> Iterator[None]:
    """Raises `ConnectionError` for what is no HTTP, and for an answer that breaks off."""
    try:
        yield
    except http.client.HTTPException as error:
        raise ConnectionError(f"the server did not speak HTTP: {error!r}") from error


def _query(query: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return "?" + urlencode(given, doseq=True) if given else ""


def _sendable(fields: Mapping[str, Any]) -> Json:
    """Files as base64; fields without a value are left out."""
    found = {name: value for name, value in fields.items() if value is not None}
    for name, value in found.items():
        if isinstance(value, Path) or (name in ("image", "audio") and isinstance(value, str)):
            value = Path(value).read_bytes()
        if isinstance(value, bytes | bytearray):
            value = base64.b64encode(value).decode()
        found[name] = value
    return found


def _problem(response: _Response) -> ServerError:
    content = response.read()
    wait = response.headers.get("Retry-After", "")
    try:
        body = json.loads(content)
    except ValueError:
        body = None  # something between here and the server answered in its place
    return _error(response.status, body, float(wait) if wait.isdecimal() else None)


def _error(status: int, body: Any, retry_after: float | None = None) -> ServerError:
    told = body.get("error") if isinstance(body, dict) else None
    if not isinstance(told, dict):
        return ServerError(status, "error", "no reason was given", retry_after)
    return ServerError(status, str(told.get("kind")), str(told.get("message")), retry_after)
