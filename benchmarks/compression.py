"""How little a trained model can cost: the search of `triptych compress` on text, pictures, sounds and all three.

    python benchmarks/compression.py                    # every task, about forty minutes on two idle cores
    python benchmarks/compression.py banking77          # one of them
    python benchmarks/compression.py --work DIR         # keep trained teachers and drafts there, and go on with them

Each task trains a model through the product's strategies, holds a test split back, and hands it to the search. The
table has a row for every variant that was judged: test quality and, measured in turns in the same process, the time of
single requests and of batches. `x` columns are against the baseline of the task: the same fine-tuned weights served in
float32 by sentence-transformers for text, by eager torch otherwise. CPU-seconds are what is paid for; one thread.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: threads that wait for each other cost CPU

import numpy as np
import torch

import intents
import media
import trimodal
from common import data_folder, save
from triptych.compression.budget import Budget
from triptych.compression.ledger import Ledger
from triptych.compression.measure import Measurement, measure_all
from triptych.compression.prices import Prices
from triptych.config import CompressionConfig, Config, TrainingConfig
from triptych.device import choose_device
from triptych.economy import Economy, economise
from triptych.evaluation.calibration import fit_temperatures
from triptych.evaluation.judge import judge
from triptych.finalist import Trained
from triptych.host import Host
from triptych.models.build import load_model
from triptych.models.multimodal import MultimodalModel
from triptych.runtime.base import Session
from triptych.runtime.torch_session import TorchSession
from triptych.tuning.base import Progress, TuningContext
from triptych.tuning.frozen import Frozen
from triptych.tuning.full import Full
from triptych.types import Sample, Task

SEED = 7
SECONDS = 900.0
ROUNDS = 5
Answer = Callable[[list[Sample]], Any]


@dataclass(frozen=True)
class Problem:
    """A task: its splits, how its model is trained, and who serves it in float32 for comparison."""

    title: str
    train: Sequence[Sample]
    validation: Sequence[Sample]
    test: Sequence[Sample]
    teach: Callable[[Path], MultimodalModel]
    baseline: Callable[[MultimodalModel, Path], tuple[str, Answer]]
    drop: float  # points that may be lost
    notes: tuple[str, ...] = ()
    unlabelled: Sequence[Sample] = ()  # what students are taught beside the training split


def tell(progress: Progress) -> None:
    """Progress on standard error."""
    print(f"  {progress.step} {progress.done}/{progress.total} {progress.message}", file=sys.stderr)


def context(work: Path) -> TuningContext:
    """Where a strategy trains."""
    (work / "tuning").mkdir(parents=True, exist_ok=True)
    return TuningContext(work / "tuning", choose_device("cpu"), SEED, Task("classification"), tell)


# -- tasks ------------------------------------------------------------------------------------------------------


def banking77() -> Problem:
    """MiniLM fine-tuned on nine tenths of the training messages; the tenth chooses, the official test judges."""
    train, held = intents.divide(intents.read("banking77", "train"), 0.1, SEED)
    train_samples, held_samples = intents.samples(train), intents.samples(held)
    labels = sorted({label for _, label in train})

    def teach(work: Path) -> MultimodalModel:
        model: MultimodalModel = intents.new_model(labels, lexical=False)
        Full().tune(model, train_samples, held_samples, intents.settings(), context(work))
        return model

    def baseline(model: MultimodalModel, work: Path) -> tuple[str, Answer]:
        return "sentence-transformers fp32", sentence_transformers(model, work / "checkpoint")

    test = intents.samples(intents.read("banking77", "test"))
    return Problem("Banking77, MiniLM fine-tuned", train_samples, held_samples, test, teach, baseline, 0.5)


def grocery() -> Problem:
    """MobileNetV1 of width 0.75, a linear head on it."""
    benchmark = media.BENCHMARKS["grocery"]
    fold = benchmark.read(data_folder("image/grocery", "weights"))[0]
    method = next(m for m in benchmark.methods if m.name.startswith("MobileNetV1"))
    return _frozen_media("Grocery, MobileNetV1 0.75", benchmark, method, fold)


def esc10(number: int) -> Problem:
    """YAMNet, a linear head on it; one fold is the test."""
    benchmark = media.BENCHMARKS["esc10"]
    fold = benchmark.read(data_folder("audio/esc10", "weights"))[number - 1]
    return _frozen_media(f"ESC-10 (fold {number}), YAMNet", benchmark, benchmark.methods[0], fold)


def fsdd() -> Problem:
    """Spoken digits: YAMNet fine-tuned for four epochs, the official test."""
    benchmark = media.BENCHMARKS["digits"]
    fold = benchmark.read(data_folder("audio/fsdd", "weights"))[0]
    method = next(m for m in benchmark.methods if m.epochs)

    def teach(work: Path) -> MultimodalModel:
        model = media.new_model(benchmark, method, fold, Host(installed=False))
        settings = TrainingConfig(epochs=method.epochs, patience=method.epochs, frozen_layers=0, **method.settings)
        Full().tune(model, fold.train, fold.validation, settings, context(work))
        return model

    return Problem("Spoken digits, YAMNet fine-tuned", fold.train, fold.validation, fold.test, teach, eager, 1.0)


def _frozen_media(title: str, benchmark: media.Benchmark, method: media.Method, fold: media.Fold) -> Problem:
    def teach(work: Path) -> MultimodalModel:
        model = media.new_model(benchmark, method, fold, Host(installed=False))
        Frozen().tune(model, fold.train, fold.validation, TrainingConfig(epochs=1), context(work))
        return model

    return Problem(title, fold.train, fold.validation, fold.test, teach, eager, 1.0)


def digits() -> Problem:
    """Three modalities, gated fusion."""
    problem = trimodal.digits(data_folder("trimodal/digits", "audio/fsdd"))

    def teach(work: Path) -> MultimodalModel:
        return trimodal.train(problem, "gated", ("text", "image", "audio"), context(work).workspace).model

    notes = tuple(problem.notes)
    return Problem("trimodal/digits, gated", problem.train, problem.validation, problem.test, teach, eager, 1.0, notes)


def eager(model: MultimodalModel, work: Path) -> tuple[str, Answer]:
    """The model as it was trained, in torch."""
    session = TorchSession(model, None, choose_device("cpu"))
    return "eager torch fp32", lambda samples: classify(session, samples)


def sentence_transformers(model: MultimodalModel, folder: Path) -> Answer:
    """The labels, by number, of `sentence_logits`."""
    served = sentence_logits(model, folder)
    return lambda samples: served(samples).argmax(axis=1)


def sentence_logits(model: MultimodalModel, folder: Path) -> Answer:
    """The fine-tuned encoder in the library it comes from, and the head as one matrix product."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    encoder: Any = model.encoder("text")
    encoder.backbone.save_pretrained(folder)
    encoder.tokenizer.save(str(folder / "tokenizer.json"))
    packaged = _tokenizer_folder()
    for name in ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (packaged / name).exists():
            (folder / name).write_bytes((packaged / name).read_bytes())
    transformer = Transformer(str(folder), max_seq_length=encoder.settings["max_length"])
    served = SentenceTransformer(modules=[transformer, Pooling(encoder.hidden, "mean"), Normalize()], device="cpu")
    weight, bias = model.head.linear.weight.detach().numpy(), model.head.linear.bias.detach().numpy()

    def answer(samples: list[Sample]) -> Any:
        vectors = served.encode([s.text for s in samples], batch_size=32, show_progress_bar=False)
        return vectors @ weight.T + bias

    return answer


