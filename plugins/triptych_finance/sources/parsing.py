"""One raw record, whatever its source, to an `Item`, or to a sentence that says what is wrong with it.

A record has `text`, or `title` and `body`; `published`; and maybe `id`, `entities`, `url`. All else is metadata.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from triptych.config import Section
from triptych.errors import ConfigError, DataError
from triptych_finance.stream.item import Item

KEYS = ("id", "text", "title", "body", "published", "entities", "url")
MEGABYTE = 1 << 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_ID = 500  # bytes; databases limit what stands in an index
LONGEST_TIME = 100  # characters
MOST_METADATA = 1_000_000  # characters of one record
_DIGITS = 32  # of a hash that stands for an id
_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]")
_HALVES = re.compile("[\ud800-\udfff]")  # of a character outside the basic plane; no encoding can write them
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_ZONE_IN_LETTERS = re.compile(r":\d\d\s*\(?([A-Za-z]{2,})\)?(?:\s+\d{4})?$")


class Rules(Section):
    """What every source asks of its records; each may be set in the address of a source, as `?future=clip`."""

    future: Literal["refuse", "clip"] = "refuse"  # an item dated too far ahead: left out, or dated to its arrival
    future_hours: Annotated[float, Field(ge=0)] = 24.0  # how far ahead of its arrival an item may be dated
    max_text_mb: Annotated[float, Field(gt=0, le=64)] = 10.0  # a longer text is left out


RulesT = TypeVar("RulesT", bound=Rules)


def read_options(spec: str, kind: type[RulesT], *, mark: str = "?") -> tuple[str, RulesT]:
    """What stands before and after `mark` in the address of a source: the place, and the options as `kind`.

    Raises `ConfigError` naming each option that is unknown, given twice or has an unusable value.
    """
    place, _, query = spec.partition(mark)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise ConfigError(f"{query!r} are no options: write them as name=value&name=value") from error
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError([f"the option {name!r} of a source is given twice" for name in twice])
    try:
        return place, kind.model_validate(dict(pairs))
    except ValidationError as error:
        known = ", ".join(kind.model_fields)
        raise ConfigError(
            [f"the option {e['loc'][0]!r} of a source: {e['msg']}. Options: {known}" for e in error.errors()]
        ) from error


def read_record(
    values: Mapping[str, Any],
    *,
    source: str,
    place: str,
    spare_id: str,
    now: datetime,
    rules: Rules,
    undated: datetime | None = None,
) -> Item | str:
    """The record as an item that arrives `now`, or a sentence that begins with `place` and names the field.

    `spare_id` is the id of a record without one; `undated` the event time of a record without one (None: a problem).
    """
    try:
        title = " ".join(_text(values, "title").split())
        text = _whole_text(values, title, rules)
        return Item(
            id=_id(values) or spare_id,
            source=source,
            text=text,
            published=_published(values, now, rules, undated),
            arrived=now,
            title=title,
            url=_url(values),
            entities=read_symbols(values.get("entities")),
            metadata=_metadata(values),
        )
    except DataError as error:
        return f"{place}: {error.reason}"


def read_json(text: str | bytes) -> dict[str, Any]:
    """A JSON object. Raises `DataError` for anything else, and for bytes that are not UTF-8."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error.msg} at character {error.pos + 1}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start:,}") from error
    except RecursionError as error:
        raise DataError("not valid JSON: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"must be a JSON object, like {{...}}, not a {type(values).__name__}")
    return values


def read_time(value: Any) -> datetime:
    """A time as UTC: ISO 8601 (a date alone is its midnight), as e-mails and RSS write it (RFC 822), or a datetime.

    A time without a zone is taken as UTC. Raises `DataError`.
    """
    moment = _moment(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise DataError(f"the time {_shown(value)} is outside the calendar") from error
    if moment <= EPOCH:  # what programs write for "no date"; and empty buckets since then would be many
        raise DataError(f"the time {_shown(value)} is not after 1970-01-01")
    return moment


def content_id(values: Mapping[str, Any]) -> str:
    """A hash of the record, for records that bring no id: the same record has the same one wherever it lies."""
    content = json.dumps(values, sort_keys=True, default=str).encode()
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def clean(text: str) -> str:
    """The text without control characters, with character references such as `&amp;` resolved and \\n between lines."""
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = _CONTROLS.sub("", _BREAKS.sub("\n", text))
    return _HALVES.sub("\N{REPLACEMENT CHARACTER}", text).strip()


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= LONGEST_TIME else f"{shown[:LONGEST_TIME]}..."


def _blank(value: Any) -> bool:
    """Whether a cell is empty: nothing, white space, or the NaN that data frames write for nothing."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    if _blank(value):
        return ""
    if not isinstance(value, str):
        raise DataError(f"{key!r} must be a text, not a {type(value).__name__}")
    return clean(value)


def _whole_text(values: Mapping[str, Any], title: str, rules: Rules) -> str:
    raw = sum(len(v) for k in ("text", "title", "body") if isinstance(v := values.get(k), str))
    limit = int(rules.max_text_mb * MEGABYTE)
    text = _text(values, "text") if raw <= limit else ""
    if not text and raw <= limit:
        body = _text(values, "body")
        text = body if body.startswith(title) else f"{title}\n{body}".strip()
    if raw > limit or len(text.encode()) > limit:
        raise DataError(f"the text is longer than {rules.max_text_mb:g} MB (max_text_mb)")
    if not text:
        raise DataError("no text: 'text' is missing or empty, and so are 'title' and 'body'")
    return text


def _id(values: Mapping[str, Any]) -> str:
    value = values.get("id")
    if _blank(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column with gaps becomes float in many tools
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"'id' must be a text or a whole number, not {_shown(value)}")
    cleaned = clean(str(value)).replace("\n", " ")
    if len(cleaned.encode()) > LONGEST_ID:
        raise DataError(f"'id' is longer than {LONGEST_ID} bytes")
    return cleaned


def _published(values: Mapping[str, Any], now: datetime, rules: Rules, undated: datetime | None) -> datetime:
    value = values.get("published")
    if _blank(value):
        if undated is None:
            raise DataError("'published' is missing: when did it appear? For example 2024-05-31T14:00:00Z")
        return undated
    try:
        moment = read_time(value)
    except DataError as error:
        raise DataError(f"'published': {error.reason}") from error
    if moment - now <= timedelta(hours=rules.future_hours):
        return moment
    if rules.future == "clip":
        return now
    ahead = f"more than {rules.future_hours:g} hours ahead of the clock ({now:%Y-%m-%dT%H:%MZ})"
    raise DataError(f"'published' is {moment.isoformat()}, {ahead}; future=clip takes it as of its arrival")


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if not isinstance(value, str):
        raise DataError(f"a time must be written as ISO 8601 or RFC 822, not as a {type(value).__name__}")
    text = value.strip()
    if len(text) > LONGEST_TIME:
        raise DataError(f"{_shown(text)} is no time")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{_shown(text)} is no time; write it as 2024-05-31T14:00:00Z or Fri, 31 May 2024 14:00:00 GMT"
        ) from error
    zone = _ZONE_IN_LETTERS.search(text)
    if moment.tzinfo is None and zone is not None:  # what the parser does not know it would take as UTC
        raise DataError(f"the time zone {zone[1]!r} of {_shown(text)} is ambiguous; write it as +0100")
    return moment


def _url(values: Mapping[str, Any]) -> str:
    """The address where it is one of the web; anything else stays in the metadata."""
    value = values.get("url")
    address = clean(value) if isinstance(value, str) else ""
    return address if re.match(r"https?://\S+$", address) else ""


def read_symbols(value: Any) -> tuple[str, ...]:
    """Symbols from "A|B" or a list (also as JSON in a cell), each once."""
    if _blank(value):
        return ()
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DataError(f"'entities' is no list in JSON: {_shown(value)}") from error
    if isinstance(value, str):
        value = value.split("|")
    if not isinstance(value, list | tuple) or not all(isinstance(symbol, str) for symbol in value):
        raise DataError(f"'entities' must be symbols as A|B or a list of texts, not {_shown(value)}")
    return tuple(dict.fromkeys(symbol for raw in value if (symbol := clean(raw))))


def _metadata(values: Mapping[str, Any]) -> dict[str, str]:
    kept = {key: value for key, value in values.items() if key not in KEYS and not _blank(value)}
    if not _blank(values.get("url")) and not _url(values):
        kept["url"] = values["url"]
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
        for key, value in kept.items()
    }
    if sum(len(key) + len(text) for key, text in texts.items()) > MOST_METADATA:
        raise DataError(f"the fields beside the text are longer than {MOST_METADATA:,} characters")
    return {clean(key): clean(text) for key, text in texts.items()}
