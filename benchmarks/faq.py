"""FAQ retrieval on StackFAQ: by words, by vectors, by both, and by vectors of an encoder tuned on paraphrases.

125 questions with answers are indexed in a collection; people's paraphrases ask for them. Settings are chosen on two
in five of the training paraphrases; then the encoder is tuned on all of them, and the test paraphrases are read once.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common import data_folder, metered, save

MODEL = "all-MiniLM-L6-v2"
SEED = 7
HELD = 2  # of about five training paraphrases of a question
K = 10
DEPTH = 100  # of each list; several keys of one question may stand before the next question
BATCH = 128  # the contrast is among the texts of a batch
EPOCHS, CONTRASTS = (3,), (0.05, 0.1)
WORDS = ("unicode", "porter")
SHARES = (0.1, 0.25, 0.5, 1.0)  # of the words' list beside the vectors' list of weight one
FUSIONS = ("rrf", "calibrated")
KEYS = ("question", "question + answers", "question, training paraphrases")
DENSE = {"dense": False, "hybrid": False, "fine-tuned": True, "fine-tuned hybrid": True}

Array = np.ndarray[Any, Any]


class Query(NamedTuple):
    """What somebody asked, and the number of the FAQ that answers it."""

    text: str
    faq: int


@dataclass(frozen=True)
class Faqs:
    """The FAQs and the paraphrases of both splits."""

    questions: dict[int, str]
    answers: dict[int, str]  # of each, all of them in one text
    train: list[Query]
    test: list[Query]


@dataclass(frozen=True)
class Choice:
    """What validation decided about one way to search."""

    words: str = "unicode"
    share: float = 1.0
    fusion: str = "rrf"
    mrr: float = -1.0


def read() -> Faqs:
    folder = data_folder("text/stackfaq") / "text" / "stackfaq"
    rows = [json.loads(line) for line in (folder / "faq.jsonl").read_text(encoding="utf-8").splitlines()]
    splits: dict[str, list[Query]] = {"train": [], "test": []}
    with (folder / "queries.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            splits[row["split"]].append(Query(row["text"].strip(), int(row["faq_id"])))
    return Faqs(
        {row["faq_id"]: row["question"] for row in rows},
        {row["faq_id"]: " ".join(row["answers"]) for row in rows},
        splits["train"],
        splits["test"],
    )


def divide(queries: Sequence[Query]) -> tuple[list[Query], list[Query]]:
    """Those to learn from and those to choose on: `HELD` of each FAQ."""
    chance = random.Random(SEED)
    by_faq: dict[int, list[Query]] = defaultdict(list)
    for query in queries:
        by_faq[query.faq].append(query)
    rest: list[Query] = []
    held: list[Query] = []
    for faq in sorted(by_faq):
        chance.shuffle(by_faq[faq])
        held += by_faq[faq][:HELD]
        rest += by_faq[faq][HELD:]
    return rest, held


def entries(faqs: Faqs, keys: str, paraphrases: Sequence[Query]) -> list[Query]:
    """The texts that are indexed, each with its FAQ."""
    if keys == "question + answers":
        return [Query(f"{text} {faqs.answers[faq]}", faq) for faq, text in faqs.questions.items()]
    found = [Query(text, faq) for faq, text in faqs.questions.items()]
    return found + list(paraphrases) if keys == "question, training paraphrases" else found


def frozen_encoder() -> Any:
    from triptych.encoders.sentence import SentenceEncoder

    return SentenceEncoder.create(MODEL)


def tuned_encoder(faqs: Faqs, paraphrases: Sequence[Query], epochs: int, contrast: float, workspace: Path) -> Any:
    """MiniLM in which texts of the same FAQ were drawn together, by the framework's own loop.

    The head is the identity and stays so: the vectors that are trained are those that are searched.
    """
    import torch

    from triptych.config import TrainingConfig
    from triptych.device import choose_device
    from triptych.models.heads import EmbeddingHead
    from triptych.models.multimodal import MultimodalModel
    from triptych.tuning.base import TuningContext
    from triptych.tuning.deep import disable_dropout, freeze_lowest, tune_encoders
    from triptych.types import Sample, Task

    torch.manual_seed(SEED)
    encoder = frozen_encoder()
    head = EmbeddingHead(encoder.dim, encoder.dim, contrast)
    torch.nn.init.eye_(head.linear.weight)
    torch.nn.init.zeros_(head.linear.bias)
    model = MultimodalModel({"text": encoder}, None, head)
    model.requires_grad_(True)
    head.requires_grad_(False)
    settings = TrainingConfig(epochs=epochs, patience=epochs, checkpoint_every=epochs, batch_size=BATCH)
    freeze_lowest(model, settings.frozen_layers)
    disable_dropout(model)
    texts = entries(faqs, "question, training paraphrases", paraphrases)
    samples = [Sample(str(i), text=text, target=faq) for i, (text, faq) in enumerate(texts)]
    context = TuningContext(workspace, choose_device(), SEED, Task("embedding"))
    tune_encoders(model, samples, [], settings, context, [], step=f"{epochs}-{contrast}-{len(paraphrases)}")
    return encoder


class Encoded:
    """An encoder that encodes each text once."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._known: dict[str, Array] = {}

    def __call__(self, texts: Sequence[str]) -> Array:
        """Unit vectors float32 [texts, dim]."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            found = self._encoder.encode(new, batch_size=64).numpy().astype(np.float32)
            self._known |= dict(zip(new, found / np.linalg.norm(found, axis=1, keepdims=True), strict=True))
        return np.stack([self._known[text] for text in texts])


def indexed(folder: Path, texts: Sequence[Query], encode: Encoded, words: str) -> Any:
    """A collection of these texts, with their vectors and the FAQ as metadata."""
    from triptych.retrieval.base import VectorField
    from triptych.retrieval.collection import Collection, CollectionSettings

    vectors = encode([text for text, _ in texts])
    collection = Collection.create(
        folder, [VectorField(dim=vectors.shape[1])], settings=CollectionSettings(words=words)
    )
    collection.add(
        [str(number) for number in range(len(texts))],
        vectors,
        [{"faq": faq} for _, faq in texts],
        contents=[{"text": text} for text, _ in texts],
    )
    return collection


def search(method: str, collection: Any, texts: Sequence[str], encode: Encoded, choice: Choice) -> list[list[int]]:
    """The ten FAQs for each text, best first."""
    from triptych.retrieval.hybrid import hybrid

    if method == "words":
        hits = collection.search_text(texts, DEPTH)
    elif "hybrid" in method:
        weights = {"words": choice.share, "vector": 1.0}
        hits = [
            hybrid(
                collection, DEPTH, text=text, vectors={"vector": vector}, fusion=choice.fusion, weights=weights,
                depth=DEPTH,
            )
            for text, vector in zip(texts, encode(texts), strict=True)
        ]  # fmt: skip
    else:
        hits = collection.search(encode(texts), DEPTH)
    return [list(dict.fromkeys(hit.metadata["faq"] for hit in found))[:K] for found in hits]


def reciprocal_ranks(found: Sequence[Sequence[int]], queries: Sequence[Query]) -> list[float]:
    """One over the place of the right FAQ among the first ten, 0 where it is not there; their mean is MRR@10."""
    return [
        1 / (1 + list(faqs).index(query.faq)) if query.faq in faqs else 0.0
        for faqs, query in zip(found, queries, strict=True)
    ]


def candidates(method: str, words: str) -> list[Choice]:
    """What is tried; `words` is what was best for words alone."""
    if method == "words":
        return [Choice(words=name) for name in WORDS]
    if "hybrid" in method:
        return [Choice(words, share, fusion) for share, fusion in itertools.product(SHARES, FUSIONS)]
    return [Choice()]


def choose(
    faqs: Faqs, rest: Sequence[Query], held: Sequence[Query], encoders: Mapping[bool, Encoded], folder: Path
) -> dict[tuple[str, str], Choice]:
    """For each way to search and kind of keys, what finds most of the `held` paraphrases; the first of equals."""
    chosen: dict[tuple[str, str], Choice] = {}
    texts = [query.text for query in held]
    for keys, method in itertools.product(KEYS, ("words", *DENSE)):
        encode = encoders[DENSE.get(method, False)]
        opened: dict[str, Any] = {}
        best = Choice()
        for option in candidates(method, chosen.get((keys, "words"), best).words):
            if option.words not in opened:
                place = folder / f"{KEYS.index(keys)}-{method}-{option.words}"
                opened[option.words] = indexed(place, entries(faqs, keys, rest), encode, option.words)
            found = search(method, opened[option.words], texts, encode, option)
            mrr = float(np.mean(reciprocal_ranks(found, held)))
            if mrr > best.mrr:
                best = Choice(option.words, option.share, option.fusion, mrr)
        for collection in opened.values():
            collection.close()
        chosen[keys, method] = best
    return chosen


def tune(
    faqs: Faqs, rest: Sequence[Query], held: Sequence[Query], workspace: Path
) -> tuple[Encoded, Encoded, list[dict[str, Any]], list[str]]:
    """The encoder tuned on `rest` (to choose the other settings with), the one tuned on everything; what was tried."""
    tried: list[dict[str, Any]] = []
    best: tuple[float, int, float, Encoded] | None = None
    texts = [query.text for query in held]
    with metered() as search_cost:
        for epochs, contrast in itertools.product(EPOCHS, CONTRASTS):
            encode = Encoded(tuned_encoder(faqs, rest, epochs, contrast, workspace))
            with indexed(workspace / f"index-{epochs}-{contrast}", entries(faqs, KEYS[0], []), encode, "unicode") as c:
                found = search("dense", c, texts, encode, Choice())
            mrr = float(np.mean(reciprocal_ranks(found, held)))
            tried.append({"epochs": epochs, "temperature": contrast, f"validation MRR@{K}": mrr})
            print(f"  {epochs} epochs, temperature {contrast}: {mrr:.4f}", file=sys.stderr)
            if best is None or mrr > best[0]:
                best = (mrr, epochs, contrast, encode)
    assert best is not None
    with metered() as last_cost:
        final = Encoded(tuned_encoder(faqs, faqs.train, best[1], best[2], workspace))
    note = (
        f"Fine-tuned: {MODEL}, contrast within batches of {BATCH} texts of which those of one FAQ are partners, "
        f"{best[1]} epochs, temperature {best[2]:g} (chosen on validation paraphrases); embeddings and the two lowest "
        f"layers fixed. Trying {len(tried)} settings took {search_cost.cpu_seconds:.0f} CPU-seconds, the last training "
        f"{last_cost.cpu_seconds:.0f} ({last_cost.seconds:.0f} s)."
    )
    return best[3], final, tried, [note]


def judge(
    faqs: Faqs, chosen: Mapping[tuple[str, str], Choice], encoders: Mapping[bool, Encoded], folder: Path
) -> list[dict[str, Any]]:
    """The test paraphrases, read once: a row for each way to search and kind of keys."""
    from triptych.evaluation.bootstrap import bootstrap_interval, paired_bootstrap

    texts = [query.text for query in faqs.test]
    rows, plain = [], list[float]()
    order = [(KEYS[0], "dense"), *(pair for pair in itertools.product(KEYS, ("words", *DENSE)))]
    for number, (keys, method) in enumerate(dict.fromkeys(order)):
        choice, encode = chosen[keys, method], encoders[DENSE.get(method, False)]
        with indexed(folder / f"test-{number}", entries(faqs, keys, faqs.train), encode, choice.words) as collection:
            found = search(method, collection, texts, encode, choice)
        ranks = reciprocal_ranks(found, faqs.test)
        plain = plain or ranks
        gain = paired_bootstrap(ranks, plain)
        settings = {"words": choice.words, "hybrid": f"{choice.words}, {choice.fusion}, words x {choice.share:g}"}
        row: dict[str, Any] = {
            "keys": keys,
            "search": method,
            "settings": settings.get(method.split()[-1], ""),
            f"validation MRR@{K}": choice.mrr,
        }
        for name, values in {
            f"MRR@{K}": ranks,
            f"recall@{K}": [float(rank > 0) for rank in ranks],
            "recall@1": [float(rank == 1) for rank in ranks],
        }.items():
            interval = bootstrap_interval(values)
            row[name] = interval.value
            row[f"{name}, 95 %"] = f"{interval.low:.3f} to {interval.high:.3f}"
        row["MRR beside dense on questions"] = f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
        rows.append(row)
    return sorted(rows, key=lambda row: (KEYS.index(row["keys"]), ["words", *DENSE].index(row["search"])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--validate", action="store_true", help="choose only; print that and leave the test unread")
    options = parser.parse_args()
    faqs = read()
    rest, held = divide(faqs.train)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frozen = Encoded(frozen_encoder())
        partly, tuned, tried, notes = tune(faqs, rest, held, folder)
        chosen = choose(faqs, rest, held, {False: frozen, True: partly}, folder)
        if options.validate:
            for line in [*tried, *chosen.items(), *notes]:
                print(line)
            return
        rows = judge(faqs, chosen, {False: frozen, True: tuned}, folder)
    notes += [
        f"{len(faqs.questions)} FAQs; {len(rest)} paraphrases to learn from and {len(held)} to choose on (together the "
        f"training split, all of which the last encoder and the further keys are made of), {len(faqs.test)} of the "
        "test split, read once after every choice. Intervals resample test paraphrases; those of one FAQ are alike, so "
        "that they are rather too narrow.",
        f"words is BM25, dense is frozen {MODEL}; a hybrid fuses both lists, {DEPTH} deep. A FAQ stands where its best "
        "key stands. Answers beyond the 256 tokens that MiniLM reads count for the words only.",
    ]
    title = "StackFAQ: which of 125 questions was meant"
    save("faq", title, {"Test paraphrases": rows, "Fine-tuning, on validation": tried}, seed=SEED, notes=notes)


if __name__ == "__main__":
    main()
