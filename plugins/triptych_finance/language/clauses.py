"""Which words of a sentence speak of which company, where it names several. Rules for English, without a parser.

"Torvenna beats forecasts; Skelvoort misses them" is good for one and bad for the other. A sentence is cut where one
company ends to be spoken of and another begins. Within a clause, a company that stands against the one it is about
("wins a contract from Skelvoort") is marked as opposed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from triptych_finance.language.entities import Mention
from triptych_finance.language.predicates import says_something


@dataclass(frozen=True, slots=True)
class Clause:
    """Words that speak of `symbols`; of those in `opposed` they say the contrary."""

    text: str
    symbols: tuple[str, ...]
    opposed: tuple[str, ...] = ()


# contrast parts two companies if something is said of each; a comma or an "and" needs a verb on both sides
_STRONG = (
    r"\s*;\s*|\s+(?:--?|\u2013|\u2014|\||/)\s+|\u2014|\s*(?:\.{3}|\u2026)\s+"
    r"|,?\s*\b(?:but|while|whilst|whereas|although|even though|though|even as|despite|in spite of|however|meanwhile"
    r"|by contrast|in contrast(?! to)|on the other hand)\b,?\s*"
)
_WEAK = (
    r",\s+(?:(?:and|so|yet|as|after|before|when|since|because|until|with)\s+)?(?!(?:which|who|whose|whom|where)\b)"
    r"|\s+(?:and|yet|as|after|before|when|since|because|until|so)\s+"
)
_CUT = re.compile(rf"(?P<strong>{_STRONG})|(?P<weak>{_WEAK})", re.IGNORECASE)
_OPENING = re.compile(r"^\W*(?:while|whilst|whereas|although|even though|though|as|after|before|when|since)\b", re.I)
_RELATIVE = re.compile(r",?\s+(?:which|whose|who)\b", re.IGNORECASE)
_EDGES = re.compile(
    r"^(?:[\s,;:\u2013\u2014|/-]+"
    r"|(?:but|while|whilst|whereas|although|even though|though|and|yet|as|however|meanwhile)\b)+"
    r"|[\s,;:\u2013\u2014|/-]+$",
    re.IGNORECASE,
)
_FILLERS = "not nor no also too either neither and or only just even the a an its rival"
_WORD = re.compile(r"[^\W_]+")

# between one company and another that stands against it; what describes the second may come before its name
_DESCRIBED = (
    r"(?:(?:the|its|their|his|a|an|arch|rivals?|competitors?|peers?|old|big|bigger|small|smaller|larger|local)[\s-]+)*$"
)
_TAKE = r"\b(?:take|win|poach|snatch|steal|grab|lure|seize|captur|wrest|gain|prise|pry|woo|won|took|taken|stole|hire)"
_LOSE = r"\b(?:los|cede|ceding|concede|conceding|hand|surrender|yield|forfeit|give|giving|gave|lost)"
_BEAT = (
    r"\b(?:beat(?:s|en|ing)?|defeat(?:s|ed|ing)?|outbid(?:s|ding)?|outsell(?:s|ing)?|outsold|outperform(?:s|ed|ing)?"
    r"|outpac(?:es?|ed|ing)|outshin(?:es?|ing)|outshone|overtak(?:es?|en|ing)|overtook|surpass(?:es|ed|ing)?"
    r"|eclips(?:es?|ed|ing)|undercut(?:s|ting)?|trounc(?:es?|ed|ing)|displac(?:es?|ed|ing)|replac(?:es?|ed|ing)"
    r"|oust(?:s|ed|ing)?|dethron(?:es?|ed|ing)|unseat(?:s|ed|ing)?|edg(?:es?|ed|ing) out|leapfrog(?:s|ged|ging)?)"
)
_AGAINST = re.compile(
    r"(?:\b(?:unlike|instead of|rather than|in contrast to|at the expense of|at the cost of|to the detriment of"
    r"|ahead of rival|and not|but not|not"
    r"|(?:better|worse|faster|slower|stronger|weaker|cheaper|dearer|more|less) than)\s+"
    r"|\b(?:prevail|win|won|triumph|victory|prefer|chose|pick|lead|advantage|edge|select)\w*\b[^,;]{0,60}?\bover\s+"
    rf"|{_TAKE}\w*\b[^,;]{{0,80}}?\bfrom\s+"
    rf"|{_LOSE}\w*\b[^,;]{{0,80}}?\bto\s+"
    rf"|{_BEAT}\s+"
    rf"|{_BEAT}\s+by\s+"
    r"|\b(?:must pay|to pay|pays?|paid|owes?)\s+"  # "must pay Drossmark damages"
    r"|\b(?:contract|order|tender|licen[cs]e|permit|approval|client|customer|business|title)s? (?:that|which)\s+)"
    + _DESCRIBED,
    re.IGNORECASE,
)
_PAYS = re.compile(rf"\b(?:must pay|to pay|pays?|paid|owes?)\s+{_DESCRIBED}", re.IGNORECASE)
_FORCED = re.compile(r"\b(?:must|orders?|ordered|told|condemned|forced)\b", re.IGNORECASE)
_SUM = re.compile(r"\s+(?:[$\u20ac\u00a3]|[A-Z]{3}\s?\d|\d)")
_DAMAGES = re.compile(r"[^,;]{0,40}\b(?:damages|compensation|penalt(?:y|ies)|refunds?|fines?)\b", re.IGNORECASE)
_WAS_GIVEN = re.compile(r"\s+(?:has|had|have|was|were|is|will|would|wanted|hoped|lost|held|holds)\b", re.IGNORECASE)
_THAT = re.compile(rf"\b(?:that|which)\s+{_DESCRIBED}", re.IGNORECASE)
_REACH = 120
"""Characters before a name that may say how it stands to the one before."""


def clauses(sentence: str, mentions: Sequence[Mention]) -> list[Clause]:
    """The clauses of a sentence, each with the companies it names; `mentions` are those of the sentence, in order.

    A sentence that names one company at most is one clause.
    """
    if len({mention.symbol for mention in mentions}) < 2:
        return [Clause(sentence, _symbols(mentions))]
    found = []
    for start, end in _parted(sentence, mentions):
        inside = [mention for mention in mentions if start <= mention.start < end]
        found += _without_relative(sentence, start, end, inside)
    return found


@dataclass(slots=True)
class _Piece:
    start: int
    end: int
    strong: bool  # whether what stands before it is contrast


def _parted(sentence: str, mentions: Sequence[Mention]) -> list[tuple[int, int]]:
    """Where clauses begin and end. Pieces between possible cuts are joined until each clause says something of one."""
    pieces = _pieces(sentence, mentions)
    kept = [pieces[0]]
    place = 1
    while place < len(pieces):
        piece, last = pieces[place], kept[-1]
        stop = _complete(sentence, mentions, pieces, place)
        end = pieces[stop].end
        apart = _named(mentions, piece.start, end) - _named(mentions, last.start, last.end)
        cut = (
            apart
            and _whole(sentence, mentions, last.start, last.end, piece.strong)
            and _whole(sentence, mentions, piece.start, end, piece.strong)
        )
        if cut:
            kept.append(_Piece(piece.start, end, piece.strong))
            place = stop + 1
        else:
            last.end = piece.end
            place += 1
    return [(piece.start, piece.end) for piece in kept]


def _complete(sentence: str, mentions: Sequence[Mention], pieces: Sequence[_Piece], place: int) -> int:
    """The last piece that the one at `place` needs in order to be a clause; `place` itself where none makes it one.

    A name may wait for its verb ("Skelvoort, hit by a strike, closes") or share it ("Skelvoort and Quellmar close").
    """
    piece = pieces[place]
    for stop in range(place, len(pieces)):
        if _whole(sentence, mentions, piece.start, pieces[stop].end, piece.strong):
            return stop
        following = pieces[stop + 1] if stop + 1 < len(pieces) else None
        if following is None or following.strong:
            break
        shared = not _told(sentence, mentions, piece.start, pieces[stop].end)
        if _named(mentions, following.start, following.end) and not shared:
            break
    return place


def _pieces(sentence: str, mentions: Sequence[Mention]) -> list[_Piece]:
    opening = _OPENING.match(sentence) is not None
    pieces = [_Piece(0, len(sentence), False)]
    for cut in _CUT.finditer(sentence, 1):
        if any(mention.start < cut.end() and cut.start() < mention.end for mention in mentions):
            continue  # "Quellmar Gas and Power"
        # "While Torvenna rose, Skelvoort fell": the comma is where the contrast is
        strong = cut["strong"] is not None or (opening and cut.group().startswith(","))
        opening = opening and not strong
        pieces[-1].end = cut.start()
        pieces.append(_Piece(cut.start(), len(sentence), strong))
    return pieces


def _named(mentions: Sequence[Mention], start: int, end: int) -> set[str]:
    return {mention.symbol for mention in mentions if start <= mention.start < end}


def _whole(sentence: str, mentions: Sequence[Mention], start: int, end: int, strong: bool) -> bool:
    """Whether the words name a company and say something of it; where contrast stands before them, anything will do."""
    parts = _between_names(sentence, mentions, start, end)
    if len(parts) == 1:
        return False
    if any(says_something(part, 0 if number else -1) for number, part in enumerate(parts)):
        return True
    return strong and _told(sentence, mentions, start, end)


def _told(sentence: str, mentions: Sequence[Mention], start: int, end: int) -> bool:
    """Whether there are words beside the names."""
    parts = _between_names(sentence, mentions, start, end)
    return any(word.lower() not in _FILLERS.split() for part in parts for word in _WORD.findall(_EDGES.sub("", part)))


def _between_names(sentence: str, mentions: Sequence[Mention], start: int, end: int) -> list[str]:
    """The words before the first name of a span, between names, and behind the last."""
    parts, place = [], start
    for mention in mentions:
        if start <= mention.start < end:
            parts.append(sentence[place : mention.start])
            place = mention.end
    return [*parts, sentence[place:end]]


def _without_relative(sentence: str, start: int, end: int, mentions: Sequence[Mention]) -> list[Clause]:
    """The clause; of "... hires engineers of Skelvoort, which has empty desks now" two, the second of Skelvoort."""
    last = mentions[-1] if mentions else None
    if last is not None and last.symbol != mentions[0].symbol:
        behind = sentence[last.end : end]
        if _RELATIVE.match(behind) and says_something(behind):
            others = tuple(mention for mention in mentions if mention.symbol != last.symbol)
            return [
                _clause(sentence, start, last.end, others),
                Clause(_trimmed(sentence[last.start : end]), (last.symbol,)),
            ]
    return [_clause(sentence, start, end, mentions)]


def _clause(sentence: str, start: int, end: int, mentions: Sequence[Mention]) -> Clause:
    symbols = _symbols(mentions)
    against = (
        () if len(symbols) < 2 else _symbols([m for m in mentions if _is_opposed(sentence, start, end, m, mentions)])
    )
    return Clause(_trimmed(sentence[start:end]), symbols, against if len(against) < len(symbols) else ())


def _is_opposed(sentence: str, start: int, end: int, mention: Mention, mentions: Sequence[Mention]) -> bool:
    """Whether the words before a name, back to the one before, set it against that one."""
    before = [other.end for other in mentions if other.end <= mention.start]
    words = sentence[max([start, mention.start - _REACH, *before[-1:]]) : mention.start]
    match = _AGAINST.search(words)
    if match is None:
        return False
    first = not before
    behind = sentence[mention.end : end]
    if _PAYS.search(words):
        owed = _DAMAGES.match(behind) or (_FORCED.search(sentence[start : mention.start]) and _SUM.match(behind))
        return not first and owed is not None
    if _THAT.search(words):
        return not first and _WAS_GIVEN.match(behind) is not None
    # "A rival beats Torvenna ...": without a company before it, only what sets it against the one to come
    return not first or re.match(r"\W*(?:unlike|instead of|rather than|in contrast to|not)\b", words, re.I) is not None


def _symbols(mentions: Sequence[Mention]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mention.symbol for mention in mentions))


def _trimmed(text: str) -> str:
    """Without the word that joined it to another clause."""
    return _EDGES.sub("", text) or text.strip()
