"""What a text says to the letter: its words without dress, and the facts that vectors blur.

"Profit rose 5 %" and "profit fell 7 %" have nearly the same vector. Numbers, words of direction and denial, and
tickers are compared as they stand. The lists are English.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import NamedTuple

_LEAVES_OUT = 0.2  # share of the numbers that a copy may leave out

_ADDRESS = re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE)
_SENDER = re.compile(r"(?:rt\b[\s:]*)?(?:@\w+[\s:]*)*")
_WORD = re.compile(r"(?<![\w.,])[+-]?\d[\d.,]*%?|[^\W\d_]+(?:'[a-z]+)?|\w+|[$€£]")
_NUMBER = re.compile(
    r"(?<![\w.,])(-?)(\d[\d.,]*)\s?"
    r"(%|(?:per ?cent|percent|pct|bps?|k|thousand|mn?|mln|million|bn?|billion|tn|trillion)\b)?"
)
_UNITS = {
    "percent": "%", "per cent": "%", "pct": "%", "bps": "bp", "thousand": "k", "mn": "m", "mln": "m", "million": "m",
    "bn": "b", "billion": "b", "trillion": "tn",
}  # fmt: skip
_TICKER = re.compile(r"\$\s?([A-Za-z]{1,6})\b|\(([A-Z]{2,5})\)|\b[A-Z]{2,8}:\s?([A-Z]{1,5})\b")
_MARKS = {
    "+": "up rise rises rose risen rising gain gains gained climb climbs climbed jump jumps jumped surge surges surged "
    "soar soars soared rally rallies rallied higher increase increases increased grow grows grew beat beats raise "
    "raises raised upgrade upgrades upgraded outperform buy bullish profit wins won strong",
    "-": "down fall falls fell fallen falling drop drops dropped slip slips slipped slide slides slid plunge plunges "
    "plunged sink sinks sank tumble tumbles tumbled lower decline declines declined decrease decreases decreased "
    "shrink shrinks shrank miss misses missed cut cuts downgrade downgrades downgraded underperform sell bearish loss "
    "losses loses lost weak",
    "not": "not no never without deny denies denied reject rejects rejected cannot isn't doesn't don't didn't won't",
}
_MARK_OF = {word: mark for mark, words in _MARKS.items() for word in words.split()}


class Facts(NamedTuple):
    """`marks` are directions, denials, tickers and the entities found elsewhere."""

    numbers: frozenset[str]
    marks: frozenset[str]

    @property
    def lenient(self) -> bool:
        """Whether there are so many numbers that a copy may leave one out."""
        return len(self.numbers) * _LEAVES_OUT >= 1

    def agree(self, other: Facts) -> bool:
        """Whether one may be a copy of the other: equal marks, and of the numbers all, or nearly all."""
        if self.marks != other.marks:
            return False
        few, many = sorted((self.numbers, other.numbers), key=len)
        return few <= many and len(many) - len(few) <= _LEAVES_OUT * len(many)


def read(text: str, entities: Collection[str] = ()) -> tuple[str, Facts]:
    """A text's words and numbers in lower case, without addresses, senders and punctuation; and its facts.

    `entities` are those that were found in it.
    """
    plain = _plain(text)
    lower = plain.lower()
    sender = _SENDER.match(lower)
    words = [word.rstrip(".,") for word in _WORD.findall(lower, sender.end() if sender else 0)]
    marks = {_MARK_OF[word] for word in words if word in _MARK_OF}
    marks |= {"$" + "".join(found).upper() for found in _TICKER.findall(plain)}
    marks |= {f"={name}" for name in entities}
    numbers = frozenset(_number(*found) for found in _NUMBER.findall(lower))
    return " ".join(words) or " ".join(text.split()), Facts(numbers, frozenset(marks))


def _plain(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("−", "-")
    return _ADDRESS.sub(" ", text).strip()


def _number(sign: str, digits: str, unit: str) -> str:
    """A number in one form: 1,200 as 1200, and 5.0 percent as 5%."""
    whole, _, fraction = digits.rstrip(".,").replace(",", "").partition(".")
    fraction = fraction.rstrip("0")
    return f"{sign}{whole.lstrip('0') or '0'}{'.' + fraction if fraction else ''}{_UNITS.get(unit, unit)}"
