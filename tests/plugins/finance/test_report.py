"""The report: pictures that show something, and one page that needs nothing beside it."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.plugins.finance.conftest import WordScorer
from tests.plugins.finance.news import COMPANIES, lively, price_file, rows, written
from triptych_finance.hindsight.backtest import Backtest, Rules, backtest, replay
from triptych_finance.hindsight.report import PAGE, write_backtest, write_replay
from triptych_finance.store.store import Store
from triptych_finance.surface.happenings import Happenings, happenings, table_of
from triptych_finance.volatility.prices import Prices

BURSTS = {"TVNA": (40, 60), "SKQ": (50,)}
_REMOTE = re.compile(r"(?:src|href)=\"(?!data:|#)|<script|@import|url\(")


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Prices:
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    return Prices.read(price_file(path, 80, {"TVNA": [43, 64], "SKQ": [52]}))


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = rows(80, BURSTS)
    found[30]["text"] = "Torvenna <b>cuts</b> & warns of a loss"
    return written(tmp_path_factory.mktemp("items") / "items.csv", found)


@pytest.fixture(scope="module")
def judged(items: Path, prices: Prices) -> Backtest:
    return backtest(items, prices, WordScorer(), COMPANIES, lively(), Rules(draws=50))


@pytest.fixture(scope="module")
def happened(items: Path, tmp_path_factory: pytest.TempPathFactory) -> Happenings:
    with Store.open(tmp_path_factory.mktemp("store") / "s.sqlite3", writer=True) as store:
        replay(items, store, WordScorer(), COMPANIES, lively())
        return happenings(store)


def pictures_in(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")) for one in found]


def test_the_page_of_a_back_test_stands_alone(tmp_path: Path, judged: Backtest, prices: Prices):
    files = write_backtest(tmp_path / "report", judged, prices, title="Back-test of <news>")
    assert files[-1].name == PAGE
    page = files[-1].read_text(encoding="utf-8")
    assert not _REMOTE.search(page)
    assert judged.verdict in page
    assert "&lt;news&gt;" in page
    assert len(pictures_in(page)) == len(files) - 1 == 1 + len(judged.entities)
    header, body = table_of(judged)
    assert [row[0] for row in body] == ["sentiment", "news volume", "past returns", "chance"]
    assert all(len(row) == len(header) for row in body)


def test_pictures_are_drawn_and_differ(tmp_path: Path, judged: Backtest, prices: Prices):
    files = write_backtest(tmp_path, judged, prices, title="Back-test")
    shown = pictures_in(files[-1].read_text(encoding="utf-8"))
    for picture in shown:
        assert picture.shape[0] > 150
        assert picture.shape[1] > 900
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    assert not np.array_equal(shown[1], shown[2])


def test_the_page_of_a_replay_needs_no_prices(tmp_path: Path, happened: Happenings, prices: Prices):
    assert happened.alerts
    alone = write_replay(tmp_path / "alone", happened, None, title="Replay")
    beside = write_replay(tmp_path / "beside", happened, prices, title="Replay")
    assert [path.name for path in alone] == [path.name for path in beside]
    page = alone[-1].read_text(encoding="utf-8")
    assert not _REMOTE.search(page)
    assert all(alert.id in page for alert in happened.alerts)
    heights = [[picture.shape[0] for picture in pictures_in(files[-1].read_text("utf-8"))] for files in (alone, beside)]
    assert max(heights[1]) > max(heights[0])  # with the price below
    assert "index-sector-Industrials.png" in {path.name for path in alone}


def test_nothing_fired_is_said_and_drawn(tmp_path: Path, happened: Happenings):
    page = write_replay(tmp_path, Happenings([], happened.readings), None, title="Replay")[-1].read_text("utf-8")
    assert "No alert fired." in page
    assert len(pictures_in(page)) == len(happened.readings)
