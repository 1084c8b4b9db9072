"""What keeps an alert from being told: silences that an analyst sets, and inhibition by the alert of a sector.

A silence matches by the glob patterns of its `pattern`: `ACME` or `AC*` alone is one for the entity, and
`entity=AC*,sector=tech,direction=negative` names what each is for; all of them must match. An alert on a sector
has the entity `sector:NAME` and the sector NAME.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from triptych.errors import ConfigError, UnknownNameError
from triptych_finance.alerts.lifecycle import KINDS, Alert
from triptych_finance.signal.board import SECTOR
from triptych_finance.store.schema import SilenceRow
from triptych_finance.stream.item import in_utc, storable

if TYPE_CHECKING:
    from triptych_finance.store.transaction import Transaction

MATCHERS = ("entity", "sector", "direction")
_MATCHER = re.compile(rf"\s*({'|'.join(MATCHERS)})\s*=\s*(.*?)\s*")
_SAID = re.compile(r"\s*([A-Za-z_]+)\s*=")


def matchers(pattern: str) -> dict[str, str]:
    """The glob pattern of each matcher in a silence's `pattern`. Raises `ConfigError` or `UnknownNameError`."""
    parts = pattern.split(",")
    found = [_MATCHER.fullmatch(part) for part in parts]
    if not any(found):
        said = _SAID.match(pattern)
        if said and difflib.get_close_matches(said[1].lower(), MATCHERS, n=1):
            raise UnknownNameError("matcher of a silence", said[1], list(MATCHERS))
        if not pattern.strip():
            raise ConfigError("the pattern of a silence is empty; * matches every entity")
        return {"entity": pattern.strip()}
    globs: dict[str, str] = {}
    for part, match in zip(parts, found, strict=True):
        if match is None or not match[2]:
            raise ConfigError(f"{part.strip()!r} in the silence {pattern!r} is not of the form matcher=pattern")
        if match[1] in globs:
            raise ConfigError(f"the silence {pattern!r} gives {match[1]} twice; {match[1]} can have one pattern")
        globs[match[1]] = match[2]
    if "direction" in globs and not any(fnmatchcase(kind, globs["direction"]) for kind in KINDS.values()):
        raise UnknownNameError("direction of an alert", globs["direction"], list(KINDS.values()))
    return globs


def new_silence(
    pattern: str, starts: datetime, ends: datetime, *, analyst: str = "", note: str = "", kind: str = ""
) -> SilenceRow:
    """A silence, checked. Its id follows from its content, so the same one twice is one.

    Raises `ConfigError` for a pattern that means nothing or an end that is not after the start, `UnknownNameError`
    for an unknown matcher or direction and `DataError` for a time without a zone.
    """
    starts, ends = in_utc(starts, "starts"), in_utc(ends, "ends")
    pattern, analyst, note = storable(pattern), storable(analyst), storable(note)
    matchers(pattern)
    if kind and kind not in KINDS.values():
        raise UnknownNameError("direction of an alert", kind, list(KINDS.values()))
    if ends <= starts:
        raise ConfigError(f"the silence {pattern!r} ends at {ends.isoformat()}, which is not after its start")
    content = "\x1f".join((pattern, kind, starts.isoformat(), ends.isoformat(), analyst, note))
    return SilenceRow(hashlib.sha256(content.encode()).hexdigest()[:16], pattern, starts, ends, analyst, note, kind)


def silence(
    tx: Transaction,
    pattern: str,
    starts: datetime,
    ends: datetime,
    *,
    analyst: str = "",
    note: str = "",
    kind: str = "",
) -> SilenceRow:
    """Write a new silence down; errors as `new_silence`."""
    row = new_silence(pattern, starts, ends, analyst=analyst, note=note, kind=kind)
    tx.add_silence(row)
    return row


def is_active(silence: SilenceRow, at: datetime) -> bool:
    """Whether a silence holds at a moment: from its start until just before its end."""
    return silence.starts <= at < silence.ends


def matches(silence: SilenceRow, entity: str, sector: str, kind: str) -> bool:
    """Whether a silence is about such an alert; one whose pattern cannot be read is about none."""
    if silence.kind and silence.kind != kind:
        return False
    try:
        globs = matchers(silence.pattern)
    except (ConfigError, UnknownNameError):
        return False
    values = {"entity": entity, "sector": sector, "direction": kind}
    return all(fnmatchcase(values[name], glob) for name, glob in globs.items())


class Suppression:
    """What is silenced or inhibited at one moment.

    An alert on a sector that is itself silenced inhibits nothing: nobody was told of it.
    """

    def __init__(self, silences: Sequence[SilenceRow], alerts: Iterable[Alert], at: datetime, *, inhibit: bool) -> None:
        self._silences = sorted((s for s in silences if is_active(s, at)), key=lambda s: (s.ends, s.id), reverse=True)
        sectors = [alert for alert in alerts if inhibit and alert.entity.startswith(SECTOR) and alert.firing]
        self._inhibiting = {(a.sector, a.kind): a.id for a in sectors if not self._silenced(a)}

    def reason(self, alert: Alert) -> str:
        """Why an alert is not to be told of now; "" where it is."""
        silenced = self._silenced(alert)
        if silenced or alert.entity.startswith(SECTOR):
            return silenced
        by = self._inhibiting.get((alert.sector, alert.kind))
        return f"inhibited by alert {by} on {SECTOR}{alert.sector}" if by else ""

    def _silenced(self, alert: Alert) -> str:
        for one in self._silences:
            if matches(one, alert.entity, alert.sector, alert.kind):
                who = f" by {one.analyst}" if one.analyst else ""
                why = f": {one.note}" if one.note else ""
                return f"silenced{who} until {one.ends.isoformat()} ({one.id}){why}"
        return ""
