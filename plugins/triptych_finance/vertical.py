"""The finance vertical: what the suite asks of it, in one class."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from triptych.types import Document, Prediction, Sample, Task
from triptych.vertical import Evidence, Vertical
from triptych_finance.language.entities import Gazetteer
from triptych_finance.language.reading import Reading, SentenceScore, read_document
from triptych_finance.outlook import build_head, read_prices, risk_of, risk_words
from triptych_finance.pages import READ, with_page_read
from triptych_finance.responses import EntityMood, Label, Mood, News, SentenceMood
from triptych_finance.sample import sample_table
from triptych_finance.scoring import LABELS, Scores, readable, score_of
from triptych_finance.settings import Settings

if TYPE_CHECKING:
    from triptych.predictor import AnswerContext
    from triptych.vertical import Extension

DESCRIPTIONS: Mapping[str, str] = {
    "negative": "Bad news for the company: profit falls, a loss, a warning, a recall, a fine, jobs are cut.",
    "neutral": "News that is neither good nor bad for the company: a date, an appointment, a routine notice.",
    "positive": "Good news for the company: profit rises, a new order, a higher forecast, a dividend is raised.",
}
LONGEST = 4_000
"""Characters of a text that are encoded as a whole; encoders read fewer."""
QUOTED = 120
"""Characters of a sentence in the words of an answer."""


class Finance(Vertical[News, Mood]):
    """Mood of financial news on the whole, by sentence and by company, with what is alike in the past."""

    name: ClassVar[str] = "finance"
    title: ClassVar[str] = "Finance"
    version: ClassVar[str] = "1"
    request_type = News
    response_type = Mood
    settings_type = Settings
    # copies of one item, and items of one pattern, never stand in two splits
    sample_columns: ClassVar[Mapping[str, str]] = {"id": "id", "group": "group"}

    def task(self, settings: Settings) -> Task:
        """Classification as negative, neutral or positive, for the company that an item is about."""
        return Task("classification", labels=LABELS, descriptions=DESCRIPTIONS)

    def sample_data(self, directory: Path) -> Path:
        """The items of the embedded synthetic sample."""
        return sample_table()

    def sample_request(self) -> News:
        """Good news for one company of the sample, bad news for another."""
        return News(text="Torvenna raises its forecast, but Skelvoort warns of a loss")

    def enrich(self, sample: Sample, settings: Settings) -> Sample:
        """Read a picture of a page, clean the text, and write the outcome of comparisons into its beginning."""
        sample = with_page_read(sample, settings.ocr)
        if not isinstance(sample.text, str):
            return sample
        return sample.replace(text=readable(sample.text.lstrip()[:LONGEST]))

    def documents(self, settings: Settings, data: Path) -> Sequence[Document]:
        """None: what is alike is found among the examples. Raises `DataError` for prices that cannot be read.

        It is asked before anything is trained, so that a wrong file costs no training.
        """
        read_prices(settings, data)
        return ()

    def extend(self, extension: Extension) -> dict[str, Any]:
        """Add the risk head, where there are prices; returns what it is worth on the newest items."""
        return {"risk": build_head(extension, gazetteer_of(extension.settings))}

    def answer(self, request: News, prediction: Prediction, context: AnswerContext) -> Mood:
        """The mood of the item, and of each company that it names or that the request says it concerns.

        Text alone, that of a page among it, is read sentence by sentence, as the monitor reads it. Where a chart or a
        sound came with it, the model's judgement of all parts together stands, and the text says which company gets
        what. Raises `UnknownNameError` for a company in the request that the gazetteer lacks.
        """
        settings = context.settings
        assert isinstance(settings, Settings)  # `settings_type` says so
        gazetteer = gazetteer_of(settings)
        hint = [gazetteer.symbol(symbol) for symbol in request.entities]
        scorer = _RequestScorer(prediction, context)
        text = "\n".join(part for part in (request.text, context.sample.metadata.get(READ)) if part)
        reading = read_document(text, hint, gazetteer, scorer, most=settings.sentences)
        together = tuple(prediction.probabilities.get(label, 0.0) for label in LABELS)
        alone = bool(reading.sentences) and context.sample.image is None and context.sample.audio is None
        probabilities = reading.probabilities if alone else together
        label = LABELS[int(np.argmax(probabilities))]
        risk, no_risk = risk_of([found.symbol for found in reading.entities], request.when, context)
        mood = Mood(
            answer="-",
            confidence=min(1.0, max(probabilities)),
            evidence=_evidence(context, settings.neighbours),
            label=label,
            score=score_of(probabilities),
            probabilities=_named(probabilities),
            familiar=prediction.in_scope,
            sentences=[
                SentenceMood(text=s.text, score=s.score, start=s.start, end=s.end)
                for s in _carrying(reading.sentences, score_of(probabilities), settings.shown)
            ],
            entities=_companies(reading, score_of(probabilities), gazetteer),
            risk=risk,
            no_risk=no_risk,
            sentences_read=len(reading.sentences),
            characters_unread=len(text.rstrip()[reading.read :]) if reading.sentences else 0,
        )
        return mood.model_copy(update={"answer": _words(mood)})

    def decided(self, response: Mood, prediction: Prediction | None) -> str | None:
        """The mood of the item on the whole."""
        return response.label


class _RequestScorer:
    """Scores the sentences of a request with the model that has just judged the whole of it."""

    def __init__(self, prediction: Prediction, context: AnswerContext) -> None:
        self.whole = prediction
        self.context = context

    def score(self, texts: Sequence[str]) -> Scores:
        """The scores of texts; by a model that does not read, the request's own for each."""
        said = [self.whole] * len(texts)
        if "text" in self.whole.attribution:
            said = self.context.predict([Sample(str(row), text=text) for row, text in enumerate(texts)])
        rows = np.array([[p.probabilities.get(label, 0.0) for label in LABELS] for p in said], dtype=np.float32)
        return Scores(rows.reshape(len(texts), len(LABELS)), np.zeros((len(texts), 0), np.float32))


