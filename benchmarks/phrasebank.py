"""Financial PhraseBank, saved split: how well financial news is read, what training it costs, what compression keeps.

    python benchmarks/phrasebank.py                          # every method, then `COMPRESSED` is compressed
    python benchmarks/phrasebank.py --methods tf-idf frozen  # some of them
    python benchmarks/phrasebank.py --work DIR               # keep what is trained there, and go on with it

Each method has a process of its own, whose CPU-seconds count from its start to the trained model, imports included.
The dev split chooses (epochs, regularisation, thresholds); the test split is read once for each row, after training.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other cost CPU, which is what is counted

import intents
from common import data_folder, save

SEED = intents.SEED
LABELS = ("negative", "neutral", "positive")
ALL = "all"  # the agreement of sentences on which all annotators agree
TFIDF = "tf-idf"


@dataclass(frozen=True, slots=True)
class Method:
    """How a model is trained; every field but the first two adds one idea to the plain strategy.

    `figures`: the outcome of comparing amounts is written into the sentence. `gold`: epochs on the gold headlines with
    their own labels before. `lexical`: a linear model on n-grams beside the encoder. `again`: a second training from
    the same start on what the first model answers, to so many sentences without a label as well, with the settings
    `AGAIN`.
    """

    strategy: str
    settings: dict[str, Any]
    figures: bool = False
    gold: int = 0
    lexical: bool = False
    again: int = 0


GRADED = {"epochs": 3, "learning_rate": 1e-4, "label_smoothing": 0.0, "average": 0.99, "token_dropout": 0.15}
AGAIN = {"frozen_layers": 0, "learning_rate": 2e-4}
"""Of a second training: all layers learn, not the upper four alone, and faster."""
METHODS: dict[str, Method] = {
    TFIDF: Method(TFIDF, {}),
    "tf-idf, figures compared": Method(TFIDF, {}, figures=True),
    "frozen": Method("frozen", {}),
    "graded, figures compared, gold headlines, n-grams": Method("graded", GRADED, figures=True, gold=1, lexical=True),
    "graded, figures compared, gold headlines": Method("graded", GRADED, figures=True, gold=1),
    "graded, figures compared, gold headlines, trained again": Method(
        "graded", {**GRADED, "bfloat16": True}, figures=True, gold=1, again=3_000
    ),
}
COMPRESSED = "graded, figures compared, gold headlines, trained again"
CHAINS = ["int8", "static+int8", "layers:3+neurons:0.5+int8"]
POOL = {"crossed": 8_000, "calls": 4_000, "gold": 2_000}
"""Sentences without a label, at most, by where they come from: for students, and for a second training."""
SHORTEST, LONGEST = 4, 60
"""Words of a sentence of that pool."""
LIMITS = {"accuracy": 85.0, "macro-F1": 0.83, "training CPU-s": 600.0, "points lost": 1.0, "times the throughput": 10.0}
NOTES = (
    "Published for comparison: FinBERT (Araci 2019), 110 million parameters, further pretrained on financial text: "
    "accuracy 0.86, macro-F1 0.84 on all agreements, on a split of its own.",
    "CPU-seconds are of the whole process from its start to the trained model: imports, reading, tokenizing, the gold "
    "headlines where they are used, and the choice of settings on the dev split.",
    "'Figures compared' writes the outcome of amounts that a sentence sets against each other into it "
    "(triptych_finance.language.figures). Every variant and the baseline of the compression read the same sentences; "
    "the comparing itself is outside of their times.",
    "Students and the second training also learn what the trained model answers to sentences without a label: training "
    "sentences crossed at a word that both have, sentences of earnings calls (MAEC) and gold headlines, none of them "
    "equal to one of PhraseBank but for case, punctuation and spacing.",
    "The test split was read more than once while the recipe was made: two earlier trainings of it without token "
    "dropout reached 85.09 % / 0.833 and 84.16 % / 0.816, and one with the share of the n-grams chosen by dev accuracy "
    "alone (1 instead of 0.75) 84.16 % / 0.816. Token dropout and the rule for that share were chosen by "
    "cross-validation on the training split and on dev alone. Without the second training, the model reached 84.99 % / "
    "0.833 on another processor (dev 84.97), with n-grams beside the encoder 84.68 % / 0.824 (dev 85.75): 386 dev "
    "sentences do not tell them apart, and the simpler one was compressed then. Saved last, also without the second "
    "training: 84.58 % / 0.830 (dev 85.49).",
    "'Trained again' was chosen by cross-validation on the training and dev splits alone, three of five parts of 772 "
    "sentences, the same for both recipes, the crossed sentences made of the other parts alone: accuracy 83.29, "
    "82.64 and 84.97 % without, 84.59, 82.77 and 86.14 % with a second training, mean macro-F1 0.820 and 0.829. With "
    "the first training's settings for the second one as well, the test split then gave 84.68 % / 0.829 (dev 86.53).",
    "The settings of the second training were chosen in the same way, on another division into five parts, three of "
    "them: with those of the first 83.03, 83.16 and 83.29 %, with all layers learning 84.20, 83.81 and 82.90 %, at "
    "twice the rate besides 85.75, 83.94 and 83.94 %; mean macro-F1 0.813, 0.819 and 0.831. The test split was read "
    "once with it, by the run that saved this table.",
    "Four more were tried on the first of these parts alone and left: one more layer 83.03 %, five epochs 83.55 %, all "
    "layers for four epochs with 1,500 sentences without a label 85.10 %, all layers after gold headlines through all "
    "layers 84.72 %; the rate was chosen there before the other two parts were run.",
    "'Trained again': a second training from the same start, on the first model's answers mixed half and half with the "
    "graded targets, and on its answers alone to 3,000 of the sentences without a label; all layers learn, at twice "
    "the rate. Products of matrices are computed in bfloat16 while it is trained.",
)


# -- data -------------------------------------------------------------------------------------------------------


def prepare(text: str, method: Method) -> str:
    """The sentence as the model reads it."""
    if not method.figures:
        return text
    from triptych_finance.language.figures import with_comparisons

    return with_comparisons(text)


def sentences(split: str, method: Method) -> list[Any]:
    """The samples of one split; `metadata` has the agreement: all, or at least 75, 66 or 50 percent."""
    from triptych.types import Sample

    path = data_folder("finance/phrasebank") / "finance/phrasebank/phrasebank.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Sample(
                row["id"],
                text=prepare(row["text"], method),
                target=row["label"],
                metadata={"agreement": row["agreement"]},
            )
            for row in csv.DictReader(file)
            if row["split"] == split
        ]


def headlines(split: str) -> list[Any]:
    """The gold headlines of one split with their own labels: what they say of the price, or none."""
    from triptych.types import Sample

    path = data_folder("finance/gold_news") / "finance/gold_news/gold_news.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Sample(f"gold-{number}", text=row["text"], target=row["label"])
            for number, row in enumerate(csv.DictReader(file))
            if row["split"] == split
        ]


def normal(text: str) -> str:
    """What two texts have in common that differ in case, punctuation and spacing only."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def unlabelled(method: Method) -> list[Any]:
    """Sentences without a label, see `POOL`; none is a sentence of PhraseBank, of whatever split."""
    from triptych.compression.static_training import crossed
    from triptych.types import Sample

    data = data_folder("finance/phrasebank", "finance/gold_news", "finance/maec") / "finance"
    with (data / "phrasebank/phrasebank.csv").open(encoding="utf-8", newline="") as file:
        known = {normal(row["text"]) for row in csv.DictReader(file)}
    with gzip.open(data / "maec/sentences.csv.gz", "rt", encoding="utf-8", newline="") as file:
        calls = [row["text"] for row in csv.DictReader(file)]
    chance = random.Random(SEED)
    found = []
    for source, texts in (("calls", calls), ("gold", [sample.text for sample in headlines("train")])):
        apart = {normal(text): text for text in texts if SHORTEST <= len(text.split()) <= LONGEST}
        kept = [text for key, text in sorted(apart.items()) if key not in known]
        found += [prepare(text, method) for text in chance.sample(kept, min(len(kept), POOL[source]))]
    plain = [sample.text for sample in sentences("train", method)]
    found += [text for text in crossed(plain, POOL["crossed"], SEED + 1) if normal(text) not in known]
    return [Sample(f"unlabelled-{number}", text=text) for number, text in enumerate(found)]


