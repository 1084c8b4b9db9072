"""Intent classification: our strategies and a plain Trainer, each in a process of its own, on one official split.

`banking77.py` and `hwu64.py` are the commands; `python benchmarks/intents.py METHOD DATASET` is one method of them.
`--validate` trains on 85 % of the training messages and reports accuracy on the other 15 %: that is how the settings
below were found. Without it a method trains on all of them and reads the test messages once, after training.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import data_folder, save

SEED = 7
HELD = 0.15
MODEL = "all-MiniLM-L6-v2"
EPOCHS = 4
TRAINER_EPOCHS, TRAINER_RATE = 3, 5e-5
METHODS = ("frozen", "full", "trainer")
Pair = tuple[str, str]


def read(dataset: str, split: str) -> list[Pair]:
    """Text and label of every row."""
    path = data_folder(f"text/{dataset}") / "text" / dataset / f"{split}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def divide(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Rest and held-out part, stratified by label."""
    import random

    chance = random.Random(seed)
    by_label: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_label.setdefault(pair[1], []).append(pair)
    rest: list[Pair] = []
    held: list[Pair] = []
    for label in sorted(by_label):
        chance.shuffle(by_label[label])
        cut = max(1, round(share * len(by_label[label])))
        held += by_label[label][:cut]
        rest += by_label[label][cut:]
    chance.shuffle(rest)
    return rest, held


def samples(pairs: Sequence[Pair]) -> list[Any]:
    """As the framework takes them."""
    from triptych.types import Sample

    return [Sample(str(i), text=text, target=label) for i, (text, label) in enumerate(pairs)]


def new_model(labels: Sequence[str], *, lexical: bool = True) -> Any:
    """MiniLM with n-grams beside it, and an untrained head."""
    from triptych.encoders.sentence import SentenceEncoder
    from triptych.models.heads import ClassificationHead
    from triptych.models.multimodal import MultimodalModel

    encoder = SentenceEncoder.create(MODEL, lexical=lexical)
    return MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, labels))


def settings(**changes: Any) -> Any:
    """Of the training loop."""
    from triptych.config import TrainingConfig

    return TrainingConfig(epochs=EPOCHS, patience=EPOCHS, checkpoint_every=EPOCHS, **changes)


def context(workspace: str) -> Any:
    """Where a strategy runs."""
    from triptych.device import choose_device
    from triptych.tuning.base import TuningContext
    from triptych.types import Task

    def tell(progress: Any) -> None:
        print(f"  {progress.step} {progress.done}/{progress.total} {progress.message}", file=sys.stderr)

    return TuningContext(Path(workspace), choose_device(), SEED, Task("classification"), tell)


def train_ours(method: str, train: list[Pair], held: list[Pair], labels: Sequence[str]) -> Trained:
    """`frozen`, `lora` or `full`; without `held`, on all of `train`.

    Regularisation and the share of n-grams are then chosen beforehand by `frozen` on a part of the training data; its
    features are cached, so that training again on all of it costs seconds.
    """
    from triptych.tuning.frozen import Frozen
    from triptych.tuning.full import Full
    from triptych.tuning.lora import Lora

    model = new_model(labels)
    with tempfile.TemporaryDirectory() as workspace:
        where = context(workspace)
        strategies = {"frozen": Frozen, "lora": Lora, "full": Full}
        if held:
            report = strategies[method]().tune(model, samples(train), samples(held), settings(), where)
        else:
            part, chosen_on = divide(train, HELD, SEED)
            choices = Frozen().tune(model, samples(part), samples(chosen_on), settings(), where).choices
            report = strategies[method](**choices).tune(model, samples(train), [], settings(), where)
    loop = [row for row in report.history if "train_loss" in row]
    speed = len(train) * len(loop) / sum(row["cpu_seconds"] for row in loop) if loop else None

    def predict(texts: Sequence[str]) -> list[str]:
        features = model.features(samples([(text, "") for text in texts]))
        return [labels[i] for i in model.fuse(features).logits.argmax(dim=1).tolist()]

    return predict, speed, [f"{method}: {note}" for note in report.notes]


