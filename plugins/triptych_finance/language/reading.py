"""Documents to readings: their sentences, what they say on the whole, and what they say of each company."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from triptych_finance.language.clauses import Clause, clauses
from triptych_finance.language.entities import Gazetteer
from triptych_finance.language.sentences import MOST, Sentence, sentences
from triptych_finance.scoring import DIGITS, LABELS, Floats, Scorer, Scores, score_of, unit

OPPOSED = -0.5
"""Share of a clause's score that goes to a company which it only sets against another."""
BORROWED = 0.5
"""Share of a sentence's score that goes to a company whose own clause says nothing."""
INDIFFERENT = 0.25
"""Weight in a document of a sentence that is surely neutral; one that surely takes sides has 1."""
CARRIED = 0.5
"""Weight of a sentence that names nobody, for the one company that the sentence before spoke of."""


@dataclass(frozen=True, slots=True)
class SentenceScore:
    """A sentence and its score in [-1, 1]; `start` and `end` are its place in the document."""

    text: str
    score: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class EntityScore:
    """What a document says of one company, and the sentence that weighs most in it.

    `weight` is 1 for a company that the source or the first sentence names; for another, its share of the mentions
    that the most mentioned company has.
    """

    symbol: str
    score: float
    weight: float
    sentence: str


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What was read in a document. A document without words is neutral and has no sentences.

    `probabilities` are in the order of `LABELS`, `vector` is float32 [dim] of length one (zeros without words), `read`
    is how many characters were looked at, `unknown` are symbols that the source names and the gazetteer lacks.
    """

    score: float
    probabilities: tuple[float, ...]
    sentences: tuple[SentenceScore, ...]
    entities: tuple[EntityScore, ...]
    vector: Floats
    read: int
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    """A document before it is scored: numbers stand for the texts to be scored."""

    sentences: list[tuple[Sentence, int]]
    clauses: list[list[tuple[Clause, int]]]  # of each sentence
    named: list[str]  # by the source
    unknown: tuple[str, ...]


def read_document(
    text: str, entities_hint: Sequence[str], gazetteer: Gazetteer, scorer: Scorer, *, most: int = MOST
) -> Reading:
    """As `read_documents`, for one."""
    return read_documents([(text, entities_hint)], gazetteer, scorer, most=most)[0]


def read_documents(
    documents: Iterable[tuple[str, Sequence[str]]], gazetteer: Gazetteer, scorer: Scorer, *, most: int = MOST
) -> list[Reading]:
    """Readings of documents, each given as its text and the symbols that its source names.

    Of a document the first `most` sentences are read. All sentences and clauses of all documents are scored in one
    call, and equal ones once.
    """
    numbers: dict[str, int] = {}
    plans = [_plan(text, hint, gazetteer, numbers, most) for text, hint in documents]
    scores = scorer.score(list(numbers))
    values = scores.probabilities.tolist()
    return [_reading(plan, values, scores) for plan in plans]


def _plan(text: str, hint: Sequence[str], gazetteer: Gazetteer, numbers: dict[str, int], most: int) -> _Plan:
    named: list[str] = []
    unknown: list[str] = []
    for symbol in dict.fromkeys(hint):
        known = gazetteer.known(symbol)
        (unknown if known is None else named).append(known or symbol)
    found, parts = [], []
    for sentence in sentences(text, most=most):
        found.append((sentence, numbers.setdefault(sentence.text, len(numbers))))
        cut = clauses(sentence.text, gazetteer.find(sentence.text))
        parts.append([(clause, numbers.setdefault(clause.text, len(numbers))) for clause in cut if clause.symbols])
    return _Plan(found, parts, list(dict.fromkeys(named)), tuple(unknown))


def _reading(plan: _Plan, values: list[list[float]], scores: Scores) -> Reading:
    rows = [number for _, number in plan.sentences]
    probabilities = _document([values[row] for row in rows])
    score = score_of(probabilities)
    found = tuple(SentenceScore(s.text, score_of(values[row]), s.start, s.end) for s, row in plan.sentences)
    return Reading(
        score=score,
        probabilities=probabilities,
        sentences=found,
        entities=_entities(plan, values, score),
        vector=_mean(scores.vectors, rows),
        read=found[-1].end if found else 0,
        unknown=plan.unknown,
    )


def _weight(probabilities: Sequence[float]) -> float:
    """How much a sentence counts: an article is not neutral because most of its sentences are."""
    return INDIFFERENT + (1 - INDIFFERENT) * (1 - probabilities[1])


def _document(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Probabilities of a document: the mean of its sentences', by their weights."""
    if not rows:
        return (0.0, 1.0, 0.0)
    if len(rows) == 1:
        return tuple(rows[0])
    weights = [_weight(row) for row in rows]
    total = sum(weights)
    return tuple(sum(w * row[i] for w, row in zip(weights, rows, strict=True)) / total for i in range(len(LABELS)))


def _mean(vectors: Floats, rows: Sequence[int]) -> Floats:
    chosen = vectors[list(rows)]  # a copy; a view would keep the vectors of all documents
    mean: Floats = unit(chosen.sum(axis=0, keepdims=True))[0] if len(rows) != 1 else chosen[0]
    return mean


def _entities(plan: _Plan, values: list[list[float]], score: float) -> tuple[EntityScore, ...]:
    """Companies by the order in which they come, those that only the source names last, with the document's score."""
    said: dict[str, list[tuple[float, float, str]]] = {}  # score, weight, sentence
    mentions: dict[str, int] = {}
    before: list[str] = []  # whom the sentence before spoke of
    for (sentence, row), parts in zip(plan.sentences, plan.clauses, strict=True):
        if not parts:
            if len(before) == 1:
                said[before[0]].append((score_of(values[row]), CARRIED * _weight(values[row]), sentence.text))
            continue
        before = []
        for clause, number in parts:
            for symbol in clause.symbols:
                mood = _of_company(symbol, clause, values[number], values[row] if number != row else None)
                said.setdefault(symbol, []).append((mood, _weight(values[number]), sentence.text))
                mentions[symbol] = mentions.get(symbol, 0) + 1
                before.append(symbol)
        before = list(dict.fromkeys(before))
    first = {symbol for clause, _ in (plan.clauses[0] if plan.clauses else ()) for symbol in clause.symbols}
    most = max(mentions.values(), default=1)
    entities = []
    for symbol, found in said.items():
        weight = 1.0 if symbol in first or symbol in plan.named else mentions[symbol] / most
        total = sum(w for _, w, _ in found)
        mean = sum(s * w for s, w, _ in found) / total
        entities.append(EntityScore(symbol, round(mean, DIGITS) + 0.0, round(weight, DIGITS), _quote(found, mean)))
    headline = plan.sentences[0][0].text if plan.sentences else ""
    entities += [EntityScore(symbol, score, 1.0, headline) for symbol in plan.named if symbol not in said]
    return tuple(entities)


def _of_company(symbol: str, clause: Clause, own: Sequence[float], whole: Sequence[float] | None) -> float:
    """The score of a company by its clause, and by the sentence where the clause is only a part of it."""
    score = score_of(own)
    if symbol in clause.opposed:
        return OPPOSED * score
    if whole is not None and max(own) == own[1]:
        return BORROWED * score_of(whole)
    return score


def _quote(found: Sequence[tuple[float, float, str]], mean: float) -> str:
    """The sentence that pulls most towards the side that the whole is on; of equals, the first."""
    side = 1 if mean >= 0 else -1
    return max(found, key=lambda item: side * item[0] * item[1])[2]
