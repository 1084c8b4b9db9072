"""The report of a build: complete, readable without a network, and robust against what items bring along."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych_recommendation.hindsight.metrics import NAMES
from triptych_recommendation.hindsight.report import Card, Results, Rival, Shown, write_report
from triptych_recommendation.hindsight.sheet import RECOMMENDED, USERS, draw_sheet

N, ITEMS = 80, 30
EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Tags, addresses and text of a page; the rows of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def rival(name: str, quality: float, seed: int, users: int = N) -> Rival:
    generator = np.random.default_rng(seed)
    values = {metric: np.clip(generator.normal(quality, 0.05, users), 0, 1) for metric in NAMES}
    return Rival(name, values, generator.integers(0, ITEMS, (users, 20)).astype(np.int32))


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Three rivals and two users with good, broken, missing and no pictures."""
    Image.new("RGB", (60, 90), "navy").save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    samples = [
        Shown("ann", [Card("Rug"), Card("Lamp", tmp_path / "good.png")], [Card(EVIL), Card("Vase", chosen=True)]),
        Shown("<b>bob</b>", [Card("", tmp_path / "gone.png")], [Card("Chair", tmp_path / "broken.png")]),
    ]
    return Results(
        title="Shop & more",
        facts=["12 events.", "All items are ranked."],
        rivals=[rival("popularity", 0.1, 1), rival("neighbours", 0.2, 2), rival("blend <a>", 0.4, 3)],
        chosen="blend <a>",
        counts=np.arange(ITEMS),
        groups={"length": ["short"] * 30 + ["long"] * 50},
        samples=samples,
        notes=["The data is synthetic."],
    )


def test_files_are_there_and_hold_all_that_was_given(results: Results, tmp_path: Path):
    files = write_report(tmp_path / "made" / "report", results)
    assert [file.name for file in files] == ["quality.png", "recommendations.png", "report.html"]
    for file in files[:-1]:
        with Image.open(file) as image:
            image.verify()
    page = Page(files[-1].read_text(encoding="utf-8"))
    assert page.open == []
    for given in (*results.facts, *results.notes, EVIL, "Vase (chosen)", "<b>bob</b>", "Chair"):
        assert given in page.text
    for own in results.rivals:
        rows = [row for row in page.rows if row and row[0] == own.name]
        assert len(rows) == (2 if own.name == results.chosen else 3)  # ranking, difference, lists
        assert rows[0][1].startswith(f"{own.users['ndcg@10'].mean():.4f} [")
    assert [row[1] for row in page.rows if row and row[0] in ("short", "long")] in (["30", "50"], ["50", "30"])


def test_the_page_needs_no_network_and_runs_nothing(results: Results, tmp_path: Path):
    text = write_report(tmp_path, results)[-1].read_text(encoding="utf-8")
    page = Page(text)
    assert not page.tags & {"script", "link", "iframe", "b"}
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert sum(address.startswith("data:") for address in page.addresses) == 2
    assert "prefers-color-scheme: dark" in text


def test_pictures_that_cannot_be_read_are_counted_and_survived(results: Results, tmp_path: Path):
    page = Page(write_report(tmp_path / "report", results)[-1].read_text(encoding="utf-8"))
    assert "2 pictures cannot be read; the first: gone.png" in page.text
    assert str(tmp_path) not in page.text


def test_the_verdict_says_who_is_ahead_also_where_it_is_not_the_chosen_one(results: Results, tmp_path: Path):
    results = replace(results, samples=())
    ahead = Page(write_report(tmp_path, results)[-1].read_text(encoding="utf-8")).text
    assert "It is ahead of neighbours" in ahead
    behind = Page(write_report(tmp_path, replace(results, chosen="neighbours"))[-1].read_text(encoding="utf-8")).text
    assert "It is behind blend <a>" in behind
    twin = replace(results, rivals=[results.rivals[0], replace(results.rivals[0], name="twin")], chosen="twin")
    assert "no difference is shown" in Page(write_report(tmp_path, twin)[-1].read_text(encoding="utf-8")).text


def test_a_report_of_little_is_short(results: Results, tmp_path: Path):
    little = replace(results, rivals=results.rivals[:1], chosen="popularity", groups={}, samples=(), notes=())
    files = write_report(tmp_path, little)
    assert [file.name for file in files] == ["quality.png", "report.html"]
    text = Page(files[-1].read_text(encoding="utf-8")).text
    assert "It had no rival." in text
    assert "Gaps between groups" not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chosen": "nobody"}, "'nobody' is none of popularity"),
        ({"rivals": []}, "none of none"),
        ({"rivals": [rival("blend <a>", 0.1, 1), rival("other", 0.1, 1, N - 1)]}, "different users"),
        ({"rivals": [rival("blend <a>", 0.1, 1), rival("blend <a>", 0.2, 2)]}, "same name"),
        ({"groups": {"age": ["old"] * (N + 1)}}, "'age' are not those of 80 users"),
    ],
    ids=["chosen", "nobody", "users", "names", "groups"],
)
def test_results_that_do_not_belong_together_are_refused(results: Results, tmp_path: Path, changes: dict, said: str):
    with pytest.raises(ValueError, match=said):
        write_report(tmp_path / "report", replace(results, **changes))
    assert not (tmp_path / "report").exists()


def test_the_sheet_shows_pictures_boxes_and_marks(tmp_path: Path):
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "red.png")

    def sheet(name: str, **changes: object) -> np.ndarray:
        card = Card("Lamp", tmp_path / "red.png", **changes)  # type: ignore[arg-type]
        assert draw_sheet(tmp_path / name, [Shown("ann", [], [card])]) == []
        return np.asarray(Image.open(tmp_path / name), dtype=np.int16)

    plain, marked = sheet("plain.png"), sheet("marked.png", chosen=True)
    assert (np.abs(plain - (200, 30, 30)).max(axis=2) <= 2).sum() > 10_000  # the picture, all over the card
    different = np.abs(plain - marked).max(axis=2) > 0
    assert 1_000 < different.sum() < 20_000
    assert draw_sheet(tmp_path / "box.png", [Shown("ann", [], [Card("Lamp", tmp_path / "no.png")])]) == [
        tmp_path / "no.png"
    ]


def test_any_title_can_be_drawn_and_rows_are_limited(tmp_path: Path):
    titles = ["", "\n\t\0", "W" * 900, "東京 🎷", "a\ud800b", "\u202eright to left", "x " * 500]
    rows = [Shown(title, [Card(title)] * 2, [Card(title)] * 2) for title in titles]
    assert draw_sheet(tmp_path / "few.png", rows) == []
    assert draw_sheet(tmp_path / "many.png", [Shown("u", [], [Card("a")] * (RECOMMENDED + 3))] * (USERS + 5)) == []
    draw_sheet(tmp_path / "limit.png", [Shown("u", [], [Card("a")] * RECOMMENDED)] * USERS)
    assert (tmp_path / "many.png").read_bytes() == (tmp_path / "limit.png").read_bytes()
    page = write_report(
        tmp_path, Results("t", [], [rival("a", 0.1, 1)], "a", np.arange(ITEMS), samples=rows, notes=titles)
    )[-1]
    assert Page(page.read_text(encoding="utf-8")).open == []
