"""The report has all that a run found, in Markdown and on a page that needs nothing beside it."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.core.compression.test_ledger import STEP, variant
from triptych.bundle import DataSummary, Manifest
from triptych.compression.budget import Budget
from triptych.compression.ledger import Contract, Ledger
from triptych.compression.prices import Prices
from triptych.data.sources import SkippedRow
from triptych.report import write_report

VOID = {"meta", "img", "br", "hr", "link"}


class Page(HTMLParser):
    """The structure of a page; every element must be closed in the order it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def manifest(**changes: Any) -> Manifest:
    contract = Contract(ece=0.02, worst_group="language: <zh>", worst_group_quality=0.9)
    rows = [
        variant("full", 0.937, 0.26, size_mb=90, p50_ms=14),
        variant("int8", 0.935, 0.085, size_mb=22, p50_ms=4.6, contract=contract, steps=[STEP], compression_cost=0.01),
    ]
    ledger = Ledger.choose(
        rows,
        budget=Budget(max_drop=0.5),
        parent="full",
        rival=variant("TF-IDF", 0.91, 0.002),
        prices=Prices.load(),
        notes=["Assumed <prices>."],
    )
    split = {"samples": 100, "accuracy": 0.93, "low": 0.9, "high": 0.95, "confusion": [[1, 2], [3, 4]]}
    values: dict[str, Any] = {
        "vertical": "shop & co <script>alert(1)</script>",
        "data": DataSummary(source="a|b.csv", counts={"out_of_scope": 3}, details={"modalities": ["text", "image"]}),
        "training": {
            "strategy": "full",
            "epochs": 3,
            "cpu_seconds": 12.0,
            "device": {"reasons": ["cpu: no GPU was found"]},
            "notes": ["a note"],
        },
        "config": {"seed": 42},
        "metrics": {
            "validation": split,
            "test": {**split, "out_of_scope": {"auroc": 0.97, "threshold_basis": "out-of-scope"}},
            "subsets": {"rows": [{"parts": "text", "accuracy": 0.8}], "verdict": "Together is better."},
            "vertical": {
                "shelves": 4,
                "shelf_life": {"rows": [{"days": 7, "kept": 0.75}], "verdict": "It keeps."},
                "smell": {"rows": [], "verdict": "Nothing smelled."},
            },
        },
        "ledger": ledger.to_json(),
    }
    return Manifest(**(values | changes))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("report")
    skipped = [SkippedRow(file="data.csv", row=7, reason="no <label>")]
    assert write_report(directory, manifest(), ["a & b\nc"], skipped) == directory / "report.md"
    return directory


def test_everything_that_was_found_is_in_both(written: Path) -> None:
    text = (written / "report.md").read_text(encoding="utf-8")
    page = " ".join(Page((written / "report.html").read_text(encoding="utf-8")).words)
    for told in (
        "seed 42",
        "a note",
        "no GPU was found",
        "out of scope 3",
        "Together is better.",
        "Shelf life",
        "0.75",
        "It keeps.",
        "Nothing smelled.",
        "threshold basis",
        "int8 is chosen",
        "Worth it: ",
        "language: <zh>",
        "128 samples",
        "paid back after",
        "hosted_classification",
        "Assumed <prices>.",
        "data.csv, row 7: no <label>",
    ):
        assert told in text
        assert told in page
    assert "confusion" not in text


def test_the_page_escapes_every_text_and_needs_nothing_beside_it(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.all("script") == []
    assert page.all("zh") == page.all("label") == page.all("prices") == []
    assert page.all("link") == []
    assert not re.search(r"https?://|url\(", text)
    [image] = page.all("img")
    kind, _, content = str(image["src"]).partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == (written / "pareto.png").read_bytes()


def test_the_page_can_be_read_aloud(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert len(page.all("caption")) == len(page.all("table")) >= 6
    assert "int8" in str(page.all("img")[0]["alt"])
    assert {c.get("scope") for c in page.all("th")} <= {"col", "row"}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {str(a["href"])[1:] for a in page.all("a")} == set(ids)
    assert "prefers-color-scheme: dark" in text


def test_the_markdown_keeps_its_tables_whole(written: Path) -> None:
    lines = (written / "report.md").read_text(encoding="utf-8").splitlines()
    assert "- a & b c" in lines  # a warning stays one point
    assert "![accuracy against cost per million requests of 2 variants; chosen: int8](pareto.png)" in lines
    table: list[int] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            table.append(len(re.findall(r"(?<!\\)\|", line)))
        else:
            assert len(set(table)) <= 1
            table = []


def test_a_run_without_any_extras_is_reported_too(tmp_path: Path) -> None:
    metrics = {name: {"samples": 3, "mse": 0.5, "low": 0.4, "high": 0.6} for name in ("validation", "test")}
    alone = Ledger.choose([variant("frozen", 0.5, 0.1, metric="mse", higher_is_better=False)])
    write_report(tmp_path, manifest(metrics=metrics, ledger=alone.to_json()), [], [])
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Summary", "## Quality", "## Cost", "## Warnings", "## Rows that were skipped"]
    assert text.count("None.") == 2
    Page((tmp_path / "report.html").read_text(encoding="utf-8"))
