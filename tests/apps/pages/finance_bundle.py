"""A finance bundle written by hand, which answers without training, and a monitor that needs no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.apps.pages import finance_parts
from triptych.bundle import BundleWriter, Manifest
from triptych.config import RetrievalConfig
from triptych.evaluation.scope import ScopeDetector
from triptych.host import Host
from triptych.indexing import write_examples
from triptych.runtime.exported import ExportedModel
from triptych.runtime.open import variant_path
from triptych.types import Sample
from triptych_finance.monitor.engine import Monitor
from triptych_finance.scoring import LABELS, Scores
from triptych_finance.settings import Settings
from triptych_finance.store.store import Store
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Poll
from triptych_finance.vertical import gazetteer_of

VARIANT = "words"
START = datetime(2026, 1, 5, tzinfo=UTC)
SIGNAL = {"warmup_buckets": 4, "budget_per_week": 1.2, "refractory_hours": 48.0}
EXAMPLES = [
    Sample(f"{label}-{number}", text=" ".join([word] * (number + 1)), target=label)
    for label, word in zip(LABELS, ("loss", "meets", "wins"), strict=True)
    for number in range(3)
]


def write_finance(output: Path, workspace: Path, prices: Path | None = None) -> Path:
    """The bundle; with a file of prices, which the page draws."""
    host = Host({"finance_parts": finance_parts}, installed=False)
    with BundleWriter(output, workspace) as writer:
        home = variant_path(writer.path, VARIANT)
        (home / "text").mkdir(parents=True)
        runtime = {
            "format": 1,
            "variant": VARIANT,
            "head": {"kind": "classification", "labels": list(LABELS)},
            "modalities": {"text": {"runner": "news-words", "dim": 3, "settings": {}}},
            "fusion": None,
            "temperatures": [1.0] * 2,
        }
        (home / "runtime.json").write_text(json.dumps(runtime))
        head = {"weight": 3 * np.eye(3, dtype=np.float32), "bias": np.zeros(3, dtype=np.float32)}
        save_file(head, home / "head.safetensors")
        model = ExportedModel.load(home, host)
        encoded = model.encode(EXAMPLES)
        seen = model.seen(encoded)
        labels = np.array([LABELS.index(str(sample.target)) for sample in EXAMPLES])
        detector = ScopeDetector.fit(seen.embeddings, labels, evidence=seen.evidence)
        detector.set_threshold(inside=seen, rate=0.05)
        (home / "scope").mkdir()
        detector.save(home / "scope")
        write_examples(home, EXAMPLES, model, RetrievalConfig(), encoded=encoded)
        vertical = {"signal": SIGNAL, "prices": None if prices is None else str(prices)}
        writer.commit(Manifest(vertical="finance", config={"vertical": vertical}, ledger={"chosen": VARIANT}))
    return output


class WordScorer:
    """Scores by the words that the bundle counts."""

    def score(self, texts: Sequence[str]) -> Scores:
        rows = np.array([finance_parts.counts(text) for text in texts], dtype=np.float32).reshape(len(texts), 3)
        powers = np.exp(3 * rows)
        vectors = (rows + 0.1) / np.linalg.norm(rows + 0.1, axis=1, keepdims=True)
        return Scores(powers / powers.sum(axis=1, keepdims=True), vectors.astype(np.float32))


class Newsroom:
    """A monitor on a store, and news for it: one calm item a day and company, and what is added to it."""

    def __init__(self, store: Store) -> None:
        settings = Settings.model_validate({"signal": SIGNAL})
        self.monitor = Monitor(store, WordScorer(), gazetteer_of(settings), settings)
        self._number = 0

    def tell(self, when: datetime, *texts: str) -> None:
        """Items that are published at a time and come at once."""
        self._give([self._item(when, text) for text in texts])

    def calm(self, first: int, last: int, names: tuple[str, ...] = ("Torvenna", "Skelvoort", "Quellmar")) -> None:
        """Days of news that say nothing, all in one poll."""
        items = []
        for day in range(first, last):
            what = ("opens a plant", "names a chairman", "moves its office", "publishes a calendar")[day % 4]
            texts = (f"{name} {what}, note {day * 7919} on {name}" for name in names)
            items += [self._item(START + timedelta(days=day), text) for text in texts]
        self._give(items)

    def _item(self, when: datetime, text: str) -> Item:
        self._number += 1
        published = when + timedelta(minutes=self._number % 600)
        return Item(f"n{self._number}", "wire", text, published, published, url=f"https://wire.example/{self._number}")

    def _give(self, items: list[Item]) -> None:
        self.monitor.process("wire", Poll(items, str(self._number), False, []))

    def burst(self, day: int, name: str, *, good: bool = False) -> None:
        """A day on which much is said of one company."""
        said = ("wins an order", "raises its forecast", "reports record profit", "beats estimates")
        if not good:
            said = ("cuts jobs", "warns of a loss", "loses a lawsuit", "falls on weak sales")
        self.tell(
            START + timedelta(days=day), *(f"{name} {what}, part {day}{k} of {k * 31}" for k, what in enumerate(said))
        )
