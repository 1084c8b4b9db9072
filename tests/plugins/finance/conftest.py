"""Companies that nobody has heard of, and a scorer that knows a few words."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import triptych_finance
from triptych.config import load_config
from triptych.host import Host
from triptych.pipeline import run
from triptych.predictor import Predictor, load
from triptych_finance.language.entities import Company, Gazetteer
from triptych_finance.scoring import Scores

GOOD = "raises wins soars beats record gains up upgraded hiring strong profit rises jumps rose gained"
BAD = "cuts loses falls misses warns down downgraded layoffs weak loss slips fell lost strike recall fined stumbles"


class WordScorer:
    """Counts good and bad words; `calls` keeps the texts of each call."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def score(self, texts: Sequence[str]) -> Scores:
        self.calls.append(list(texts))
        rows, vectors = [], []
        for text in texts:
            words = re.findall(r"\w+", text.lower())
            good, bad = sum(word in GOOD.split() for word in words), sum(word in BAD.split() for word in words)
            rows.append([0.9, 0.1, 0.0] if bad > good else [0.0, 0.1, 0.9] if good > bad else [0.1, 0.8, 0.1])
            vectors.append([1.0 + good, 1.0 + bad, len(words)])
        found = np.array(vectors, dtype=np.float32).reshape(len(texts), 3)
        lengths = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return Scores(np.array(rows, dtype=np.float32).reshape(len(texts), 3), found / lengths)


@pytest.fixture
def scorer() -> WordScorer:
    return WordScorer()


@pytest.fixture(scope="session")
def companies() -> Gazetteer:
    """Six fictitious companies with all that makes names hard: short symbols, stops, "and", accents."""
    return Gazetteer(
        [
            Company("TVNA", "Torvenna Machinery", "Industrials"),
            Company("SKQ", "Skelvoort Rail", "Industrials"),
            Company("QLMR", "Quellmar Energy", "Energy"),
            Company("ON", "Onvera, Inc.", "Energy"),
            Company("BRW.B", "Brewick & Sons", "Consumer"),
            Company("ZLMS", "Zélmoris", "Healthcare"),
        ],
        [
            ("Torvenna", "TVNA"),
            ("Skelvoort", "SKQ"),
            ("Quellmar", "QLMR"),
            ("Quellmar Gas and Power", "QLMR"),
            ("Onvera", "ON"),
            ("Brewick", "BRW.B"),
            ("St. Zelmoris", "ZLMS"),
        ],
    )


UP = ["profit rises", "orders jump", "the forecast is raised", "it wins a contract", "debt falls", "margins widen"]
DOWN = ["profit slumps", "orders dry up", "the forecast is cut", "it loses a contract", "debt climbs", "margins shrink"]
FLAT = ["it holds its meeting", "a new office opens", "the report is due on Monday", "the board met", "terms were kept"]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finance bundle of words alone, trained on sentences made up here."""
    folder = tmp_path_factory.mktemp("finance")
    with (folder / "news.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        for number in range(8):
            for label, texts in (("positive", UP), ("negative", DOWN), ("neutral", FLAT)):
                writer.writerows([f"{label}-{number}-{i}", f"{t}, item {number}", label] for i, t in enumerate(texts))
    config = {
        "encoders": {"text": {"use": "compact:text", "dim": 64, "buckets": 4096}},
        "data": {"path": str(folder / "news.csv"), "columns": {"id": "id"}},
        "training": {"strategy": "frozen", "epochs": 20, "checkpoint_every": 20},
        "compression": {"enabled": False, "memory": False},
    }
    os.environ.setdefault("TRIPTYCH_HOME", str(folder / "home"))
    return run("finance", load_config(config), output=folder / "bundle", host=host()).bundle


def host() -> Host:
    """A host with the plugin alone, installed or not."""
    return Host({"finance": triptych_finance}, installed=False)


@pytest.fixture(scope="session")
def predictor(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load(bundle, host=host(), state=tmp_path_factory.mktemp("state"))
