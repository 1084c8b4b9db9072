"""Cutting a text into sentences, in one pass, with the place of each; whatever the text holds, it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST = 60
"""Sentences of a document that are read unless the caller says otherwise: the lead of an article, not its appendix."""
LONGEST = 600
"""Characters of one sentence; what is longer is cut at a blank. Encoders read no more than that anyway."""

_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_HALVES = re.compile("[\ud800-\udfff]")  # of a character outside the basic plane; no encoding can write them
_BLANKS = re.compile(r"\s+")
_VISIBLE = re.compile(f"(?!{_UNSEEN.pattern})\\S")
_WORD = re.compile("[^\\W_]|[\u2600-\u27bf\U0001f000-\U0001faff]")  # a letter, a figure or a pictograph
# where a sentence may end: stops with the quotes and brackets that close behind them, stops of languages without
# blanks, or a line break; a stop inside a word or a number (3.5, example.com) has no blank behind it
_STOP = re.compile(
    r"(?<![.!?\u2026])[.!?\u2026]++['\")\]\u2019\u201d\u00bb]*+(?=\s|$)"
    r"|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d]*|[\n\r\x0b\x0c\x85\u2028\u2029]+"
)
_BEFORE = re.compile(r"([^\W_]+(?:\.[^\W_]+)*)$")  # the word that a stop ends, with stops inside it: "U.S", "e.g"
_PERSON = ("mr", "mrs", "ms", "dr", "prof", "st", "gen", "sen", "rep", "gov", "hon", "capt", "col", "sgt", "messrs")
# never at the end of a sentence
_OPENERS = frozenset({*_PERSON, "vs", "no", "nos", "fig", "approx", "ca", "incl", "excl", "resp", "e.g", "i.e", "cf"})
# may end a sentence: then what follows begins with a capital letter that is not a name's second part
_CLOSERS = (
    "inc corp co ltd llc plc bros dept est jan feb mar apr jun jul aug sept sep oct nov dec mio mrd mn bn etc al jr sr"
    " u.s u.k u.n e.u a.m p.m n.v s.a a.g s.p.a l.p"
)
_MAY_CLOSE = frozenset(_CLOSERS.split())
_AFTER_CLOSER = re.compile(  # words that begin a sentence and no name
    r"(?:The|This|That|These|Those|It|Its|He|She|They|We|You|I|In|On|At|For|From|With|But|And|Yet|However|Shares|Analysts"
    r"|Investors|Sales|Profit|Revenue|Net|Operating|After|Before|While|When|If|As|There|Both|Meanwhile|Last|Earlier"
    r"|According|Despite|Our|His|Her|Their|A|An|No|Not|Now|Since|By|To|So|Some|Many|Most)\b"
)
_BULLET = re.compile(r"(?:[-*\u2022\u25aa\u25cf\u2013\u2014>]|\(?\d{1,2}[.)])\s")
_BREAKS = frozenset("\n\r\x0b\x0c\x85\u2028\u2029")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as it is read, with blanks made single; `start` and `end` are its place in the text it is from."""

    text: str
    start: int
    end: int


def cleaned(text: str) -> str:
    """The text, as long as before, with blanks for control and invisible characters and U+FFFD for broken ones."""
    if text.isascii() and text.isprintable():
        return text
    return _HALVES.sub("\ufffd", _UNSEEN.sub(" ", text))


def sentences(text: str, *, most: int = MOST) -> list[Sentence]:
    """The first `most` sentences; none of a text without any visible character.

    A sentence ends at a stop, at a blank line, or at the end of the first line, which is the headline. It is at most
    `LONGEST` characters long. What lies behind the last sentence asked for is not looked at.
    """
    found: list[Sentence] = []
    spare: list[Sentence] = []
    begin = _first_visible(text)
    # nothing behind this can belong to the sentences asked for, and most of 10 MB need not be cleaned
    window = cleaned(text[begin : begin + (most + 1) * LONGEST])
    for start, end in _spans(window):
        part = window[start:end]
        stripped = part.strip()
        if not stripped:
            continue
        start += len(part) - len(part.lstrip())
        sentence = Sentence(_BLANKS.sub(" ", stripped), begin + start, begin + start + len(stripped))
        # a piece without a letter or figure ("...", "-----") is no sentence beside others that have some
        (found if _WORD.search(sentence.text) else spare).append(sentence)
        if len(found) == most:
            break
    return found or spare[:1]


def _first_visible(text: str) -> int:
    """Where the first character stands that is neither blank nor invisible; at the end of the text where none is."""
    match = _VISIBLE.search(text)
    return len(text) if match is None else match.start()


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """The places of sentences, one behind the other and none longer than `LONGEST`."""
    start, headline = 0, True
    for stop in _STOP.finditer(text):
        end = stop.end()
        if stop.group()[0] in _BREAKS:
            if not _ends_at_break(text, stop, headline and bool(text[start : stop.start()].strip())):
                continue
            headline = False
        elif stop.group()[0] == "." and not _ends_at_stop(text, stop, start):
            continue
        yield from _pieces(text, start, end)
        start = end
    yield from _pieces(text, start, len(text))


def _ends_at_break(text: str, stop: re.Match[str], headline: bool) -> bool:
    """Whether lines are parted here, or one sentence only runs over two of them."""
    behind = text[stop.end() : stop.end() + 40].lstrip(" \t")
    if not behind or behind[0] in _BREAKS or len(stop.group().replace("\r\n", "\n")) > 1 or _BULLET.match(behind):
        return True
    return headline and not behind[0].islower()


def _ends_at_stop(text: str, stop: re.Match[str], start: int) -> bool:
    """Whether a full stop ends a sentence, and not an abbreviation, an initial or the number of an ordinal."""
    if len(stop.group().rstrip("'\")]\u2019\u201d\u00bb")) > 1:
        behind = text[stop.end() : stop.end() + 40].lstrip()
        return not behind[:1].islower()  # "well... no"
    before = _BEFORE.search(text, max(start, stop.start() - 24), stop.start())
    if before is None:
        return True
    word = before.group().casefold()
    if word in _OPENERS and not (word == "no" and _ends_in_no(text, stop)):
        return False
    behind = text[stop.end() : stop.end() + 40].lstrip()
    if not behind:
        return True
    if word in _MAY_CLOSE or ("." in word and len(word) <= 6):
        return _AFTER_CLOSER.match(behind) is not None or behind[0] in "\"'(\u201c\u2018\u00ab"
    if len(word) == 1 and word.isalpha() and before.group().isupper():
        return _AFTER_CLOSER.match(behind) is not None  # "J. Varnholt", but "plan B. The"
    return not behind[0].islower()


def _ends_in_no(text: str, stop: re.Match[str]) -> bool:
    """Whether "no." is the word, and not short for number."""
    return not text[stop.end() : stop.end() + 4].lstrip()[:1].isdigit()


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span, cut at blanks into pieces that are not too long."""
    while end - start > LONGEST:
        blank = text.rfind(" ", start + LONGEST // 2, start + LONGEST)
        cut = start + LONGEST if blank < 0 else blank + 1
        yield start, cut
        start = cut
    if start < end:
        yield start, end
