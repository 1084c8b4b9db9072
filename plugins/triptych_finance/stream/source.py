"""Where items come from: the protocol of a source, and opening one by its address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from triptych.errors import ConfigError
from triptych.host import Host, default_host
from triptych_finance.stream.item import Item

if TYPE_CHECKING:
    from triptych_finance.store.store import Store

KIND = "source"  # of the parts that are sources, each named after its scheme
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_USER = re.compile(r"(?<=//)[^/?#@]*(?:@[^/?#@]*)*@")
_SECRET = re.compile(r"(?i)([?&][^=&#]*(?:password|passwd|secret|token|key|auth|sig)[^=&#]*=)[^&#]*")


@dataclass(frozen=True, slots=True)
class Poll:
    """What one call of `Source.poll` found.

    `cursor` is the place behind all of it, problems included; `problems` name file, row or entry, and stand for
    entries that were passed over; `ended` says that nothing will ever follow. Not `answered`: where the items come from
    does not answer just now, so that there may be some.
    """

    items: list[Item]
    cursor: str
    ended: bool
    problems: list[str]
    answered: bool = True


@runtime_checkable
class Source(Protocol):
    """A stream of items. A cursor is a text that the source makes and only it understands.

    The class of a part of kind "source" also has `open(spec, *, name, store) -> Source` as a class method.
    """

    name: str

    def poll(self, cursor: str | None, limit: int, wait_s: float) -> Poll:
        """At most `limit` entries after the cursor (None: from the start), in the source's own order.

        Blocks up to `wait_s` seconds while there is nothing.
        """
        ...

    def acknowledge(self, cursor: str) -> None:
        """Everything up to the cursor is committed: the source may forget it."""
        ...

    def close(self) -> None:
        """Let go of files, connections and threads."""
        ...


def open_source(spec: str, *, name: str | None = None, host: Host | None = None, store: Store | None = None) -> Source:
    """The source behind an address such as `replay:news.csv` or `redis://host:6379/0?stream=news&group=triptych`.

    Its name, under which the store keeps its items and its cursor, is `name`, or else the address without secrets.
    Raises `ConfigError` for an address without a scheme, `UnknownNameError` for a scheme that no plugin offers, and
    what the source raises.
    """
    found = _SCHEME.fullmatch(spec)
    if found is None:
        raise ConfigError(
            f"{without_secrets(spec)!r} is no address of a source: write its kind first, as replay:news.csv"
        )
    host = host or default_host()
    kind = host.load_part(KIND, found[1].lower())
    source: Source = kind.open(spec, name=name or without_secrets(spec), store=store)
    return source


def without_secrets(spec: str) -> str:
    """An address as it may be printed: no user and password, no values of keys that sound secret."""
    return _SECRET.sub(r"\1***", _USER.sub("", spec))