def extra(method: Method) -> list[Any] | None:
    """The sentences without a label of a second training, or None where there is none."""
    return random.Random(SEED).sample(unlabelled(method), method.again) if method.again else None


# -- training ---------------------------------------------------------------------------------------------------


def train_model(method: Method, workspace: Path) -> tuple[Any, list[str]]:
    """The trained model, and what its training said."""
    from triptych.config import TrainingConfig
    from triptych.models.heads import ClassificationHead
    from triptych.models.multimodal import MultimodalModel
    from triptych.tuning.frozen import Frozen
    from triptych.tuning.full import Full
    from triptych_finance.graded import Graded

    model = intents.new_model(LABELS, lexical=method.lexical)
    notes: list[str] = []
    if method.gold:
        # the encoder learns what rises and falls; its head is thrown away
        before, held = headlines("train"), headlines("dev")
        labels = sorted({sample.target for sample in before})
        encoder = intents.new_model(labels, lexical=False).encoder("text")
        first = MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, labels))
        settings = TrainingConfig(
            epochs=method.gold,
            patience=method.gold,
            checkpoint_every=method.gold,
            bfloat16=method.settings.get("bfloat16", False),
        )
        place = intents.context(str(workspace / "gold"))
        place.workspace.mkdir(parents=True)
        report = Full().tune(first, before, held, settings, place)
        notes.append(f"gold headlines ({len(before):,}) first: {report.cpu_seconds:.0f} CPU-s")
        encoder.requires_grad_(True)
        if method.lexical:
            encoder.amend(lexical=0)
        model = MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, LABELS))
    settings = TrainingConfig(**{"patience": 99, "checkpoint_every": 99, **method.settings})
    place = intents.context(str(workspace / "tuning"))
    place.workspace.mkdir(parents=True)
    again = settings.model_copy(update=AGAIN) if method.again else None
    strategy = Frozen() if method.strategy == "frozen" else Graded(unlabelled=extra(method), again=again)
    report = strategy.tune(model, sentences("train", method), sentences("dev", method), settings, place)
    return model, [*notes, *report.notes]


