"""Whether a piece of a sentence says something, as a clause does, or is only a list or a phrase. English."""

from __future__ import annotations

import re
from collections.abc import Iterator

# verbs of the business pages; those that are nouns far more often (share, order, deal, bid) are left out, and so are
# those of saying, which end sentences ("..., analysts said") without being news
_REGULAR = """
abandon accelerate acquire add adjust admit advance affirm agree aim announce appoint approve attract avert avoid
award back ban benefit blame block boom boost borrow bounce break brighten build call cancel chase cheer circle claim
clear climb clinch close collapse complete concede confirm continue convert crash cross cure decide decline default
defeat defend defer delay deliver deny depart dip disappoint dismiss dispute dive divest dominate double downgrade
drag drop dump earn ease eclipse elect emerge end enjoy enter exceed exit expand expect extend face fail falter fetch
file fine finish fire flag flood fold force gain grant grapple grumble guide halt halve help hike hire hope idle
impress improve increase inflate issue join jump keep lag land languish launch lead leak leap lift limp list lower
maintain manage match melt merge miss move name narrow near need nosedive obtain open oust outbid outpace outperform
outsell outshine overpay overtake own pass pause pay pick pile plan please pledge plummet plunge poach post postpone
praise predict prepare prevail publish pull pursue push raise rally ramp reach reap rebound recall recover reduce
refinance refuse regain register reject release rely remain remove reopen repay replace report require rescue resign
resist resume retain retire retreat return revamp revive reward rocket sack sag save scale scrap secure seek seize
select separate serve settle shed shelve shine shrink shut sideline signal sink skid skip slash slide slip slow slump
snatch soar spike split stabilise stabilize stage stall start stay stem step stick stop storm strengthen stretch
strike struggle stumble succeed sue suffer supply surge surpass surprise survive suspend swell swing take target
tender threaten throttle tighten top topple total track trail trim trounce try tumble turn undercut unveil upgrade
uphold urge wait walk warn weaken weather welcome widen win withdraw worry worsen write
"""
_OTHERS = """
is are was were be been being am has have had having do does did will would can cannot could may might must shall
should isn aren wasn weren hasn haven hadn doesn didn won wouldn couldn became become becomes began begin begins begun
bore bought bounced bring brings brought broke broken buy buys built buying selling beating winning bleeding came come
comes coming chose chosen choose chooses cost costs cut cuts cutting drew draws dug fall fallen falls falling fell
felt fled found gave get gets getting give given gives giving go goes going gone got grew grow growing grown grows
held hit hits hold holding holds hurt hurts kept knew know knows laid leave leaves leaving led left lend let lets lies
lose loses losing lost lay made make makes making mean means met put puts quit quits ran rise risen rises rising rose
run running runs rode sank sees saw seen sell sells sent send sends set sets shook shrank shrunk shut shuts sold spent
spend spends split stands stood stole stolen struck swung taken takes taking took thrived tore trades undercut upheld
went win wins withdrew withdrawn wound writes wrote written
"""
# what stands where a verb would in headlines: "Torvenna up 4 %, Skelvoort under pressure"
_STATES = """
up down higher lower flat unchanged ahead behind ablaze bankrupt insolvent profitable red black upbeat downbeat
bullish bearish stronger weaker better worse best worst short under above below stuck strong weak
"""
_NO_VERBS = """
accounts analysts assets bonds brands buyers clients costs creditors customers deals deposits drugs earnings employees
engineers executives exports figures forecasts founders holders imports investors jobs lawyers lenders losses managers
margins models news numbers offices orders owners partners patents peers plans plants prices products profits
prospects ratings results rivals sales sellers shareholders shares shoppers sites staffers stocks stores suppliers
systems talks targets trains troubles unions units users volumes works workers
"""
_MOVED = re.compile("(?<![\\w.])[+\\-\u2212]\\s?\\d")  # "+4 %"
_WORDS = re.compile(r"[^\W\d_]+")
_PLURALS = frozenset(_NO_VERBS.split())


def _forms(verb: str) -> Iterator[str]:
    """The forms of a regular verb, with and without the last consonant doubled: one too many harms nobody."""
    yield verb
    yield verb + "es" if verb.endswith(("s", "sh", "ch", "x", "z")) else verb + "s"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        yield from (verb[:-1] + "ies", verb[:-1] + "ied")
    stem = verb.removesuffix("e")
    yield from (stem + "ed", stem + "ing", stem + stem[-1] + "ed", stem + stem[-1] + "ing")


PREDICATES = frozenset(form for verb in _REGULAR.split() for form in _forms(verb)) | {
    *_OTHERS.split(),
    *_STATES.split(),
}


def says_something(text: str, named_until: int = -1) -> bool:
    """Whether the words hold a verb, or what headlines put in its place.

    `named_until` is where a company's name ends in the text: a word in -s right behind it is taken for its verb
    ("Torvenna outfoxes ...").
    """
    if _MOVED.search(text):
        return True
    for match in _WORDS.finditer(text):
        word = match.group().lower()
        if word in PREDICATES or (len(word) > 4 and word.endswith("ed")):
            return True
        behind_name = match.start() == named_until + 1 and text[named_until] == " "
        if behind_name and len(word) > 3 and word.endswith("s") and not word.endswith("ss") and word not in _PLURALS:
            return True
    return False
