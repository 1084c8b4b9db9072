"""The vertical: what it promises to the suite, its rules without a model, and its answers with one."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from tests.plugins.finance.conftest import host
from triptych.config import check_section, load_config
from triptych.errors import ConfigError, DataError, UnknownNameError
from triptych.predictor import Predictor
from triptych.testing import FakeContext, check_vertical, prediction
from triptych.types import Sample
from triptych_finance.responses import Mood, News
from triptych_finance.scoring import LABELS
from triptych_finance.settings import Settings
from triptych_finance.vertical import LONGEST, Finance

PAST = [Sample(f"past-{n}", text=f"old news {n}", target=label) for n, label in enumerate(LABELS)]


def answer(tmp_path: Path, label: str = "positive", settings: Settings | None = None, **fields: Any) -> Mood:
    """The answer of the rules alone, to what a model is made to say."""
    options = {key: fields.pop(key) for key in ("confidence", "in_scope") if key in fields}
    request = News(**fields)
    said = prediction(label, LABELS, **options)
    context = FakeContext(request, settings or Settings(), tmp_path, examples=PAST, said=said, files=tmp_path)
    return Finance().answer(request, said, context)


def test_the_vertical_keeps_its_promises(tmp_path: Path):
    check_vertical(Finance(), tmp_path, files=tmp_path / "none")


def test_the_plugin_can_be_loaded():
    assert [(info.name, info.error) for info in host().plugins() if info.name == "finance"] == [("finance", None)]
    assert isinstance(host().vertical("finance"), Finance)


def test_all_that_the_plugin_offers_can_be_loaded():
    for part in [*host().parts("source"), host().part("strategy", "graded")]:
        assert part.load().__name__
    assert [pkgutil.resolve_name(command.target).name for command in host().commands()] == ["finance"]


def test_the_packaged_config_says_what_the_code_does():
    config = load_config(Finance().defaults())
    assert check_section(Settings, config.vertical, "vertical.") == Settings()
    assert set(config.encoders) == {"text", "image", "audio"}
    assert config.training.strategy == "full"


def test_a_misspelt_setting_is_an_error_that_says_the_right_one():
    with pytest.raises(ConfigError, match=r"unknown key 'vertical\.entites'; did you mean 'vertical\.entities'"):
        check_section(Settings, {"entites": "x.csv"}, "vertical.")


# -- rules -------------------------------------------------------------------------------------------------------


def test_the_answer_says_label_score_companies_and_past(tmp_path: Path):
    mood = answer(tmp_path, text="Torvenna wins an order")
    assert mood.answer == "Positive, score +0.85. Torvenna Machinery (TVNA) +0.85."
    assert (mood.label, mood.score, mood.confidence) == ("positive", 0.85, pytest.approx(0.9))
    assert list(mood.probabilities) == ["positive", "negative", "neutral"]
    assert [(found.symbol, found.sector) for found in mood.entities] == [("TVNA", "Industrials")]
    assert sorted(evidence.id for evidence in mood.evidence) == ["past-0", "past-1", "past-2"]
    assert {evidence.title for evidence in mood.evidence} == set(LABELS)


@pytest.mark.parametrize(("label", "sign"), [("positive", 1), ("negative", -1), ("neutral", 0)])
def test_the_score_is_good_less_bad(tmp_path: Path, label: str, sign: int):
    mood = answer(tmp_path, label, text="News of Torvenna", confidence=1.0)
    assert (mood.label, mood.score) == (label, sign)


def test_a_company_may_be_given_with_the_request(tmp_path: Path):
    mood = answer(tmp_path, "negative", text="The market is nervous", entities=["$skq", "TVNA"])
    assert {found.symbol: found.score for found in mood.entities} == {"SKQ": -0.85, "TVNA": -0.85}


def test_an_unknown_company_in_the_request_is_refused_with_the_near_one(tmp_path: Path):
    with pytest.raises(UnknownNameError, match=r"No company is called 'TVNB'\. Did you mean 'TVNA'\?"):
        answer(tmp_path, text="News", entities=["TVNB"])


def test_a_picture_alone_has_no_sentences_and_counts_for_the_company_that_is_given(tmp_path: Path):
    mood = answer(tmp_path, "negative", image=b"chart", entities=["TVNA"])
    assert (mood.sentences, mood.sentences_read, mood.score) == ([], 0, -0.85)
    assert [(found.symbol, found.score, found.sentence) for found in mood.entities] == [("TVNA", -0.85, "")]


def test_what_is_unfamiliar_is_said_so(tmp_path: Path):
    mood = answer(tmp_path, text="Ein Gedicht", in_scope=False)
    assert not mood.familiar
    assert "unlike what the model was trained on" in mood.answer


def test_what_was_not_read_is_said(tmp_path: Path):
    mood = answer(tmp_path, text="Torvenna wins. " * 100, settings=Settings(sentences=5, shown=2))
    assert (mood.sentences_read, len(mood.sentences)) == (5, 2)
    assert mood.characters_unread == 95 * len("Torvenna wins. ")
    assert "The first 5 sentences were read; 1,425 characters behind them were not." in mood.answer


def test_neighbours_can_be_switched_off(tmp_path: Path):
    assert answer(tmp_path, text="News", settings=Settings(neighbours=0)).evidence == []


def test_companies_come_from_the_file_that_the_settings_name_and_from_its_newest_state(tmp_path: Path):
    path = tmp_path / "companies.csv"
    settings = Settings(entities=str(path))
    path.write_text("symbol,name\nABCD,Abercorn Dye\n")
    assert [e.symbol for e in answer(tmp_path, text="Abercorn Dye and Torvenna rise", settings=settings).entities] == [
        "ABCD"
    ]
    path.write_text("symbol,name\nABCD,Abercorn Dye\nXY,Xylander\n")
    assert [e.symbol for e in answer(tmp_path, text="Xylander rises", settings=settings).entities] == ["XY"]
    path.unlink()
    with pytest.raises(DataError, match=r"companies\.csv: the file does not exist"):
        answer(tmp_path, text="News", settings=settings)


def test_a_request_with_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="companies"):
        News(text="News", companies=["TVNA"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Profit rose to EUR 9.1 mn from EUR 8.0 mn", "Profit rose to EUR 9.1 mn from EUR 8.0 mn ( higher )"),
        ("a\x00b\ud800", "a b\ufffd"),
        ("  x" + "y" * 10_000, "x" + "y" * (LONGEST - 1)),
    ],
)
def test_a_text_is_cleaned_compared_and_cut_before_it_is_encoded(text: str, expected: str):
    assert Finance().enrich(Sample("1", text=text), Settings()).text == expected


@pytest.mark.parametrize("value", [None, np.ones(3, dtype=np.float32)])
def test_what_is_no_text_stays_as_it_is(value: Any):
    white = np.full((8, 8, 3), 255, dtype=np.uint8)
    assert Finance().enrich(Sample("1", text=value, image=white), Settings()).text is value


# -- with a model ------------------------------------------------------------------------------------------------


def test_two_companies_two_scores(predictor: Predictor):
    mood = predictor.answer(text="At Torvenna profit rises, at Skelvoort profit slumps")
    assert isinstance(mood, Mood)
    scores = {found.symbol: found.score for found in mood.entities}
    assert scores["TVNA"] > 0 > scores["SKQ"]
    assert mood.evidence[0].kind == "example"
    assert mood.evidence[0].title in LABELS


def test_one_sentence_is_judged_as_the_model_judges_it(predictor: Predictor):
    text = "The forecast is raised"
    said = predictor.predict([Sample("1", text=text)])[0].probabilities
    mood = predictor.answer(text=text)
    assert mood.score == pytest.approx(said["positive"] - said["negative"], abs=1e-4)
    assert [sentence.text for sentence in mood.sentences] == [text]


def test_the_sentences_that_carry_the_score_come_first(predictor: Predictor):
    mood = predictor.answer(text="A new office opens. Profit slumps. Terms were kept. Orders dry up.")
    assert mood.label == "negative"
    assert {sentence.text for sentence in mood.sentences[:2]} == {"Profit slumps.", "Orders dry up."}
    assert "It rests most on" in mood.answer


@pytest.mark.parametrize(
    "text",
    [
        "\x01\x02\x03",
        "\ud83d",
        "\u200b",
        "🚀🚀🚀",
        "%s %d {} $%&/()=?",
        "asdf qwer yxcv",
        "<script>alert(1)</script>",
        "'; DROP TABLE items; --",
        "利润上升。",
        "?" * 5_000,
    ],
)
def test_nonsense_is_answered_and_can_be_written_as_json(predictor: Predictor, text: str):
    mood = predictor.answer(text=text)
    assert -1 <= mood.score <= 1
    assert Mood.model_validate_json(mood.model_dump_json()).label == mood.label


@pytest.mark.parametrize("unit", ["Profit rises at Torvenna. ", "word ", "x", "\x00"])
def test_ten_megabytes_are_answered(predictor: Predictor, unit: str):
    mood = predictor.answer(text=unit * (10_000_000 // len(unit)))
    assert mood.sentences_read <= Settings().sentences
    assert len(mood.model_dump_json()) < 20_000


def test_a_bundle_of_words_refuses_a_picture_alone(predictor: Predictor, tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "chart.png")
    with pytest.raises(DataError, match="understands text"):
        predictor.answer(image=tmp_path / "chart.png")