def tfidf_predictor(method: Method) -> Any:
    """Texts to probabilities, float64 [texts, 3]: the classical rival of every ledger."""
    from triptych.evaluation.rival import classical_rival

    rival = classical_rival(sentences("train", method), sentences("dev", method))
    order = [sorted(LABELS).index(label) for label in LABELS]
    return lambda samples: rival.pipeline.predict_proba([s.text for s in samples])[:, order]


def run_method(name: str, work: Path) -> dict[str, Any]:
    """Train and judge in this process; the model is left in `work`."""
    method = METHODS[name]
    started = time.perf_counter()
    notes: list[str] = []
    if method.strategy == TFIDF:
        predict = tfidf_predictor(method)
    else:
        with tempfile.TemporaryDirectory() as workspace:
            model, notes = train_model(method, Path(workspace))

        def predict(samples: Sequence[Any]) -> Any:
            features = model.features(samples)
            return model.probabilities(model.fuse(features), features.mask).detach().numpy()

    cpu, wall = time.process_time(), time.perf_counter() - started
    from triptych.compression.prices import Prices

    row: dict[str, Any] = {"method": name}
    dev, test = sentences("dev", method), sentences("test", method)
    row |= figures_of("dev", predict(dev), dev, everything=False)
    row |= figures_of("test", predict(test), test)
    cost = Prices.load().cost(cpu)
    row |= {"training CPU-s": cpu, "wall s": wall, f"training, {cost.currency}": cost.amount}
    if method.strategy != TFIDF:
        (work / "model").mkdir(parents=True, exist_ok=True)
        model.save(work / "model")
    return {"row": row, "notes": [f"{name}: {note}" for note in notes]}


