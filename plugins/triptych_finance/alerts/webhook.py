"""The channel "webhook": a notice as a signed POST.

The body is JSON. X-Triptych-Timestamp has the seconds since 1970 at which it was sent, X-Triptych-Signature
`sha256=` and the HMAC-SHA256, in hex, of timestamp, a full stop and the body under the shared secret. Idempotency-Key
is the notice's id: the same notice may come twice, with the same key.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import IO

from triptych_finance.alerts.delivery import NotSentError
from triptych_finance.alerts.settings import WebhookSettings
from triptych_finance.store.schema import NoticeRow

_AGAIN = {408, 429}  # of the 4xx
_SHOWN = 200  # characters of an answer in the message of an error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: signed notices go to the configured address and nowhere else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:  # fmt: skip
        return None


class WebhookChannel:
    """Posts notices to one address. 2xx is taken; 4xx, except 408 and 429, and redirects are refused for good."""

    def __init__(self, settings: WebhookSettings, secret: str) -> None:
        self.settings = settings
        self._secret = secret.encode()
        self._opener = urllib.request.build_opener(_NoRedirects)

    def send(self, notice: NoticeRow, now: datetime) -> None:
        """Post a notice. Raises `NotSentError`."""
        body = json.dumps(dict(notice.payload), ensure_ascii=False, sort_keys=True).encode()
        timestamp = str(int(now.timestamp()))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "triptych-finance",
            "Idempotency-Key": notice.id,
            "X-Triptych-Timestamp": timestamp,
            "X-Triptych-Signature": f"sha256={sign(self._secret, timestamp, body)}",
        }
        request = urllib.request.Request(self.settings.url, body, headers, method="POST")  # noqa: S310 - http(s) only
        try:
            with self._opener.open(request, timeout=self.settings.timeout_s):
                return
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error, now) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise NotSentError(f"no answer: {reason or type(error).__name__}", whole_channel=True) from error


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature of a body, in hex; what a receiver computes to compare."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _refusal(error: urllib.error.HTTPError, now: datetime) -> NotSentError:
    try:
        said = " ".join(error.read(4 * _SHOWN).decode("utf-8", "replace").split())[:_SHOWN]
    except (OSError, http.client.HTTPException):
        said = ""
    reason = f"HTTP {error.code} {error.reason}" + (f": {said}" if said else "")
    if error.code < 500 and error.code not in _AGAIN:
        return NotSentError(reason, permanent=True)
    wait = retry_after(error.headers.get("Retry-After"), now)
    return NotSentError(reason, whole_channel=error.code in (429, 503), wait=wait)


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """How long a Retry-After header asks to wait: seconds, or until a date; None where it says nothing readable."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(int(value[:12]), 10**9))
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(until - now, timedelta(0))