def _tokenizer_folder() -> Path:
    from triptych.encoders.checkpoint import find_checkpoint

    return find_checkpoint(intents.MODEL, organisation="sentence-transformers")


# -- measuring --------------------------------------------------------------------------------------------------


def classify(session: Any, samples: Sequence[Sample]) -> np.ndarray[Any, Any]:
    """The labels, by number, of a session with one space."""
    fused = session.fuse(session.encode(samples))
    labels: np.ndarray[Any, Any] = fused.logits.argmax(axis=1)
    return labels


def answer_of(session: Session) -> Answer:
    """Samples to labels, with whatever the session does on the way."""
    if hasattr(session, "encode"):
        return lambda samples: classify(session, samples)
    return lambda samples: [outcome.prediction.label for outcome in session.run(samples)]


def trained_model(problem: Problem, work: Path) -> Trained:
    """The teacher, trained or found in `work`, with all that the search wants to know."""
    host, folder = Host(installed=False), work / "teacher"
    if not (folder / "config.json").exists():
        model = problem.teach(work)
        aside = folder.with_suffix(".part")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        model.save(aside)
        aside.rename(folder)
    model = load_model(folder, host)
    inside = {"train": problem.train, "validation": problem.validation, "test": problem.test}
    features = {name: model.features(samples) for name, samples in inside.items()}
    fit_temperatures(model, features["validation"], model.head.encode([s.target for s in problem.validation]))
    nothing = {name: model.features([]) for name in ("validation", "test")}
    return Trained(
        name="torch fp32",
        host=host,
        config=Config(seed=SEED),
        session=TorchSession(model, None, choose_device("cpu"), variant="torch fp32"),
        inside=inside,
        outside={"train": [], "validation": [], "test": []},
        features=features,
        outside_features=nothing,
        metrics=judge(model, features["test"], [s.target for s in problem.test]),
        documents=[],
        false_accept_rate=0.05,
        size_mb=sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6,
        training_cpu_seconds=0.0,
        directory=folder,
        unlabelled=problem.unlabelled,
    )