def figures_of(split: str, probabilities: Any, samples: Sequence[Any], *, everything: bool = True) -> dict[str, Any]:
    """Accuracy and macro-F1 on all sentences and, with `everything`, on those that all annotators agree on."""
    from triptych.evaluation.judge import encode_targets
    from triptych.evaluation.metrics import classification_metrics

    targets = encode_targets("classification", LABELS, [s.target for s in samples])
    whole = classification_metrics(probabilities, targets)
    found = {f"{split} accuracy": 100 * whole["accuracy"]}
    if everything:
        found["95 % interval"] = f"{100 * whole['low']:.1f} to {100 * whole['high']:.1f}"
    found[f"{split} macro-F1"] = whole["macro_f1"]
    if everything:
        rows = [i for i, s in enumerate(samples) if s.metadata["agreement"] == ALL]
        part = classification_metrics(probabilities[rows], targets[rows])
        found |= {"full agreement: accuracy": 100 * part["accuracy"], "full agreement: macro-F1": part["macro_f1"]}
    return found


# -- compression ------------------------------------------------------------------------------------------------


def compress(name: str, work: Path, seconds: float) -> tuple[dict[str, Sequence[dict[str, Any]]], list[str]]:
    """The search of `triptych compress` on a trained model: a row for each variant that was judged."""
    import compression
    from triptych.compression.budget import Budget
    from triptych.compression.prices import Prices
    from triptych.config import CompressionConfig
    from triptych.economy import economise
    from triptych.host import Host
    from triptych.models.build import load_model

    method = METHODS[name]
    home = work / slug(name)

    def baseline(model: Any, folder: Path) -> Any:
        return "sentence-transformers fp32", with_ngrams(model, folder / "checkpoint")

    problem = compression.Problem(
        f"PhraseBank, {name}",
        *(sentences(split, method) for split in ("train", "dev", "test")),
        teach=lambda _: load_model(home / "model", Host(installed=False)),
        baseline=baseline,
        drop=LIMITS["points lost"],
        unlabelled=unlabelled(method),
    )
    trained = compression.trained_model(problem, home)
    settings = CompressionConfig(max_drop=problem.drop, seconds=seconds, chains=CHAINS)
    economy = economise(
        trained, Budget(max_drop=problem.drop), settings, Prices.load(), home / "search", compression.tell
    )
    rows = compression.measured(problem, trained, economy, home)
    for row in rows:
        option = economy.options.get(row["variant"])
        if option is not None:
            found = figures_of("test", option.judged.seen["test"].probabilities, problem.test)
            row |= {k: v for k, v in found.items() if k not in ("test accuracy", "95 % interval")}
            row["a million, " + Prices.load().currency] = economy.ledger.variant(row["variant"]).cost_per_million
    steps = [
        {"variant": variant, "step": s.name, "before": s.before, "converted": s.converted, "recovered": s.recovered,
         "CPU-s": s.cpu_seconds}
        for variant, option in economy.options.items()
        for s in option.judged.steps
    ]  # fmt: skip
    notes = [f"In service: {economy.ledger.chosen}. {economy.ledger.why}", *economy.ledger.notes]
    return {problem.title: rows, "Convert, loss, recovery (dev)": steps}, notes


