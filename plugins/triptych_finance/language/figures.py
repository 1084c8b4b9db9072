"""What two figures of a sentence say: "EUR 9.1 mn compared to EUR 10.6 mn" is lower, and no word of it says so.

A language model reads digits as pieces of words and does not compare them. Here the amounts that a sentence sets
against each other are compared by arithmetic, and the outcome is added as a word that any text model can learn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

HIGHER, LOWER, UNCHANGED = "higher", "lower", "unchanged"
FARTHEST = 130
"""Characters between two amounts that are set against each other."""
CONTEXT = 70
"""Characters before an amount that may say it is a loss."""

_CURRENCY = (
    r"(?:EUROS?|EUR|USD|SEK|NOK|DKK|EEK|LTL|LVL|GBP|RUB|CHF|CNY|RMB|JPY|INR|CAD|AUD|PLN|"
    r"crowns?|dollars?|roubles?|rubles?|pounds?|yen|yuan|litas|lats|kroons?|zlotys?|\$|€|£|¥)"
)
_SAME = {"euro": "eur", "€": "eur", "$": "usd", "dollar": "usd", "£": "gbp", "pound": "gbp", "¥": "jpy", "yen": "jpy"}
_SCALES = {"thousand": 1e3, "k": 1e3, "m": 1e6, "mn": 1e6, "mln": 1e6, "million": 1e6, "bn": 1e9, "billion": 1e9}
_AMOUNT = re.compile(
    rf"(?P<sign>(?<![\w\d])-\s?|\bminus )?(?P<before>{_CURRENCY})?\s?(?P<inner>-)?"
    # 1,275 and 1 ,275 (as corpora split it) are thousands, 37,7 is a decimal
    r"(?<![\d.,])(?P<number>\d+(?:\s?,\d{3})*(?:\s?\.\d+|,\d{1,2}(?!\d))?|\.\d+)"
    r"(?:\s?(?P<scale>thousand|million|billion|mln|mn|bn|m|k)\b)?"
    r"(?:[\s-]?(?P<percent>%|pct|percent|per cent|percentage points?))?"
    rf"(?:\s?(?P<after>{_CURRENCY})\b)?",
    re.IGNORECASE,
)
_TWO = re.compile(r"\d\D+\d")
_ASIDE = re.compile(r"\([^()]*\)")
_FILLED = (
    r"(?:(?:a|an|the|loss|profit|of|about|some|around|nearly|over|approximately|negative|positive|net|operating)\s+)*"
)
_FROM = re.compile(rf"(?<!range )(?<!ranges )\bfrom\s*{_FILLED}$", re.IGNORECASE)
_TO = re.compile(rf"^[^.;]*?\bto\s*{_FILLED}$", re.IGNORECASE)
_SET = re.compile(r"\b(?:from|compared|versus|vs|against)\b", re.IGNORECASE)
_AGAINST = re.compile(rf"{_SET.pattern}|\b(?:a year earlier|last year|year-earlier)\b", re.IGNORECASE)
_OTHER = re.compile(  # another thing is spoken of, unless it is the same at another time
    r"\b(?:while|whereas|and|but)\b(?! (?:a year|last year|in the (?:corresponding|previous)))", re.IGNORECASE
)
_LOSS = re.compile(r"\b(?:loss(?:es)?|deficit)\b", re.IGNORECASE)
_GAIN = re.compile(r"\b(?:profits?|gains?|income|earnings|surplus)\b", re.IGNORECASE)
_BELOW = re.compile(r"\b(?:negative|minus)\s*$", re.IGNORECASE)
_BEHIND = re.compile(r"\s?(?:net |operating )?(loss|profit)\b", re.IGNORECASE)
_END = re.compile(r"[;!?]|\s\.\s")


@dataclass(frozen=True, slots=True)
class Amount:
    """A figure in a text: `value` with its scale and sign; `kind` is "%", a currency in small letters, or empty."""

    value: float
    kind: str
    scale: float  # 1 where none is written
    start: int
    end: int


def comparisons(text: str) -> list[tuple[Amount, str]]:
    """The amounts that a text sets against the one before, in its order, each with how the new stands to the old.

    The amount is the one that stands second in the text, the word is `HIGHER`, `LOWER` or `UNCHANGED`. A loss is less
    than nothing, so that a smaller loss is higher. What is not clear is left out: other currencies, two subjects.
    """
    if _TWO.search(text) is None:
        return []
    plain = _ASIDE.sub(lambda aside: " " * len(aside.group()), text)
    found = _without_translations(list(_amounts(plain)), plain)
    results = []
    for first, second in pairwise(found):
        between = plain[first.end : second.start]
        if len(between) > FARTHEST or _END.search(between) or not _alike(first, second):
            continue
        before = plain[max(0, first.start - CONTEXT) : first.start]
        one, two = _signed(first, second, before, between, plain[second.end :])
        if _FROM.search(before) and _TO.match(between) and not _SET.search(between):
            change = two - one
        elif _AGAINST.search(between) and not _OTHER.search(between):
            change = one - two
        else:
            continue
        results.append((second, HIGHER if change > 0 else LOWER if change < 0 else UNCHANGED))
    return results


def with_comparisons(text: str) -> str:
    """The text with the outcome of each comparison behind its second amount: "... to EUR 10.6 mn ( lower ) ..."."""
    pieces, place = [], 0
    for amount, word in comparisons(text):
        pieces += [text[place : amount.end], f" ( {word} )"]
        place = amount.end
    return "".join([*pieces, text[place:]])


def _amounts(text: str) -> Iterator[Amount]:
    for match in _AMOUNT.finditer(text):
        number = re.sub(r",(?=\d{1,2}(?!\d))", ".", match["number"].replace(" ", "")).replace(",", "")
        value = float(number)
        currency = (match["before"] or match["after"] or "").casefold()
        currency = currency if len(currency) == 3 else currency.removesuffix("s")
        kind = "%" if match["percent"] else _SAME.get(currency, currency)
        if not kind and not match["scale"] and "." not in number and (value < 100 or 1900 <= value <= 2100):
            continue  # a day, a year, a count of months
        scale = _SCALES.get((match["scale"] or "").casefold(), 1.0)
        sign = -1.0 if match["sign"] or match["inner"] else 1.0
        yield Amount(sign * value * scale, kind, scale, match.start(), match.end())


def _without_translations(amounts: list[Amount], text: str) -> list[Amount]:
    """Without the same sum in another currency right behind: "EUR 300,000 USD 385,000"."""
    kept: list[Amount] = []
    for amount in amounts:
        if kept and not text[kept[-1].end : amount.start].strip(" ,/-") and kept[-1].kind != amount.kind != "%":
            continue
        kept.append(amount)
    return kept


def _alike(first: Amount, second: Amount) -> bool:
    if "%" in (first.kind, second.kind):
        return first.kind == second.kind
    return not (first.kind and second.kind) or first.kind == second.kind


def _signed(first: Amount, second: Amount, before: str, between: str, behind: str) -> tuple[float, float]:
    """Both values, losses negative.

    "A loss of 3 compared to 5": what is said of the first holds for the second unless something else is said. "A
    negative 3 compared to 5" says something of that number alone.
    """
    loss, gain = _last(_LOSS, before), _last(_GAIN, before)
    one = -1.0 if loss > gain else 1.0
    two = -1.0 if _LOSS.search(between) else 1.0 if _GAIN.search(between) else one
    if after := _BEHIND.match(behind):
        two = -1.0 if after[1].casefold() == "loss" else 1.0
    one = -1.0 if _BELOW.search(before) else one
    two = -1.0 if _BELOW.search(between) else two
    return one * _scaled(first, second), two * _scaled(second, first)


def _last(pattern: re.Pattern[str], text: str) -> int:
    """Where the last match begins; -1 without any."""
    return max((match.start() for match in pattern.finditer(text)), default=-1)


def _scaled(amount: Amount, other: Amount) -> float:
    """The value, in the other's scale where none is written: "to 4.7 from 4.6 mn"."""
    missing = amount.scale == 1.0 and other.scale > 1.0 and abs(amount.value) < 1_000 and amount.kind != "%"
    return amount.value * other.scale if missing else amount.value
