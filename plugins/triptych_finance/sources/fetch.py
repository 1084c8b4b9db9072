"""One polite GET: conditional, limited in size and time, over http and https only. Failures are answers, not errors."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import IO
from urllib.parse import urlsplit, urlunsplit

TIMEOUT_S = 30.0  # until the server says something
PATIENCE_S = 120.0  # until all of it is here
USER_AGENT = "Triptych finance (+https://pypi.org/project/triptych/)"
ACCEPT = "application/atom+xml, application/rss+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.1"
_PIECE = 1 << 16  # bytes
_WEB = ("http", "https")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. `problem` is None for a new document (200) and an unchanged one (304, no body)."""

    status: int = 0
    body: bytes = b""
    etag: str = ""
    modified: str = ""
    content_type: str = ""
    retry_after_s: float = 0.0
    problem: str | None = None


def without_secrets(url: str) -> str:
    """An address as messages show it: no user, no query, for keys often stand there."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def fetch(url: str, *, etag: str = "", modified: str = "", limit: int) -> Answer:
    """GET a document of at most `limit` bytes; `etag` and `modified` are those of the last one."""
    headers = {"User-Agent": USER_AGENT, "Accept": ACCEPT, "If-None-Match": etag, "If-Modified-Since": modified}
    request = urllib.request.Request(url, headers={k: v for k, v in headers.items() if v})  # noqa: S310  checked
    try:
        with _opener().open(request, timeout=TIMEOUT_S) as response:
            return _read(response, limit)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.NOT_MODIFIED:
                return Answer(error.code, etag=etag, modified=modified)
            return Answer(
                error.code, retry_after_s=_retry_after(error.headers), problem=f"HTTP {error.code} {error.msg}"
            )
    except urllib.error.URLError as error:
        reason = error.reason.strerror if isinstance(error.reason, OSError) else None
        return Answer(problem=f"no connection ({reason or error.reason})")
    except TimeoutError:
        return Answer(problem=f"no answer within {TIMEOUT_S:g} s")
    except (http.client.HTTPException, OSError, ValueError) as error:
        return Answer(problem=f"the answer cannot be read ({type(error).__name__}: {error})")


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects lead to the web only; Python's own would follow one to FTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in _WEB:
            raise urllib.error.HTTPError(req.full_url, code, "redirects away from http and https", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _opener() -> urllib.request.OpenerDirector:
    """What opens http and https and nothing else; the usual one opens files too."""
    opener = urllib.request.OpenerDirector()
    handlers: tuple[Callable[[], urllib.request.BaseHandler], ...] = (
        urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor, urllib.request.UnknownHandler,
        _WebRedirects,
    )  # fmt: skip
    for handler in handlers:
        opener.add_handler(handler())
    return opener


def _read(response: http.client.HTTPResponse, limit: int) -> Answer:
    until = time.monotonic() + PATIENCE_S
    body = bytearray()
    while piece := response.read1(_PIECE):
        body += piece
        if len(body) > limit:
            return Answer(response.status, problem=f"the document is longer than {limit:,} bytes (max_mb)")
        if time.monotonic() > until:
            return Answer(response.status, problem=f"the document did not arrive within {PATIENCE_S:g} s")
    if response.length:  # the rest that was promised
        return Answer(response.status, problem=f"the document is cut short by {response.length:,} bytes")
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        return Answer(response.status, problem=f"the document is packed ({encoding}), which was not asked for")
    if not body:
        return Answer(response.status, problem="the document is empty")
    return Answer(
        response.status,
        bytes(body),
        etag=response.headers.get("ETag", ""),
        modified=response.headers.get("Last-Modified", ""),
        content_type=response.headers.get("Content-Type", ""),
    )


def _retry_after(headers: Message) -> float:
    """Seconds that the server asks to be left alone, from a number or a date; 0 where it says nothing."""
    value = str(headers.get("Retry-After") or "").strip()
    if value.isdecimal() and len(value) < 10:
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