def train_trainer(train: list[Pair], labels: Sequence[str]) -> Trained:
    """What a tutorial does: tokenizer, `AutoModelForSequenceClassification`, `Trainer`."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    from triptych.encoders.checkpoint import find_checkpoint

    set_seed(SEED)
    folder = find_checkpoint(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))
    rows = [
        {**tokenizer(text, truncation=True, max_length=128), "labels": labels.index(label)} for text, label in train
    ]
    with tempfile.TemporaryDirectory() as workspace:
        arguments = TrainingArguments(
            output_dir=workspace,
            num_train_epochs=TRAINER_EPOCHS,
            learning_rate=TRAINER_RATE,
            per_device_train_batch_size=32,
            save_strategy="no",
            report_to="none",
            logging_strategy="no",
            disable_tqdm=True,
            seed=SEED,
        )
        trainer = Trainer(
            model=model, args=arguments, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer)
        )
        before = time.process_time()
        trainer.train()
        speed = len(rows) * TRAINER_EPOCHS / (time.process_time() - before)
    model.eval()

    @torch.inference_mode()
    def predict(texts: Sequence[str]) -> list[str]:
        found: list[int] = []
        for start in range(0, len(texts), 64):
            inputs = tokenizer(list(texts[start : start + 64]), truncation=True, padding=True, return_tensors="pt")
            found += model(**inputs.to(model.device)).logits.argmax(dim=1).tolist()
        return [labels[i] for i in found]

    return predict, speed, []


Trained = tuple[Callable[[Sequence[str]], list[str]], float | None, list[str]]
"""Texts to labels; training samples that went forward and backward in a CPU-second; notes."""


def run_method(method: str, dataset: str, *, validate: bool) -> dict[str, Any]:
    """Train and judge in this process: its CPU seconds from the start to the trained model, imports included."""
    started = time.perf_counter()
    train, held = read(dataset, "train"), list[Pair]()
    labels = sorted({label for _, label in train})
    if validate:
        train, held = divide(train, HELD, SEED)
    if method == "trainer":
        predict, speed, notes = train_trainer(train, labels)
    else:
        predict, speed, notes = train_ours(method, train, held, labels)
    cpu, wall = time.process_time(), time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    test = held if validate else read(dataset, "test")
    right = [float(a == b) for a, (_, b) in zip(predict([text for text, _ in test]), test, strict=True)]

    from triptych.evaluation.bootstrap import bootstrap_interval

    interval = bootstrap_interval(right)
    row = {
        "method": method,
        "validation accuracy" if validate else "test accuracy": 100 * interval.value,
        "95 % interval": f"{100 * interval.low:.1f} to {100 * interval.high:.1f}",
        "training CPU-s": cpu,
        "wall s": wall,
        "samples per CPU-s": speed if speed is not None else len(train) / cpu,
        "peak MB": peak,
    }
    return {"row": row, "notes": notes}


def benchmark(dataset: str, title: str) -> None:
    """Every method in a fresh process, then the table and what it says of the rival."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=[*METHODS, "lora"])
    parser.add_argument("--validate", action="store_true", help="hold out 15 %% of the training data; no test data")
    parser.add_argument("--jobs", type=int, default=1, help="methods at a time; wall seconds then mean little")
    parser.add_argument("--no-save", action="store_true", help="print the rows only")
    options = parser.parse_args()
    data_folder(f"text/{dataset}")

    def in_its_own_process(method: str) -> dict[str, Any]:
        command = [sys.executable, __file__, method, dataset, *(["--validate"] if options.validate else [])]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
        print(json.dumps(result["row"]), file=sys.stderr)
        return result

    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(in_its_own_process, options.methods))
    rows = [result["row"] for result in results]
    notes = [note for result in results for note in result["notes"]]
    if options.no_save or options.validate:
        return
    by_method = {row["method"]: row for row in rows}
    tables = {"Methods": rows}
    if "trainer" in by_method:
        rival = by_method["trainer"]
        tables["Against the plain Trainer"] = [against(row, rival) for row in rows if row is not rival]
    notes.append(
        f"The plain Trainer: {TRAINER_EPOCHS} epochs, learning rate {TRAINER_RATE:g}, batches of 32 padded by the "
        "collator, everything else its default. Both begin with the same MiniLM weights."
    )
    notes.append(
        "CPU seconds are those of the whole process from its start to the trained model, imports, tokenizing and the "
        "choice of settings included. Samples per CPU-second are of the training steps alone (frozen: of everything)."
    )
    save(dataset, title, tables, seed=SEED, notes=notes)


def against(row: dict[str, Any], rival: dict[str, Any]) -> dict[str, Any]:
    """Ratios of one method to the Trainer."""
    return {
        "method": row["method"],
        "accuracy, points more": row["test accuracy"] - rival["test accuracy"],
        "training throughput, times": row["samples per CPU-s"] / rival["samples per CPU-s"],
        "share of its CPU time": row["training CPU-s"] / rival["training CPU-s"],
    }


if __name__ == "__main__":
    command_line = argparse.ArgumentParser(description=__doc__)
    command_line.add_argument("method", choices=[*METHODS, "lora"])
    command_line.add_argument("dataset", choices=["banking77", "hwu64"])
    command_line.add_argument("--validate", action="store_true")
    asked = command_line.parse_args()
    print(json.dumps(run_method(asked.method, asked.dataset, validate=asked.validate)))
