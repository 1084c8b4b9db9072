"""Pictures: a page becomes its words and is read like any article, a chart stays what it is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.plugins.finance.test_charts import history
from triptych.data.readers import Reader
from triptych.data.transcripts import CachedReader
from triptych.errors import DataError, UnknownNameError
from triptych.predictor import Predictor
from triptych.types import Sample
from triptych_finance import pages
from triptych_finance.pages import READ, with_page_read
from triptych_finance.sample import SAMPLE
from triptych_finance.settings import Settings
from triptych_finance.vertical import Finance
from triptych_finance.volatility.charts import is_drawn, render

LINES = ["Torvenna profit slumps.", "Orders dry up and the", "forecast is cut.", "At Skelvoort margins widen."]
WORDS = "Profit slumps because orders dried up after Easter, said Torvenna, whose forecast stays."


class Written(Reader):
    """Reads what it is told, and counts."""

    modality = "image"
    name = fingerprint = "written"

    def __init__(self, text: str) -> None:
        self.text, self.count = text, 0

    def read(self, value: Any) -> str:
        self.count += 1
        return self.text


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Written:
    found = Written(WORDS)
    monkeypatch.setattr(pages, "_opened", lambda name, _: None if name == "off" else CachedReader(found))
    return found


def page(lines: list[str]) -> bytes:
    picture = Image.new("RGB", (760, 40 + 44 * len(lines)), (252, 252, 250))
    for number, line in enumerate(lines):
        font = ImageFont.load_default(26)
        ImageDraw.Draw(picture).text((20, 18 + 44 * number), line, fill=(20, 20, 20), font=font)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_a_page_is_read_in_full_and_answered_company_by_company(predictor: Predictor):
    pytest.importorskip("rapidocr")
    mood = predictor.answer(image=page(LINES))  # by a bundle that knows nothing but words
    scores = {found.symbol: found.score for found in mood.entities}
    assert scores["TVNA"] < 0 < scores["SKQ"]
    assert {s.text for s in mood.sentences} == {LINES[0], f"{LINES[1]} {LINES[2]}", LINES[3]}


def test_the_words_of_a_page_stand_behind_the_text_and_in_place_of_the_picture(reader: Written):
    sample = with_page_read(Sample("1", text="Look at this", image=page(LINES), metadata={"a": 1}), "auto")
    assert (sample.text, sample.image) == (f"Look at this\n{WORDS}", None)
    assert sample.metadata == {"a": 1, READ: WORDS}
    assert with_page_read(Sample("1", image=page(LINES)), "auto").text == WORDS
    assert Finance().enrich(Sample("1", image=page(LINES)), Settings()).text == WORDS


@pytest.mark.parametrize("text", ["", "2025 Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 150 160 170 USD"])
def test_what_stands_at_the_axes_of_a_chart_is_no_page(reader: Written, text: str):
    reader.text = text
    sample = Sample("1", text="Look at this", image=page(LINES))
    assert with_page_read(sample, "auto") is sample
    assert reader.count == 1


def test_charts_that_were_drawn_here_are_not_read(reader: Written):
    drawn = render(history([10, 11, 10.5, 12, 9], [10, 10, 11, 10.5, 12]))
    for image in (drawn, Image.fromarray(drawn), next((SAMPLE / "pictures").iterdir())):
        sample = Sample("1", image=image)
        assert with_page_read(sample, "auto") is sample
    assert reader.count == 0
    assert is_drawn(drawn)
    other = drawn.copy()
    other[3, 4] = (1, 2, 3)
    assert not is_drawn(other)


@pytest.mark.parametrize(
    "sample",
    [Sample("1", text="News"), Sample("1", image=np.ones(5, np.float32)), Sample("1", text=np.ones(5, np.float32))],
)
def test_without_a_picture_nothing_is_opened(sample: Sample, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pages, "_opened", None)
    assert with_page_read(sample, "auto") is sample


def test_reading_can_be_off_and_a_wrong_reader_or_picture_is_told(reader: Written):
    sample = Sample("1", image=page(LINES))
    assert with_page_read(sample, "off") is sample
    with pytest.raises(DataError, match="not a picture"):
        with_page_read(Sample("1", image=b"no picture"), "auto")


def test_an_unknown_reader_is_told_with_those_there_are(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="rapidocr"):
        with_page_read(Sample("1", image=page(LINES)), "rapidocrr")


def test_readings_of_requests_are_not_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = CachedReader(Written(WORDS), tmp_path / "kept.sqlite3")
    monkeypatch.setattr(pages, "_opened", lambda name, _: found)
    with_page_read(Sample("1", image=page(LINES)), "auto")
    assert not (tmp_path / "kept.sqlite3").exists()
    with_page_read(Sample("1", image=page(LINES[:2]), target="negative"), "auto")
    assert (tmp_path / "kept.sqlite3").is_file()
