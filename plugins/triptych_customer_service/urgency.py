"""How urgent a message is, by rules that can be read, and with the reason.

Nothing here is learnt. Points are added up over the customer's own words (what was typed and what was heard, not
what stands in a picture); 2 points or more are high, -1 or less are low. The lists are English with the commonest
words of German, French, Spanish and Chinese.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Level = Literal["low", "normal", "high"]
HIGH_FROM, LOW_TO = 2.0, -1.0


def _any(*phrases: str, chinese: str = "") -> re.Pattern[str]:
    """A pattern for whole words and phrases; Chinese has no blanks, so its words are found anywhere."""
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b" + (f"|{chinese}" if chinese else ""))


SAFETY = _any(
    "smok(?:e|es|ing)", "sparks?", "sparking", "fire", "flames?", "burn(?:s|t|ed|ing)?", "explo(?:ded|sion|des)",
    "(?:electric )?shocks?", "electrocuted", "danger(?:ous)?", "unsafe", "nowhere safe", "injur(?:ed|y|ies)",
    "bleed(?:s|ing)?", "blood", "cut (?:his|her|my|their|our|a) \\w+", "get hurt", "got hurt", "hospital",
    "shattered glass", "chok(?:ed|ing)", "rauch", "funken", "feuer", "verletzt", "gef(?:ä|ae)hrlich", "fum(?:é|e)e",
    "incendie", "bless(?:é|e)e?", "dangereu(?:x|se)", "humo", "fuego", "herid[oa]", "peligros[oa]",
    chinese="着火|冒烟|受伤|危险|触电",
)  # fmt: skip
MONEY_OR_CRIME = _any(
    "overdrawn", "overdraft", "(?:my|the) rent", "bills have to be paid", "stolen", "theft", "thief", "hacked", "fraud",
    "police", "lawyer", "court", "somebody else is in", "changed my password", "ha(?:s|ve) been taken",
    "gestohlen", "betrug", "vol(?:é|e)e?", "robad[oa]",
    chinese="被盗|诈骗",
)  # fmt: skip
LARGE_SUM = re.compile(r"\b(?:[3-9]\d\d|\d{4,}) ?(?:euros?|eur|pounds?|dollars?|€|£|\$)|[€£$] ?(?:[3-9]\d\d|\d{4,})")
DEADLINE = _any(
    "tonight", "midnight", "immediately", "right now", "urgent(?:ly)?", "within the hour", "in one hour", "funeral",
    "wedding", "before (?:mon|tues|wednes|thurs|fri|satur|sun)day", "before it leaves",
    "sofort", "dringend", "urgence", "ahora mismo", "urgente",
    chinese="马上|立刻|紧急",
)  # fmt: skip
SOON = _any(
    "today", "tomorrow", "quickly", "be quick", "asap", "at once", "heute", "morgen", "aujourd'hui", "demain", "hoy",
    chinese="今天|明天",
)  # fmt: skip
PRESSING = _any("need", "must", "ha(?:s|ve) to", "this morning", "arrives?", "leaves?", "close", "party", "books")
LONG_WAIT = _any("(?:30|thirty|40|forty) days", "(?:a|one) month", "months", "losing my patience")
NO_HURRY = _any(
    "no (?:great )?(?:hurry|rush)", "in (?:no|any) (?:hurry|rush)", "not (?:that )?urgent", "not a big deal",
    "whenever (?:it suits )?you", "when you find the time", "(?:just|only) (?:wondering|curious)",
    "at some point i'd", "for (?:later|future)", "small bug", "by any chance", "for now", "keine eile", "sin prisa",
    "pas press(?:é|e)e?",
    chinese="不急",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Urgency:
    """A level, the reason in words, and whether words of danger were among them."""

    level: Level
    reason: str
    safety: bool


def judge_urgency(text: str | None, *, prior: float = 0.0, in_scope: bool = True) -> Urgency:
    """The urgency of the customer's own words. `prior` are the points of the intent."""
    words = (text or "").lower().replace("’", "'")
    points, reasons = prior, []

    def add(pattern: re.Pattern[str], value: float, reason: str) -> bool:
        nonlocal points
        found = pattern.search(words)
        if found:
            points += value
            reasons.append(f"{reason}: {found.group(0).strip()!r}")
        return found is not None

    safety = add(SAFETY, 3, "safety")
    if in_scope:
        add(MONEY_OR_CRIME, 2, "money or crime")
        add(LARGE_SUM, 1.5, "a large sum")
        if not add(DEADLINE, 2, "a deadline") and add(SOON, 1.5, "soon"):
            add(PRESSING, 0.5, "pressing")
        add(LONG_WAIT, 1, "a long wait")
    if re.search(r"[!！]{2,}", text or ""):
        points += 1
        reasons.append("several exclamation marks")
    elif re.search(r"[!！]", text or ""):
        points += 0.5
        reasons.append("an exclamation mark")
    if re.search(r"\b[A-Z]{4,}\b(?:\W+\b[A-Z]{2,}\b)", text or ""):
        points += 1
        reasons.append("capital letters")
    add(NO_HURRY, -3, "no hurry")
    if not in_scope and not safety:
        return Urgency("low", "outside what this service handles", safety)
    level: Level = "high" if points >= HIGH_FROM else "low" if points <= LOW_TO else "normal"
    if prior and level == "high":
        reasons.append("the kind of request")
    return Urgency(level, "; ".join(reasons) if reasons else "nothing that hurries", safety)
