"""A stream of Redis or Valkey: `redis://host:6379/0?stream=news&group=triptych`.

Every fact that must survive is the server's: which entries the group was given, and which of them it has
acknowledged. An entry is acknowledged after its item is committed; what was given and not acknowledged comes again
after a restart, and the store knows it by its key.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field

from triptych.errors import ConfigError, DataError, MissingError
from triptych_finance.sources.parsing import Rules, read_options, read_record, utc_now
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Poll

if TYPE_CHECKING:
    import redis

    from triptych_finance.store.store import Store

SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
TIMEOUT_S = 10.0  # for an answer of the server
BLOCK_S = 2.0  # that one read waits for entries; shorter than the timeout
LONGEST_PAUSE_S = 30.0  # between two tries to reach the server
_FINAL = ("WRONGTYPE", "NOAUTH", "NOPERM", "ERR unknown command")  # answers that waiting will not mend
Entry = tuple[bytes, Mapping[bytes, bytes]]

log = logging.getLogger(__name__)


class StreamOptions(Rules):
    """What may stand behind `?` in the address of a stream."""

    stream: Annotated[str, Field(min_length=1)]
    group: Annotated[str, Field(min_length=1)] = "triptych"
    consumer: str = ""  # this monitor in the group; "": made of the names of machine, source and store
    password_env: str = ""  # the environment variable with the password, where it is not in the address
    claim_after: Annotated[float, Field(gt=0)] = 600.0  # seconds after which a consumer's entries are taken over


class Stream:
    """Entries of one stream through a consumer group: each to one of its consumers, at least once.

    The fields of an entry are those of a record (`text`, `published`, ...); its id is that of the item where there is
    no other. First come the entries that this consumer was given before and has not acknowledged, then those of
    consumers that have been silent for `claim_after` seconds, then new ones, from the beginning of the stream where
    the group is new. While the server is away, which is one problem, polls are empty.
    """

    def __init__(
        self, client: redis.Redis, place: str, *, name: str, options: StreamOptions, store: Store | None = None
    ) -> None:
        self.name = name
        self._client = client
        self._where = f"{place}, stream {options.stream!r}"
        self._options = options
        self._consumer = options.consumer or _consumer_of(name, store)
        self._group_made = False
        self._last: str | None = None  # the cursor of the last poll
        self._given: list[tuple[str, list[bytes]]] = []  # cursors, and the entries of their polls, to be acknowledged
        self._committed: list[bytes] = []  # to be acknowledged as soon as the server is there
        self._own_after: bytes | None = b"0"  # how far our own pending entries were read; None: to their end
        self._claim_after = b"0-0"
        self._next_claim = 0.0
        self._failures = 0
        self._next_try = 0.0
        self._untold: list[str] = []  # problems, for the next poll

    @classmethod
    def open(cls, spec: str, *, name: str, store: Store | None = None) -> Self:
        """The stream of an address. Raises `ConfigError`, and `MissingError` without the package or the password."""
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise MissingError("streams need the package redis: pip install 'triptych[redis]'") from error
        if {"?", "#", "/"} & set(spec.partition("://")[2].rpartition("@")[0]):
            raise ConfigError("the password in the address of a stream must be percent-encoded, or use password_env")
        address, options = read_options(spec, StreamOptions)
        scheme, _, rest = address.partition("://")
        try:
            client = redis.Redis.from_url(
                f"{SCHEMES[scheme.lower()]}://{rest}",
                password=_password(options),
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                # never by itself: entries of an answer that was lost are pending, and a second read would skip them
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        except (KeyError, ValueError):  # whose message may show the password
            known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise ConfigError(f"the address of a stream must be one of {known} with host:port/database") from None
        where = client.connection_pool.connection_kwargs
        place = f"{scheme}://{where.get('host', 'localhost')}:{where.get('port', 6379)}/{where.get('db', 0)}"
        return cls(client, place, name=name, options=options, store=store)

    def poll(self, cursor: str | None, limit: int, wait_s: float) -> Poll:
        """At most `limit` entries. Raises `MissingError` where the server refuses us, `DataError` for no stream."""
        until = time.monotonic() + wait_s
        if (cursor or "") != self._last:
            self._rewind(cursor or "")
        entries: list[Entry] = []
        while limit > 0:
            left = max(0.0, until - time.monotonic())
            entries = self._try(functools.partial(self._read, limit, min(left, BLOCK_S)), left)
            if entries or self._untold or time.monotonic() >= until:
                break
        items, problems, self._untold = [], self._untold, []
        for number, fields in entries:
            entry = self._item(number, fields)
            if isinstance(entry, Item):
                items.append(entry)
            else:
                problems.append(entry)
        self._last = cursor or ""
        if entries:
            self._last = entries[-1][0].decode()
            self._given.append((self._last, [number for number, _ in entries]))
        return Poll(items, self._last, False, problems, answered=not self._failures)

    def acknowledge(self, cursor: str) -> None:
        """Tell the server that all up to the cursor is done; where it is away, the next poll does."""
        position = next((i for i, (given, _) in enumerate(self._given) if given == cursor), None)
        if position is None:
            return
        for _, numbers in self._given[: position + 1]:
            self._committed += numbers
        del self._given[: position + 1]
        self._try(self._confirm, 0.0)

    def close(self) -> None:
        """Close the connection; entries that are not acknowledged stay pending."""
        self._client.close()

    def _rewind(self, cursor: str) -> None:
        """Begin, or begin anew behind an earlier poll: what came after it was not committed."""
        position = next((i for i, (given, _) in enumerate(self._given) if given == cursor), -1)
        del self._given[position + 1 :]
        self._own_after = b"0"

    def _try(self, work: Callable[[], list[Entry]], patience: float) -> list[Entry]:
        """What the work gives; nothing while the server is away."""
        import redis

        pause = self._next_try - time.monotonic()
        if pause > 0:
            time.sleep(min(pause, patience))
            if pause > patience:
                return []
        try:
            self._make_group()
            result = work()
        except redis.AuthenticationError as error:
            raise MissingError(f"{self._where}: the server refuses the password; see password_env") from error
        except redis.RedisError as error:
            self._lost(error)
            return []
        if self._failures:
            log.warning("%s: the server is back", self._where)
        self._failures = 0
        return result

    def _lost(self, error: redis.RedisError) -> None:
        """Note a failure and when to try again. Raises where trying again is of no use."""
        words = str(error)
        if words.startswith("WRONGTYPE"):
            raise DataError(f"{self._where}: something else than a stream has this name") from error
        if words.startswith(_FINAL):
            raise MissingError(f"{self._where}: the server refuses ({words})") from error
        if not self._failures:
            self._untold.append(f"{self._where}: not reachable ({words}); trying again")
        self._failures += 1
        self._next_try = time.monotonic() + min(LONGEST_PAUSE_S, 0.05 * 2.0 ** min(self._failures, 20))
        self._group_made = False
        self._own_after = b"0"  # an answer that was lost may have given us entries

    def _make_group(self) -> None:
        import redis

        if self._group_made:
            return
        try:
            self._client.xgroup_create(self._options.stream, self._options.group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self._group_made = True

    def _read(self, limit: int, block_s: float) -> list[Entry]:
        """Pending entries of our own, then a dead consumer's, then new ones; those in our hands are left out."""
        self._confirm()
        while self._own_after is not None:
            entries = self._ask(self._own_after, limit, 0.0)
            self._own_after = entries[-1][0] if entries else None
            if fresh := self._not_in_hand(entries):
                return fresh
        if time.monotonic() >= self._next_claim and (fresh := self._not_in_hand(self._claim(limit))):
            return fresh
        return self._ask(b">", limit, block_s)

    def _ask(self, after: bytes, limit: int, block_s: float) -> list[Entry]:
        options = self._options
        milliseconds = max(1, int(block_s * 1000)) if block_s > 0 else None  # 0 would be for ever
        answer: Any = self._client.xreadgroup(
            options.group, self._consumer, {options.stream: after}, count=limit, block=milliseconds
        )
        return list(itertools.chain.from_iterable(entries for _, entries in answer or ()))

    def _claim(self, limit: int) -> list[Entry]:
        options = self._options
        answer: Any = self._client.xautoclaim(
            options.stream, options.group, self._consumer, int(options.claim_after * 1000), self._claim_after, limit
        )
        self._claim_after = answer[0]
        self._untold += [self._deleted(number) for numbers in answer[2:] for number in numbers]
        if self._claim_after == b"0-0":  # all pending entries of the group were looked at
            self._next_claim = time.monotonic() + options.claim_after / 2
        return [entry for entry in answer[1] if entry[0] is not None]  # servers before 7.0 give deleted ones too

    def _not_in_hand(self, entries: Sequence[Entry]) -> list[Entry]:
        given: Iterable[bytes] = itertools.chain.from_iterable(numbers for _, numbers in self._given)
        held = {*given, *self._committed}
        return [entry for entry in entries if entry[0] not in held]

    def _confirm(self) -> list[Entry]:
        """Acknowledge what is committed."""
        if self._committed:
            self._client.xack(self._options.stream, self._options.group, *self._committed)
            self._committed.clear()
        return []

    def _deleted(self, number: bytes) -> str:
        return f"{self._where}, entry {number.decode()}: it was deleted from the stream before it was read"

    def _item(self, number: bytes, fields: Mapping[bytes, bytes]) -> Item | str:
        if not fields:
            return self._deleted(number)
        where = f"{self._where}, entry {number.decode()}"
        try:
            values = {key.decode(): value.decode() for key, value in fields.items()}
        except UnicodeDecodeError as error:
            return f"{where}: not UTF-8 (byte 0x{error.object[error.start]:02x})"
        return read_record(
            values, source=self.name, place=where, spare_id=number.decode(), now=utc_now(), rules=self._options
        )


def _consumer_of(name: str, store: Store | None) -> str:
    """The same after a restart, and another one for a monitor with another store on the same machine."""
    where = "" if store is None else store.name if "://" in store.name else os.path.abspath(store.name)
    return f"{socket.gethostname()}-{name}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"


def _password(options: StreamOptions) -> str | None:
    if not options.password_env:
        return None
    if (password := os.environ.get(options.password_env)) is None:
        raise MissingError(f"the environment variable {options.password_env}, which password_env names, is not set")
    return password
