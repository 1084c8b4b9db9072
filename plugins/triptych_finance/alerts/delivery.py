"""Delivery: notices out of the store, to their channels, at least once and in order.

A notice is marked as sent after it was, so a process that is killed in between sends it again, with the same id:
receivers tell the second by it (the header Idempotency-Key, the Message-ID of a mail, "id" in the log's file). The
notices of one group of alerts reach a channel in the order in which they were made; while one waits to be tried
again, later ones of its group wait too. All that waits is in the store: memory holds one page of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from triptych.errors import ConfigError
from triptych_finance.alerts.settings import Channels
from triptych_finance.store.schema import NoticeRow
from triptych_finance.store.store import Store
from triptych_finance.store.transaction import Transaction

log = logging.getLogger(__name__)
alert_log = logging.getLogger("triptych_finance.alerts")

PAGE = 50  # notices in memory
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=10)
LONGEST_ASKED = timedelta(days=1)  # what a receiver may ask for by Retry-After
GIVE_UP_AFTER = timedelta(days=7)  # of trying
_TAIL = 1 << 20  # bytes at the end of the log's file that are looked at for its last line


class NotSentError(Exception):
    """A notice was not taken.

    `permanent`: trying again will not help. `whole_channel`: nothing else would be taken now either. `wait`: how long
    the receiver asks to wait.
    """

    def __init__(
        self, reason: str, *, permanent: bool = False, whole_channel: bool = False, wait: timedelta | None = None
    ) -> None:
        super().__init__(reason)
        self.permanent, self.whole_channel, self.wait = permanent, whole_channel, wait


class Channel(Protocol):
    """Where notices go."""

    def send(self, notice: NoticeRow, now: datetime) -> None:
        """Hand a notice over. Raises `NotSentError`."""
        ...


class LogChannel:
    """Notices as warnings of the log and, where there is a path, as lines of a JSONL file.

    A line whose notice could not be marked as sent is not written again: it is the file's last.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def send(self, notice: NoticeRow, now: datetime) -> None:
        """Write it down. Raises `NotSentError` where the file cannot be written."""
        if self.path is not None:
            line = json.dumps({**notice.payload, "id": notice.id, "sent": now.isoformat()}, ensure_ascii=False) + "\n"
            try:
                self._append(self.path, notice.id, line.encode())
            except OSError as error:
                raise NotSentError(f"{self.path} cannot be written: {error}", whole_channel=True) from error
        alert_log.warning("%s\n%s", notice.payload.get("subject", notice.id), notice.payload.get("text", ""))

    def _append(self, path: Path, notice: str, line: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            whole, newline, torn = file.read().rpartition(b"\n")
            if torn:  # a process was killed while it wrote
                file.truncate(size - len(torn))
            if newline and _id_of(whole.rpartition(b"\n")[2]) == notice:
                return
            file.seek(0, os.SEEK_END)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one round did: notices that were sent, that wait, that were refused for good, that have no channel."""

    sent: int = 0
    failed: int = 0
    refused: int = 0
    unknown: int = 0


class Deliverer:
    """Sends what is due. One at a time for a store; it may run in a thread of its own."""

    def __init__(
        self,
        store: Store,
        channels: Mapping[str, Channel],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store, self.channels, self.clock = store, dict(channels), clock

    def run_once(self, limit: int = 1000) -> Delivered:
        """Try what is due now, at most `limit` notices. Raises what the store raises; nothing is lost by that."""
        start = self.clock()
        counts = dict.fromkeys(("sent", "failed", "refused", "unknown"), 0)
        down: dict[str, tuple[datetime, str]] = {}  # channel: until when it is left alone, and why
        while sum(counts.values()) < limit:
            with self.store.transaction() as tx:
                page = tx.due_notices(start, PAGE)
                for notice in page:
                    if notice.channel in down:
                        _put_off(tx, notice, *down[notice.channel])
            waiting = [notice for notice in page if notice.channel not in down]
            if not page:
                break
            for notice in waiting[: limit - sum(counts.values())]:
                if notice.channel not in down:
                    counts[self._deliver(notice, down)] += 1
        return Delivered(**counts)

    def _deliver(self, notice: NoticeRow, down: dict[str, tuple[datetime, str]]) -> str:
        """Send one notice and write down what came of it. Returns what to count it as."""
        now, channel = self.clock(), self.channels.get(notice.channel)
        if channel is None:
            down[notice.channel] = now + LONGEST_WAIT, f"no channel {notice.channel!r} is configured"
            with self.store.transaction() as tx:
                _put_off(tx, notice, *down[notice.channel])
            log.warning("notices wait for the channel %r, which is not configured", notice.channel)
            return "unknown"
        with self.store.transaction() as tx:
            earlier = _earlier(tx, notice)
            if earlier is not None and earlier.next_try is not None and notice.next_try is not None:
                later = earlier.next_try if earlier.next_try > notice.next_try else now + FIRST_WAIT
                _put_off(tx, notice, later, f"waits for notice {earlier.id}")
                return "failed"
        attempts = notice.attempts + 1
        try:
            channel.send(notice, now)
        except NotSentError as error:
            return self._failed(notice, attempts, error, down)
        with self.store.transaction() as tx:
            tx.set_notice(notice.id, attempts=attempts, next_try=None, sent=now)
        return "sent"

    def _failed(
        self, notice: NoticeRow, attempts: int, error: NotSentError, down: dict[str, tuple[datetime, str]]
    ) -> str:
        now, reason = self.clock(), str(error)
        given_up = not error.permanent and waited(notice.id, attempts) >= GIVE_UP_AFTER
        if given_up:
            reason = f"given up after {attempts} attempts: {reason}"
        over = error.permanent or given_up
        again = now + max(backoff(notice.id, attempts), min(error.wait or timedelta(0), LONGEST_ASKED))
        with self.store.transaction() as tx:
            tx.set_notice(notice.id, attempts=attempts, next_try=None if over else again, error=reason)
        if error.whole_channel:
            down[notice.channel] = again, reason
        log.log(
            logging.ERROR if over else logging.WARNING,
            "notice %s was not sent to %s: %s", notice.id, notice.channel, reason,
        )  # fmt: skip
        return "refused" if over else "failed"


def backoff(notice: str, attempts: int) -> timedelta:
    """How long to wait after so many attempts: twice as long each time, less a part that differs between notices."""
    longest = min(LONGEST_WAIT, FIRST_WAIT * (1 << min(attempts - 1, 20)))
    digest = hashlib.sha256(f"{notice}\x1f{attempts}".encode()).digest()
    return longest * (0.5 + 0.5 * int.from_bytes(digest[:4]) / 2**32)


def waited(notice: str, attempts: int) -> timedelta:
    """How long a notice has been tried at least, when so many attempts have failed."""
    growing = min(attempts - 1, 8)
    total = sum((backoff(notice, n) for n in range(1, growing + 1)), timedelta(0))
    return total + LONGEST_WAIT / 2 * (attempts - 1 - growing)


def open_channels(settings: Channels, environment: Mapping[str, str] | None = None) -> dict[str, Channel]:
    """The channels by the names that notices carry.

    Raises `ConfigError` naming the key of each environment variable that is not set, or of a folder that is missing.
    """
    from triptych_finance.alerts.mail import MailChannel
    from triptych_finance.alerts.webhook import WebhookChannel

    environment = os.environ if environment is None else environment
    problems: list[str] = []

    def secret(variable: str | None, key: str) -> str:
        value = environment.get(variable, "") if variable else ""
        if variable and not value:
            problems.append(f"vertical.alerts.channels.{key}: the environment variable {variable} is not set")
        return value

    channels: dict[str, Channel] = {}
    if settings.log.enabled:
        channels["log"] = LogChannel(Path(settings.log.path).expanduser() if settings.log.path else None)
    for name, hook in settings.webhook.items():
        channels[f"webhook:{name}"] = WebhookChannel(hook, secret(hook.secret_env, f"webhook.{name}.secret_env"))
    for name, mail in settings.email.items():
        user = secret(mail.user_env, f"email.{name}.user_env")
        password = secret(mail.password_env, f"email.{name}.password_env")
        channels[f"email:{name}"] = MailChannel(mail, user, password)
    if problems:
        raise ConfigError(problems)
    return channels


def _put_off(tx: Transaction, notice: NoticeRow, until: datetime, reason: str) -> None:
    tx.set_notice(notice.id, attempts=notice.attempts, next_try=until, error=reason)


def _earlier(tx: Transaction, notice: NoticeRow) -> NoticeRow | None:
    """The notice before this one in its group and channel, where it is still to be sent."""
    before = notice.payload.get("after")
    if not before:
        return None
    alert, key = before
    found = [row for row in tx.notices(alert) if row.id == key and row.sent is None and row.next_try is not None]
    return found[0] if found else None


def _id_of(line: bytes) -> str:
    try:
        return str(json.loads(line)["id"])
    except (ValueError, TypeError, KeyError):
        return ""
