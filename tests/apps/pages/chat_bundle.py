"""A bundle of customer service written by hand, which answers without training, with the plugin `chat_parts`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.apps.pages import chat_parts
from tests.core.runtime.bundles import write_fusion
from triptych.bundle import BundleWriter, Manifest
from triptych.config import RetrievalConfig
from triptych.evaluation.scope import ScopeDetector
from triptych.host import Host
from triptych.indexing import write_documents, write_examples
from triptych.runtime.exported import ExportedModel
from triptych.runtime.open import variant_path
from triptych.types import Sample
from triptych_customer_service.intents import SAMPLE
from triptych_customer_service.knowledge import read_articles

RUNNERS = {"text": "chat-words", "image": "chat-pictures", "audio": "chat-sounds"}
VARIANT = "plain"
READERS = {"ocr": "test-ocr", "asr": "test-asr"}
EXAMPLES = [
    Sample(f"{topic}-{number}", text=" ".join(words[: number + 1]), target=topic)
    for topic, words in chat_parts.TOPICS.items()
    for number in range(3)
]


def write_chat(output: Path, workspace: Path) -> Path:
    """The bundle: three intents, the articles of the sample, a price."""
    topics = list(chat_parts.TOPICS)
    host = Host({"chat_parts": chat_parts}, installed=False)
    with BundleWriter(output, workspace) as writer:
        home = variant_path(writer.path, VARIANT)
        home.mkdir(parents=True)
        runtime = {
            "format": 1,
            "variant": VARIANT,
            "head": {"kind": "classification", "labels": topics},
            "modalities": {m: {"runner": runner, "dim": 3, "settings": {}} for m, runner in RUNNERS.items()},
            "fusion": "fusion.onnx",
            "temperatures": [1.0] * 8,
        }
        (home / "runtime.json").write_text(json.dumps(runtime))
        for modality in RUNNERS:
            (home / modality).mkdir()
        write_fusion(home / "fusion.onnx", tuple(RUNNERS), sharpness=6.0)
        model = ExportedModel.load(home, host)
        encoded = model.encode(EXAMPLES)
        seen = model.seen(encoded)
        labels = np.array([topics.index(str(sample.target)) for sample in EXAMPLES])
        detector = ScopeDetector.fit(seen.embeddings, labels, evidence=seen.evidence)
        detector.set_threshold(inside=seen, rate=0.05)
        (home / "scope").mkdir()
        detector.save(home / "scope")
        write_examples(home, EXAMPLES, model, RetrievalConfig(), encoded=encoded)
        found = read_articles(SAMPLE / "knowledge_base.jsonl")
        known = [article.document() for article in found if set(article.intents) & set(topics)]
        write_documents(home, known, model, RetrievalConfig())
        row = {"name": VARIANT, "cost_per_million": 12.5, "currency": "EUR"}
        config = {"vertical": {"readers": READERS}}
        writer.commit(
            Manifest(vertical="customer-service", config=config, ledger={"chosen": VARIANT, "variants": [row]})
        )
    return output