def measured(problem: Problem, trained: Trained, economy: Economy, work: Path) -> list[dict[str, Any]]:
    """A row for the baseline, the eager model and every variant that was judged."""
    name, answer = problem.baseline(trained.model, work)
    targets = trained.model.head.encode([s.target for s in problem.test]).numpy()
    answers: dict[str, Answer] = {name: answer}
    answers |= {option: answer_of(economy.options[option].session) for option in economy.options}
    requests = list(problem.test)
    random.Random(SEED).shuffle(requests)
    speeds = measure_all(answers, requests, rounds=ROUNDS, single_requests=60, batches=6, round_seconds=2.0)
    rows, base = [], speeds[name]
    reference = 100 * float((np.asarray(answer(list(problem.test))) == targets).mean())
    for row_name, speed in speeds.items():
        option = economy.options.get(row_name)
        accuracy = reference if option is None else 100 * float(option.judged.right["test"].mean())
        size = option.judged.size_mb if option else None
        memory = economy.ledger.variant(row_name).resident_mb if option else None
        rows.append(_row(row_name, accuracy, reference, speed, base, size, memory))
        if option is not None:
            row = economy.ledger.variant(row_name)
            rows[-1]["handed on"] = row.escalation_rate
            rows[-1]["lost on validation"] = row.validation_drop
            rows[-1]["refused"] = economy.ledger.refused.get(row_name, "")
    return rows


def _row(
    name: str,
    accuracy: float,
    reference: float,
    speed: Measurement,
    base: Measurement,
    size: float | None,
    memory: float | None,
) -> dict[str, Any]:
    return {
        "variant": name,
        "accuracy": round(accuracy, 2),
        "points lost": round(reference - accuracy, 2),
        "MB": None if size is None else round(size, 2),
        "memory MB": memory,
        "p50 ms": speed.p50_ms,
        "p95 ms": speed.p95_ms,
        "x p50": base.p50_ms / speed.p50_ms,
        "a CPU-second": 1000 / speed.batch_cpu_ms,
        "x a CPU-second": base.batch_cpu_ms / speed.batch_cpu_ms,
        "a second": speed.throughput_per_s,
        "spread": f"{speed.throughput_rounds.low:.4g}-{speed.throughput_rounds.high:.4g}",
    }