def limits(row: dict[str, Any], variants: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was asked of the trained model `row` and of its variants, what was found, and whether it holds.

    The variants are asked together: the fastest of those that lose no more than may be lost.
    """
    found = [
        ("accuracy", "test accuracy", row["test accuracy"], "at least"),
        ("macro-F1", "test macro-F1", row["test macro-F1"], "at least"),
        ("training CPU-s", "training CPU-s", row["training CPU-s"], "at most"),
    ]
    keeping = [v for v in variants[1:] if v["points lost"] <= LIMITS["points lost"]]
    if keeping:
        fastest = max(keeping, key=lambda v: v["x a CPU-second"])
        times = "times the throughput"
        what = f"{times} of {variants[0]['variant']} by {fastest['variant']}, {fastest['points lost']:.2f} points lost"
        found.append((times, what, fastest["x a CPU-second"], "at least"))
    return [
        {
            "limit": what,
            "asked": f"{side} {LIMITS[key]:g}",
            "found": value,
            "holds": value >= LIMITS[key] if side == "at least" else value <= LIMITS[key],
        }
        for key, what, value, side in found
    ]


def with_ngrams(model: Any, folder: Path) -> Any:
    """The same weights served by sentence-transformers, the n-grams' columns of the head beside them."""
    import torch

    import compression
    from triptych.models.heads import ClassificationHead
    from triptych.models.multimodal import MultimodalModel

    encoder = model.encoder("text")
    if encoder.lexical is None:
        return compression.sentence_transformers(model, folder)
    head = ClassificationHead(encoder.dense_dim, LABELS)
    with torch.no_grad():
        head.linear.weight.copy_(model.head.linear.weight[:, : encoder.dense_dim])
        head.linear.bias.copy_(model.head.linear.bias)
    served = compression.sentence_logits(MultimodalModel({"text": encoder}, None, head), folder)
    columns = model.head.linear.weight[:, encoder.dense_dim :].detach().numpy()

    def answer(samples: list[Any]) -> Any:
        with torch.inference_mode():
            scores = encoder.lexical(encoder.lexical.prepare([s.text for s in samples])).numpy()
        return (served(samples) + scores @ columns.T).argmax(axis=1)

    return answer


def slug(name: str) -> str:
    """A folder's name."""
    return "".join(c if c.isalnum() else "-" for c in name)


def in_its_own_process(name: str, work: Path) -> dict[str, Any]:
    """`run_method` in a fresh process, or what it left in `work` before."""
    home = work / slug(name)
    known = home / "row.json"
    if not known.exists():
        command = [sys.executable, __file__, "--one", name, "--work", str(home)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        home.mkdir(parents=True, exist_ok=True)
        known.write_text(answer.stdout.splitlines()[-1], encoding="utf-8")
    result: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
    print(json.dumps(result["row"]), file=sys.stderr)
    return result


def main() -> None:
    """All rows and the saved table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--compress", default=COMPRESSED, choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--seconds", type=float, default=1500.0, help="of search for something cheaper; 0: none")
    parser.add_argument("--work", type=Path, help="where models and drafts are kept; by default nowhere")
    parser.add_argument("--no-save", action="store_true", help="print the rows only")
    parser.add_argument("--one", choices=list(METHODS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    data_folder("finance/phrasebank", "finance/gold_news", "finance/maec")
    if options.one:
        print(json.dumps(run_method(options.one, options.work)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        results = [in_its_own_process(name, work) for name in options.methods]
        tables: dict[str, Sequence[dict[str, Any]]] = {"Methods": [result["row"] for result in results]}
        notes = [note for result in results for note in result["notes"]]
        if options.seconds and options.compress in options.methods:
            found, said = compress(options.compress, work, options.seconds)
            variants = next(iter(found.values()))
            trained = next(result["row"] for result in results if result["row"]["method"] == options.compress)
            tables = {"Limits": limits(trained, variants), **tables, **found}
            notes += said
    if not options.no_save:
        title = "Financial PhraseBank: 3,474 training, 386 dev and 966 test sentences, all agreements"
        save("phrasebank", title, tables, seed=SEED, notes=[*notes, *NOTES])


if __name__ == "__main__":
    main()
