"""Scores by a trained model, and what becomes of them for documents and companies."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.finance.conftest import DOWN, FLAT, UP, WordScorer, host
from triptych.errors import BundleError
from triptych.predictor import Predictor, load
from triptych.runtime.cascade import Cascade, CascadeSettings
from triptych.runtime.open import open_session
from triptych.runtime.space import Space
from triptych.types import Sample
from triptych_finance.language.entities import Gazetteer
from triptych_finance.language.reading import BORROWED, OPPOSED, Reading, read_document, read_documents
from triptych_finance.scoring import BundleScorer, score_of


@pytest.fixture(scope="module")
def model(predictor: Predictor) -> BundleScorer:
    return BundleScorer(predictor)


# -- the model ---------------------------------------------------------------------------------------------------


def test_good_news_scores_above_bad_news(model: BundleScorer):
    scores = model.score([*UP, *DOWN])
    values = [score_of(row) for row in scores.probabilities]
    assert min(values[: len(UP)]) > 0 > max(values[len(UP) :])


def test_scores_are_probabilities_and_vectors_have_length_one(model: BundleScorer):
    scores = model.score([*UP, *FLAT])
    assert scores.probabilities.dtype == scores.vectors.dtype == np.float32
    assert scores.probabilities.sum(axis=1) == pytest.approx(np.ones(len(scores)), abs=1e-5)
    assert np.linalg.norm(scores.vectors, axis=1) == pytest.approx(np.ones(len(scores)), abs=1e-5)


def test_nothing_to_score_gives_arrays_without_rows(model: BundleScorer):
    scores = model.score([])
    assert len(scores) == 0
    assert scores.probabilities.shape == (0, 3)


def test_many_texts_are_scored_as_each_alone(model: BundleScorer, monkeypatch: pytest.MonkeyPatch):
    texts = [f"{text}, item {number}" for number in range(20) for text in [*UP, *DOWN]]
    assert model.at_once > 1
    monkeypatch.setattr(model, "at_once", 7)
    together = model.score(texts)
    assert len(together) == len(texts)
    for place in (0, 6, 7, 100, 239):
        alone = model.score([texts[place]])
        assert score_of(alone.probabilities[0]) == score_of(together.probabilities[place])
        assert alone.vectors[0] == pytest.approx(together.vectors[place], abs=1e-5)


def test_the_scores_are_those_that_the_predictor_gives(model: BundleScorer, predictor: Predictor):
    said = predictor.predict([Sample("1", text=UP[0])])[0]
    row = model.score(UP[:1]).probabilities[0]
    assert row == pytest.approx([said.probabilities[label] for label in ("negative", "neutral", "positive")], abs=1e-6)


def test_what_no_encoding_can_write_is_scored(model: BundleScorer):
    assert len(model.score(["\ud800", "\x00\x01", "", " ", "\U0001f680", "a" * 100_000])) == 6


def cascade_of(bundle: Path, folder: Path, threshold: float) -> Predictor:
    """A predictor over the bundle whose torch model stands twice in a cascade."""
    copy = folder / "bundle"
    shutil.copytree(bundle.resolve(), copy, symlinks=True)
    found = load(copy, host=host(), state=folder / "state")
    stages = [lambda: open_session(found.bundle.path, "torch", found.host)] * 2
    cascade = Cascade("torch+torch", stages, [threshold])
    variant = found.bundle.path / "variants" / "torch+torch"
    variant.mkdir(parents=True)
    CascadeSettings(stages=["torch", "torch"], thresholds=[threshold]).write(variant)
    return Predictor(found.bundle, found.vertical, cascade, found.host, found.state)


def test_a_cascade_scores_like_its_stages_with_the_vectors_of_the_first(
    bundle: Path, model: BundleScorer, tmp_path: Path
):
    scorer = BundleScorer(cascade_of(bundle, tmp_path, 0.99))
    one, other = scorer.score([*UP, *DOWN]), model.score([*UP, *DOWN])
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert one.vectors == pytest.approx(other.vectors, abs=1e-5)


class Nervous(Space):
    """The model of a bundle, shaken by the number of texts in the batch as eight bits are by their values."""

    def __init__(self, session: Any) -> None:
        super().__init__(
            variant="nervous", home=session.home, modalities=("text",), kind="classification", labels=session.labels
        )
        self.session = session

    def encode(self, samples: Sequence[Sample]) -> Any:
        return self.session.encode(samples)

    def fuse(self, encoded: Any) -> Any:
        return self.session.fuse(encoded)

    def probabilities(self, logits: Any, mask: Any) -> Any:
        return self.session.probabilities(logits * (1 + 0.2 * len(logits)), mask)


def test_a_model_that_depends_on_the_batch_is_asked_for_each_text_alone(
    predictor: Predictor, caplog: pytest.LogCaptureFixture
):
    session: Any = Nervous(predictor.session)
    scorer = BundleScorer(Predictor(predictor.bundle, predictor.vertical, session, predictor.host, predictor.state))
    assert "'nervous'" in caplog.text
    together, alone = scorer.score([*UP, *DOWN]), [scorer.score([text]) for text in [*UP, *DOWN]]
    assert together.probabilities.tolist() == [row for scores in alone for row in scores.probabilities.tolist()]


class Session:
    """As much of a session as is looked at before the first text."""

    def __init__(self, modalities: tuple[str, ...], labels: tuple[str, ...]) -> None:
        self.modalities, self.labels, self.kind, self.variant = modalities, labels, "classification", "none"


@pytest.mark.parametrize(
    ("session", "message"),
    [
        (Session(("image",), ("negative", "neutral", "positive")), "understands image and no text"),
        (
            Session(("text",), ("good", "bad")),
            "answers good, bad; what scores news answers negative, neutral, positive",
        ),
    ],
)
def test_a_bundle_that_cannot_score_news_is_refused(predictor: Predictor, session: Any, message: str):
    other = Predictor(predictor.bundle, predictor.vertical, session, predictor.host, predictor.state)
    with pytest.raises(BundleError, match=message):
        BundleScorer(other)


# -- documents ---------------------------------------------------------------------------------------------------


@pytest.fixture
def read(companies: Gazetteer, scorer: WordScorer) -> Any:
    def reading(text: str, hint: Sequence[str] = (), **options: Any) -> Reading:
        return read_document(text, hint, companies, scorer, **options)

    return reading


def moods(reading: Reading) -> dict[str, float]:
    return {found.symbol: found.score for found in reading.entities}


def test_a_headline_is_good_for_one_company_and_bad_for_the_other(read: Any):
    reading = read("Torvenna wins a large order, Skelvoort loses one")
    assert moods(reading) == {"TVNA": 0.9, "SKQ": -0.9}


def test_a_company_that_is_only_set_against_another_gets_the_contrary(read: Any):
    assert moods(read("Torvenna wins a contract from Skelvoort")) == {"TVNA": 0.9, "SKQ": round(OPPOSED * 0.9, 4)}


def test_a_clause_that_says_nothing_borrows_from_its_sentence(read: Any):
    reading = read("Torvenna rises and gains again, while Skelvoort did so last week")
    assert moods(reading) == {"TVNA": 0.9, "SKQ": round(BORROWED * 0.9, 4)}


def test_a_sentence_without_a_name_speaks_of_the_company_before(read: Any):
    reading = read("Torvenna holds its meeting. A strike is near. Quellmar wins.")
    assert moods(reading)["TVNA"] < -0.2
    assert moods(reading)["QLMR"] == 0.9


def test_after_two_companies_a_sentence_without_a_name_speaks_of_neither(read: Any):
    alone, followed = read("Torvenna meets Skelvoort."), read("Torvenna meets Skelvoort. A strike is near.")
    assert moods(alone) == moods(followed)


def test_a_company_that_the_source_alone_names_gets_the_score_of_the_document(read: Any):
    reading = read("Orders rise. Profit jumps.", ["$skq", "SKQ", "nobody"])
    assert moods(reading) == {"SKQ": reading.score}
    assert reading.score > 0.5
    assert reading.unknown == ("nobody",)


def test_companies_in_passing_weigh_less_than_those_of_the_headline(read: Any):
    reading = read("Torvenna wins. Skelvoort was there. So was Torvenna, Torvenna said. Quellmar too.", ["QLMR"])
    weights = {found.symbol: found.weight for found in reading.entities}
    assert weights["TVNA"] == weights["QLMR"] == 1
    assert 0 < weights["SKQ"] < 1


def test_a_company_is_quoted_with_the_sentence_that_weighs_most(read: Any):
    (found,) = read("Torvenna meets. Torvenna loses a client. Torvenna reports on Monday.").entities
    assert found.sentence == "Torvenna loses a client."
    assert found.score < 0


def test_an_article_is_not_neutral_because_most_of_its_sentences_are(read: Any):
    dull = " ".join(f"The meeting took place in room {number}." for number in range(3))
    assert read(f"Torvenna warns of a loss. {dull}").score < -0.3


def test_without_words_a_document_is_neutral(read: Any):
    reading = read(" \x00 ", ["TVNA"])
    assert (reading.score, reading.probabilities, reading.sentences) == (0, (0, 1, 0), ())
    assert moods(reading) == {"TVNA": 0}


def test_a_huge_article_is_read_to_its_limit(read: Any):
    text = "Torvenna wins. " * 700_000
    reading = read(text, most=10)
    assert len(reading.sentences) == 10
    assert reading.read < 200


def test_all_documents_are_scored_in_one_call_and_equal_sentences_once(companies: Gazetteer, scorer: WordScorer):
    texts = ["Profit rises. Costs fall.", "Profit rises.", "", "Torvenna wins, Skelvoort loses"] * 50
    readings = read_documents([(text, ()) for text in texts], companies, scorer)
    assert len(readings) == 200
    (call,) = scorer.calls
    assert sorted(call) == sorted(set(call))
    assert set(call) == {
        "Profit rises.", "Costs fall.", "Torvenna wins, Skelvoort loses", "Torvenna wins", "Skelvoort loses"
    }  # fmt: skip


def test_no_documents_give_no_readings(companies: Gazetteer, model: BundleScorer):
    assert read_documents([], companies, model) == []
    (empty,) = read_documents([("", ())], companies, model)
    assert empty.sentences == ()


def same(one: Reading, other: Reading) -> bool:
    parts = [(r.score, r.sentences, r.entities, r.read, r.unknown) for r in (one, other)]
    return parts[0] == parts[1] and np.allclose(one.vector, other.vector, atol=1e-6)


_WORDS = [
    "Torvenna",
    "Skelvoort",
    "Quellmar",
    "wins",
    "loses",
    "rises",
    "meets",
    "and",
    "but",
    ".",
    ".",
    ",",
    ";",
    "\n",
]
_TEXTS = st.lists(st.sampled_from(_WORDS), max_size=12).map(" ".join)


@given(st.lists(_TEXTS, min_size=1, max_size=5), st.integers(0, 5))
def test_a_reading_does_not_depend_on_the_documents_beside_it(companies: Gazetteer, texts: list[str], cut: int):
    documents = [(text, ("TVNA",)) for text in texts]
    whole = read_documents(documents, companies, WordScorer())
    parts = [*read_documents(documents[:cut], companies, WordScorer())]
    parts += read_documents(documents[cut:], companies, WordScorer())
    assert all(same(one, other) for one, other in zip(whole, parts, strict=True))


@given(_TEXTS)
def test_readings_keep_within_bounds(companies: Gazetteer, text: str):
    reading = read_document(text, ["ZLMS"], companies, WordScorer())
    assert -1 <= reading.score <= 1
    assert sum(reading.probabilities) == pytest.approx(1, abs=1e-6)
    length = float(np.linalg.norm(reading.vector))
    assert length == pytest.approx(1 if reading.sentences else 0, abs=1e-5)
    named = {mention.symbol for mention in companies.find(text)}
    assert {found.symbol for found in reading.entities} == named | {"ZLMS"}
    for found in reading.entities:
        assert -1 <= found.score <= 1
        assert 0 < found.weight <= 1