def gazetteer_of(settings: Settings) -> Gazetteer:
    """The companies that the settings name, read once for each state of the file. Raises `DataError`."""
    if settings.entities is None:
        return _read(None, 0, 0)
    path = Path(settings.entities).expanduser()
    try:
        state = path.stat()
    except OSError:
        return Gazetteer.read(path)  # says what is wrong
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: Path | None, changed: int, size: int) -> Gazetteer:
    return Gazetteer.read(path)


def _named(probabilities: Sequence[float]) -> dict[Label, float]:
    """By label, the most probable first."""
    order: list[Label] = ["negative", "neutral", "positive"]
    pairs = zip(order, probabilities, strict=True)
    return {label: round(p, 4) for label, p in sorted(pairs, key=lambda pair: -pair[1])}


def _carrying(sentences: Sequence[SentenceScore], score: float, count: int) -> list[SentenceScore]:
    """The sentences that pull most towards the side that the whole is on; of a neutral whole, the first ones."""
    side = 1 if score >= 0 else -1
    return sorted(sentences, key=lambda sentence: -side * sentence.score)[:count]


def _companies(reading: Reading, score: float, gazetteer: Gazetteer) -> list[EntityMood]:
    """What a text says of companies; without words, the score of picture and sound for those that are named."""
    return [
        EntityMood(
            symbol=found.symbol,
            name=gazetteer.name(found.symbol),
            sector=gazetteer.sector(found.symbol),
            score=found.score if reading.sentences else score,
            weight=found.weight,
            sentence=found.sentence,
        )
        for found in reading.entities
    ]


def _evidence(context: AnswerContext, count: int) -> list[Evidence]:
    """The past items that are nearest, with how they were labelled."""
    if count == 0:
        return []
    return [
        Evidence(
            id=hit.id, kind="example", title=str(hit.metadata.get("target", "")),
            text=str(hit.metadata.get("text", "")), score=round(float(hit.score), 4),
        )
        for hit in context.examples(count)
    ]  # fmt: skip


def _words(mood: Mood) -> str:
    """The answer in words."""
    parts = [f"{mood.label.capitalize()}, score {mood.score:+.2f}."]
    if mood.entities:
        parts.append("; ".join(f"{found.name} ({found.symbol}) {found.score:+.2f}" for found in mood.entities) + ".")
    if mood.label != "neutral" and mood.sentences_read > 1:
        text = mood.sentences[0].text
        parts.append(f'It rests most on: "{text if len(text) <= QUOTED else text[: QUOTED - 1] + "…"}"')
    parts += risk_words(mood.risk)
    if mood.characters_unread:
        count = (
            f"The first {mood.sentences_read} sentences were read" if mood.sentences_read > 1 else "The start was read"
        )
        parts.append(f"{count}; {mood.characters_unread:,} characters behind them were not.")
    if not mood.familiar:
        parts.append("It is unlike what the model was trained on: do not rely on it.")
    return " ".join(parts)
