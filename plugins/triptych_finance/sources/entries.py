"""What stands in an RSS or Atom document, as records."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

from triptych_finance.sources.fetch import Answer
from triptych_finance.sources.parsing import LONGEST_ID

_BLOCKS = frozenset(
    {"p", "div", "br", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote"}
)


def parse_document(answer: Answer) -> Any:
    """The document as feedparser reads it, or what is wrong with it."""
    import feedparser

    # without the address of the document, against which feedparser would resolve ids as well as links
    headers = {"content-type": answer.content_type}
    try:
        # as a file object: a text would be opened where it looks like an address or the name of a file
        return feedparser.parse(io.BytesIO(answer.body), response_headers=headers)
    except Exception as error:  # its loose parser gives up in many ways, and no document may stop the monitor
        return f"the document cannot be read ({type(error).__name__}: {error})"


def matters(error: Any) -> bool:
    """Whether a complaint of feedparser is about the content, not about a header."""
    from feedparser.exceptions import ThingsNobodyCaresAboutButMe

    return not isinstance(error, ThingsNobodyCaresAboutButMe)


def record_of(entry: Any, url: str) -> dict[str, Any]:
    """An entry of feedparser as a record; its link is resolved against `url`."""
    bodies = [_plain(detail) for detail in (*entry.get("content", ()), entry.get("summary_detail")) if detail]
    identity, link = (str(entry.get(key) or "").strip() for key in ("id", "link"))
    if link == identity and not link.startswith(("http://", "https://")):
        link = ""  # feedparser takes any guid for a link unless the feed denies it
    identity = identity or link
    if len(identity.encode("utf-8", "replace")) > LONGEST_ID:
        identity = hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()
    tags = "|".join(str(tag.get("term")) for tag in entry.get("tags", ()) if tag.get("term"))
    return {
        "id": identity,
        "title": _plain(entry.get("title_detail") or {}),
        "body": max(bodies, key=len, default=""),
        "published": entry.get("published") or entry.get("updated"),
        "url": _resolved(link, url),
        "author": entry.get("author"),
        "categories": tags,
    }


def _resolved(link: str, url: str) -> str:
    try:
        return urljoin(url, link) if link else ""
    except ValueError:  # no address at all
        return link


def _plain(detail: Any) -> str:
    """The words of a piece of text or HTML."""
    value = str(detail.get("value") or "")
    if detail.get("type") == "text/plain" or "<" not in value:
        return value
    reader = _Words()
    try:
        reader.feed(value)
        reader.close()
    except AssertionError:  # how the parser of Python meets a <![section[ that it does not know
        return re.sub(r"<[^>]*>", " ", value)
    return "\n".join(line for line in reader.lines() if line)


class _Words(HTMLParser):
    """Collects the words of HTML, with a new line where a block begins or ends."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._hidden = 0  # open elements whose content is not for readers

    def lines(self) -> Iterator[str]:
        """The lines, white space drawn together."""
        for line in "".join(self._parts).split("\n"):
            yield " ".join(line.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style")
        if tag in _BLOCKS:
            self._parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0
        if tag in _BLOCKS:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._parts.append(data.replace("\n", " "))