def budgets(trained: Trained, economy: Economy, count: int) -> list[dict[str, Any]]:
    """Random limits on drop, p95 and size: what is chosen, and whether the limits hold when it is measured again."""
    chance = random.Random(SEED)
    ledger = economy.ledger
    parent = ledger.variant(trained.name)
    parent_p95 = parent.p95_ms or parent.p99_ms
    rows = []
    for number in range(count):
        budget = Budget(
            max_drop=round(chance.uniform(0, 2), 2),
            max_p95_ms=round(parent_p95 * 10 ** chance.uniform(-1.2, 0.3), 3),
            max_mb=round(parent.size_mb * 10 ** chance.uniform(-1.2, 0.3), 2),
        )
        found = Ledger.choose(ledger.variants, budget=budget, parent=parent.name)
        row: dict[str, Any] = {
            "budget": budget.describe(parent),
            "chosen": "",
            "holds again": "",
            "refusal": found.nearest_miss,
        }
        if not found.nearest_miss:
            variant = found.variant(found.chosen)
            answer = economy.options[found.chosen].session.run
            again = measure_all({"": answer}, list(trained.inside["test"][:64]), rounds=3)[""]
            drop = max(variant.quality.drop_from(parent.quality), variant.validation_drop or 0.0)
            held = drop <= budget.max_drop and variant.size_mb <= budget.max_mb and again.p95_ms <= budget.max_p95_ms
            row |= {"chosen": found.chosen, "holds again": held, "p95 again": again.p95_ms, "drop": round(drop, 3)}
        rows.append({"number": number + 1, **row})
    return rows


TASKS: dict[str, Callable[[], Problem]] = {
    "banking77": banking77,
    "grocery": grocery,
    "fsdd": fsdd,
    **{f"esc10-{number}": partial(esc10, number) for number in (1, 2, 3)},
    "digits": digits,
}


def run(task: str, work: Path, seconds: float) -> tuple[str, dict[str, Sequence[dict[str, Any]]], list[str]]:
    """All tables of one task."""
    problem = TASKS[task]()
    trained = trained_model(problem, work)
    continued = (work / "search" / "drafts").exists()
    settings = CompressionConfig(max_drop=problem.drop, seconds=seconds)
    prices = Prices.load()
    economy = economise(trained, Budget(max_drop=problem.drop), settings, prices, work / "search", tell)
    tables: dict[str, Sequence[dict[str, Any]]] = {problem.title: measured(problem, trained, economy, work)}
    tables[f"{problem.title}: convert, loss, recovery (validation)"] = [
        {"variant": name, "step": s.name, "before": s.before, "converted": s.converted, "recovered": s.recovered,
         "CPU-s": s.cpu_seconds}
        for name, option in economy.options.items()
        for s in option.judged.steps
    ]  # fmt: skip
    groups = [
        {"variant": name, "group": group, "accuracy": float(right.mean()), "samples": len(right)}
        for name, option in economy.options.items()
        for group, right in option.judged.standing.groups.items()
        if group.startswith("only")
    ]
    if groups:
        tables[f"{problem.title}: every subset of the modalities"] = groups
    if task in ("banking77", "grocery"):
        tables[f"{problem.title}: ten random budgets"] = budgets(trained, economy, 10)
    again = ["Drafts of an earlier run of the same search were taken from --work; its seconds are those of the steps."]
    notes = [
        *problem.notes,
        *(again if continued else []),
        *(f"{problem.title}: {note}" for note in economy.ledger.notes),
    ]
    return problem.title, {k: v for k, v in tables.items() if v}, notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"any of {', '.join(TASKS)}; by default all")
    parser.add_argument("--work", type=Path, help="where trained models and drafts are kept; by default nowhere")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of search for each task")
    given = parser.parse_args()
    chosen = given.tasks or list(TASKS)
    if unknown := set(chosen) - set(TASKS):
        parser.error(f"no task is called {', '.join(sorted(unknown))}; known: {', '.join(TASKS)}")
    data = data_folder("text/banking77", "image/grocery", "audio/esc10", "trimodal/digits", "weights")
    os.environ.setdefault("TRIPTYCH_WEIGHTS", str(data / "weights"))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        for task in chosen:
            work = (given.work or Path(temporary)) / task
            title, tables, notes = run(task, work, given.seconds)
            save(f"compression_{task}", f"Compression: {title}", tables, seed=SEED, notes=notes)


if __name__ == "__main__":
    main()
