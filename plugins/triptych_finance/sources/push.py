"""Items by HTTP: `push:127.0.0.1:8765`, `push:0.0.0.0:8765?token_env=TRIPTYCH_PUSH_TOKEN`.

`POST /items` takes one item as `application/json`, or one a line as `application/x-ndjson`: all of them or none. They
lie in the inbox of the store, on the disk, before 202 is answered with their ids.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field

from triptych.errors import ConfigError, DataError, MissingError
from triptych_finance.sources.parsing import MEGABYTE, Rules, content_id, read_json, read_options, read_record, utc_now
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Poll

if TYPE_CHECKING:
    from triptych_finance.store.store import Store

PATH = "/items"
ONE, MANY = "application/json", ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
MOST_ITEMS = 5000  # of one request
MOST_REQUESTS = 16  # at a time, which bounds the memory they take
TIMEOUT_S = 10.0  # of silence
PATIENCE_S = 60.0  # for one request
_PIECE = 1 << 16  # bytes
_LOOK_S = 0.05  # between two looks whether it shall stop

log = logging.getLogger(__name__)


class PushOptions(Rules):
    """What may stand behind `?` in the address of an endpoint."""

    token_env: str = ""  # the environment variable with the token that requests must bring; needed beyond localhost
    max_mb: Annotated[float, Field(gt=0, le=256)] = 16.0  # of one request


class Push:
    """An endpoint whose items wait in the inbox of the store until they are committed.

    Requests bring `Authorization: Bearer TOKEN` where a token is set. Other content types than the two are refused,
    so that no page in a browser can post. An item without an id takes a hash of its content, so a request that is
    sent again is the same items.
    """

    def __init__(
        self, host: str, port: int, *, name: str, store: Store, token: str = "", options: PushOptions | None = None
    ) -> None:
        self.name = name
        self._store = store
        self._options = options or PushOptions()
        self._token = token.encode()
        self._writing = threading.Lock()
        self._arrived = threading.Event()
        self._closed = False
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_LOOK_S,), name=name, daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, spec: str, *, name: str, store: Store | None = None) -> Self:
        """Listen on an address. Raises `ConfigError`, and `MissingError` for a port that is taken or no token."""
        place, options = read_options(spec.partition(":")[2], PushOptions)
        host, _, port = place.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        if not port.isdecimal() or int(port) > 65_535:
            raise ConfigError(f"an endpoint needs a port, as push:127.0.0.1:8765, not {place!r}")
        if store is None:
            raise ConfigError("an endpoint keeps what it takes in a store, and none was given")
        token = os.environ.get(options.token_env, "") if options.token_env else ""
        if options.token_env and not token:
            raise MissingError(f"the environment variable {options.token_env}, which token_env names, is not set")
        if not token and not _is_local(host):
            raise ConfigError(f"an endpoint on {host} is open to others: name a token with ?token_env=VARIABLE")
        try:
            return cls(host, int(port), name=name, store=store, token=token, options=options)
        except OSError as error:
            raise MissingError(f"cannot listen on {host}:{port} ({error.strerror}); take another port") from error

    @property
    def port(self) -> int:
        """The port that it listens on; the system chooses one where 0 was asked for."""
        return int(self._server.server_address[1])

    def poll(self, cursor: str | None, limit: int, wait_s: float) -> Poll:
        """At most `limit` items of the inbox after the cursor."""
        until = time.monotonic() + wait_s
        try:
            after = int(cursor or 0)
        except ValueError as error:
            raise DataError(f"{cursor!r} is no place in an inbox; give this source another name") from error
        while True:
            self._arrived.clear()
            with self._store.reading() as tx:
                rows = tx.inbox(after, limit, source=self.name)
            left = until - time.monotonic()
            if rows or left <= 0:
                break
            self._arrived.wait(left)
        return Poll([row.item for row in rows], str(rows[-1].number if rows else after), False, [])

    def acknowledge(self, cursor: str) -> None:
        """Drop from the inbox what is committed."""
        with self._store.transaction() as tx:
            tx.drop_inbox(int(cursor), source=self.name)

    def close(self) -> None:
        """Stop listening; a request that is being written is finished first, later ones get 503."""
        with self._writing:
            self._closed = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def largest(self) -> int:
        """Bytes that a request may have."""
        return int(self._options.max_mb * MEGABYTE)

    def lets_in(self, authorization: str) -> bool:
        """Whether the header brings the token; takes the same time for every wrong one."""
        scheme, _, token = authorization.partition(" ")
        known = hmac.compare_digest(token.strip().encode("utf-8", "replace"), self._token)
        return not self._token or (scheme.lower() == "bearer" and known)

    def read(self, content: bytes, kind: str) -> list[Item]:
        """The items of a request. Raises `DataError` that names the line and the field."""
        if kind == ONE:
            return [self._item(content, "item")]
        lines = [(number, line) for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
        if not lines:
            raise DataError("the request holds no item")
        if len(lines) > MOST_ITEMS:
            raise DataError(f"the request holds {len(lines):,} items, and {MOST_ITEMS:,} are allowed; send several")
        return [self._item(line, f"line {number}") for number, line in lines]

    def keep(self, items: Sequence[Item]) -> None:
        """Write items to the inbox; they are on the disk when it returns. Raises `MissingError` when closing."""
        with self._writing:
            if self._closed:
                raise MissingError("the endpoint is closing")
            with self._store.posting() as tx:
                tx.add_inbox(items)
        self._arrived.set()

    def _item(self, content: bytes, place: str) -> Item:
        try:
            values = read_json(content)
        except DataError as error:
            raise DataError(f"{place}: {error.reason}") from error
        entry = read_record(
            values, source=self.name, place=place, spare_id=content_id(values), now=utc_now(), rules=self._options
        )
        if isinstance(entry, str):
            raise DataError(entry)
        return entry


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Server(ThreadingHTTPServer):
    """A thread for each request, and a bound on their number."""

    daemon_threads = True
    request_queue_size = 128  # that wait for a thread; beyond it the system resets connections

    def __init__(self, address: tuple[str, int], push: Push) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.push = push
        self._slots = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTP's own asks the name service who this machine is
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(timeout=TIMEOUT_S):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request of %s broke off", client_address, exc_info=True)


class _Refused(Exception):  # noqa: N818  an answer, not an error
    def __init__(self, status: HTTPStatus, problem: str, **headers: str) -> None:
        super().__init__(problem)
        self.status, self.problem, self.headers = status, problem, headers


class _Handler(BaseHTTPRequestHandler):
    """One request a connection, so that idle ones hold no thread."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Triptych", ""
    timeout = TIMEOUT_S

    def do_POST(self) -> None:
        """Take items in."""
        self._left = 0  # bytes of the body that are not read
        try:
            items = self._items()
            try:
                self.server.push.keep(items)
            except Exception as error:  # a full disk, a locked store, ...: whatever it is, nothing was taken
                log.warning("items could not be kept", exc_info=True)
                problem = f"the items could not be kept ({error}); send them again"
                raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, problem, **{"Retry-After": "5"}) from error
        except _Refused as refused:
            self._answer(refused.status, {"problem": refused.problem}, refused.headers)
            self._drain()
        else:
            self._answer(HTTPStatus.ACCEPTED, {"ids": [item.id for item in items]}, {})

    def _items(self) -> list[Item]:
        """The items of the request. Raises `_Refused`."""
        push = self.server.push
        kind = self.headers.get_content_type()
        length = self.headers.get("Content-Length", "")
        self._left = int(length) if length.isdecimal() and len(length) < 16 else 0
        if not push.lets_in(self.headers.get("Authorization", "")):
            challenge = {"WWW-Authenticate": "Bearer"}
            raise _Refused(HTTPStatus.UNAUTHORIZED, "Authorization: Bearer TOKEN is missing or wrong", **challenge)
        if self.path != PATH:
            raise _Refused(HTTPStatus.NOT_FOUND, f"there is nothing here; items go to {PATH}")
        if kind != ONE and kind not in MANY:
            problem = f"say Content-Type: {ONE} for one item, or {MANY[0]} for one a line, not {kind}"
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, problem)
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing or no number")
        if self._left > push.largest or len(length) >= 16:
            problem = f"the request has {length} bytes, and {push.largest:,} are allowed"
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, problem)
        try:
            return push.read(self._body(), kind)
        except DataError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, error.reason) from error

    def _body(self) -> bytes:
        until = time.monotonic() + PATIENCE_S
        body = bytearray()
        while self._left and time.monotonic() < until:
            piece = self.rfile.read1(min(_PIECE, self._left))
            if not piece:
                break
            body += piece
            self._left -= len(piece)
        if self._left:
            raise DataError(f"the request is cut short: {self._left:,} bytes are missing")
        return bytes(body)

    def _drain(self) -> None:
        """Read on for a while: a client that is still sending would not see the answer, only a broken connection."""
        until = time.monotonic() + TIMEOUT_S
        while self._left and time.monotonic() < until:
            piece = self.rfile.read1(min(_PIECE, self._left))
            if not piece:
                break
            self._left -= len(piece)

    def _answer(self, status: HTTPStatus, content: dict[str, Any], headers: dict[str, str]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", ONE)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name in the base class
        log.debug(format, *args)
