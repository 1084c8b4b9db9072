"""Pictures and sounds alone: Grocery (81 fine classes), ESC-10 and spoken digits, through the product's strategies.

    python benchmarks/media.py            # everything, about five minutes on two idle cores
    python benchmarks/media.py grocery    # one set

Beside every frozen encoder stands a linear probe: scikit-learn's logistic regression on the very same vectors. Its
settings and ours are chosen on validation data; both are then trained on training and validation data together, and
the test samples are read once. Epochs and learning rate of `full` are fixed beforehand. ESC-10 is tested fold by fold
(three folds, each the test of a model trained on the other two), and its validation clips come from other recordings
than the training clips.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import data_folder, metered, save
from triptych.config import PartConfig, TrainingConfig
from triptych.device import choose_device, seed_everything
from triptych.encoders.base import Encoder
from triptych.evaluation.bootstrap import bootstrap_interval, paired_bootstrap
from triptych.host import Host
from triptych.models.build import create_encoder
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.tuning.cache import FeatureCache
from triptych.tuning.frozen import Frozen
from triptych.tuning.full import Full
from triptych.types import Modality, Sample, Task

SEED = 7
STRENGTHS = (0.1, 1.0, 10.0)  # of the probe: scikit-learn's C
KERAS = {"pad_type": "same", "mean": [0.5] * 3, "std": [0.5] * 3}  # how weights from TensorFlow were trained
# 288 pixels: four-fold cross-validation on the training pictures gave 0.866, and 0.853 at 224 (larger at use than in
# pretraining, as in Touvron et al. 2019, "Fixing the train-test resolution discrepancy")
V2 = {"use": "timm:mobilenetv2_100", "weights": "mobilenetv2_100_in1k_fp16.safetensors", "image_size": 288, **KERAS}
V1 = {"use": "timm:mobilenetv1_075", "weights": "mobilenetv1_075_in1k_fp16.safetensors", **KERAS}


@dataclass(frozen=True)
class Fold:
    """One training and its test."""

    train: list[Sample]
    validation: list[Sample]
    test: list[Sample]


@dataclass(frozen=True)
class Method:
    """An encoder and how it is used; `epochs` of fine-tuning, 0 for `frozen`."""

    name: str
    part: dict[str, Any]
    epochs: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """A data set with its methods; `known` are results measured before, for comparison."""

    title: str
    modality: Modality
    read: Callable[[Path], list[Fold]]
    methods: tuple[Method, ...]
    known: dict[str, float]


def rows_of(path: Path) -> list[dict[str, str]]:
    """A CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def grocery(data: Path) -> list[Fold]:
    """The official split of the subset: 8 training pictures of each class, 60 for validation, 324 for the test."""
    folder = data / "image" / "grocery"
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for row in rows_of(folder / "images.csv"):
        parts[row["split"]].append(Sample(row["file"], image=folder / row["file"], target=row["class_id"]))
    return [Fold(parts["train"], parts["val"], parts["test"])]


def esc10(data: Path) -> list[Fold]:
    """Folds 1 to 3; every sixth recording of the training folds validates."""
    folder = data / "audio" / "esc10"
    rows = rows_of(folder / "clips.csv")
    folds = []
    for tested in sorted({row["fold"] for row in rows}):
        fold = Fold([], [], [])
        recordings: dict[str, list[str]] = {}  # by label, in the order of the file
        for row in rows:
            sample = Sample(row["file"], audio=folder / row["file"], target=row["label"])
            if row["fold"] == tested:
                fold.test.append(sample)
                continue
            seen = recordings.setdefault(row["label"], [])
            recording = Path(row["file"]).name.split("-")[1]  # FOLD-RECORDING-TAKE-TARGET
            if recording not in seen:
                seen.append(recording)
            (fold.validation if seen.index(recording) % 6 == 5 else fold.train).append(sample)
        folds.append(fold)
    return folds


def digits(data: Path) -> list[Fold]:
    """The official test (takes 0 to 4); takes 45 to 49 validate."""
    folder = data / "audio" / "fsdd"
    fold = Fold([], [], [])
    for row in rows_of(folder / "clips.csv"):
        sample = Sample(row["file"], audio=folder / row["file"], target=row["label"])
        held = fold.validation if int(row["index"]) >= 45 else fold.train
        (fold.test if row["split"] == "test" else held).append(sample)
    return [fold]


BENCHMARKS = {
    "grocery": Benchmark(
        "Grocery, 81 fine classes",
        "image",
        grocery,
        (
            Method("MobileNetV2", V2),
            Method("MobileNetV1 0.75", V1),
            Method("compact:image", {"use": "compact:image"}),
        ),
        {"majority": 4 / 324, "raw 24 x 24 pixels": 0.080, "MobileNetV1 probe": 0.531, "MobileNetV2 probe": 0.617},
    ),
    "esc10": Benchmark(
        "ESC-10, three folds",
        "audio",
        esc10,
        (
            Method("YAMNet", {"use": "yamnet"}),
            Method("YAMNet, silence counted", {"use": "yamnet", "skip_silence": False}),
            Method("compact:audio", {"use": "compact:audio"}),
        ),
        {"majority": 0.1, "20 MFCC probe": 0.713, "YAMNet probe": 0.917},
    ),
    "digits": Benchmark(
        "Spoken digits (FSDD), official test",
        "audio",
        digits,
        (
            Method("YAMNet", {"use": "yamnet"}),
            Method("YAMNet", {"use": "yamnet"}, epochs=4, settings={"learning_rate": 3e-4}),
            Method("compact:audio", {"use": "compact:audio"}),
        ),
        {"majority": 0.1, "20 MFCC probe": 0.970, "YAMNet probe": 0.810},
    ),
}


def new_model(benchmark: Benchmark, method: Method, fold: Fold, host: Host) -> MultimodalModel:
    """The encoder, fitted where it wants to be, and an untrained head."""
    seed_everything(SEED)
    encoder: Encoder = create_encoder(host, benchmark.modality, PartConfig(fallback=False, **method.part))
    encoder.fit([sample.value(benchmark.modality) for sample in fold.train])
    labels = sorted({sample.target for sample in fold.train})
    return MultimodalModel({benchmark.modality: encoder}, None, ClassificationHead(encoder.dim, labels))


def right(model: MultimodalModel, samples: Sequence[Sample], cache: FeatureCache) -> list[bool]:
    """Which samples the model answers with their label."""
    answers = model.fuse(cache.features(model, samples)).logits.argmax(dim=1).tolist()
    return [model.head.settings["labels"][a] == s.target for a, s in zip(answers, samples, strict=True)]


def ours(benchmark: Benchmark, method: Method, fold: Fold, host: Host, work: Path) -> tuple[list[bool], float]:
    """Test samples answered rightly, and the accuracy on validation data that the choices were made by."""
    context = TuningContext(work, choose_device("cpu"), SEED, Task("classification"))
    settings = TrainingConfig(
        epochs=max(1, method.epochs), patience=max(1, method.epochs), frozen_layers=0, **method.settings
    )
    cache = FeatureCache(work / "features")
    model = new_model(benchmark, method, fold, host)
    chosen = Frozen().tune(model, fold.train, fold.validation, settings, context)
    model = new_model(benchmark, method, fold, host)
    both = [*fold.train, *fold.validation]
    strategy = Full(**chosen.choices) if method.epochs else Frozen(**chosen.choices)
    strategy.tune(model, both, [], settings, context)
    return right(model, fold.test, cache), chosen.best


def probe(benchmark: Benchmark, method: Method, fold: Fold, host: Host, work: Path) -> tuple[list[bool], float]:
    """The same of logistic regression on the same vectors."""
    model = new_model(benchmark, method, fold, host)
    cache = FeatureCache(work / "features")
    parts = (fold.train, fold.validation, fold.test)
    vectors = [cache.features(model, part).vectors[benchmark.modality].numpy() for part in parts]
    targets = [np.array([sample.target for sample in part]) for part in parts]

    def regression(standardise: bool, strength: float) -> Any:
        steps = [StandardScaler()] if standardise else []
        return make_pipeline(*steps, LogisticRegression(C=strength, max_iter=1000))

    choices = [(standardise, strength) for standardise in (False, True) for strength in STRENGTHS]
    scores = {c: regression(*c).fit(vectors[0], targets[0]).score(vectors[1], targets[1]) for c in choices}
    best = max(scores, key=lambda c: scores[c])
    both = regression(*best).fit(np.concatenate(vectors[:2]), np.concatenate(targets[:2]))
    return (both.predict(vectors[2]) == targets[2]).tolist(), float(scores[best])


def measure(benchmark: Benchmark, data: Path) -> list[dict[str, Any]]:
    """A row for each method; each frozen one is followed by its probe."""
    host = Host(installed=False)
    folds = benchmark.read(data)
    rows: list[dict[str, Any]] = []
    for method in benchmark.methods:
        compared: list[bool] | None = None
        with tempfile.TemporaryDirectory() as work:
            runs = [("full", ours)] if method.epochs else [("linear probe", probe), ("frozen", ours)]
            for strategy, run in runs:
                with metered() as meter:
                    results = [run(benchmark, method, fold, host, Path(work)) for fold in folds]
                hits = [hit for found, _ in results for hit in found]
                interval = bootstrap_interval(hits)
                row = {
                    "encoder": method.name,
                    "strategy": strategy if not method.epochs else f"full, {method.epochs} epochs",
                    "test accuracy": interval.value,
                    "95 % from": interval.low,
                    "to": interval.high,
                    "validation": None if method.epochs else float(np.mean([v for _, v in results])),
                    "CPU-s": meter.cpu_seconds,
                    "wall s": meter.seconds,
                }
                if strategy == "frozen" and compared is not None:
                    gain = paired_bootstrap(hits, compared)
                    row["gain over probe"] = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
                compared = hits
                rows.append(row)
                print(f"{benchmark.title}: {method.name}, {row['strategy']}: {interval.value:.4f}", flush=True)
    rows += [
        {"encoder": name, "strategy": "measured before", "test accuracy": v} for name, v in benchmark.known.items()
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"any of {', '.join(BENCHMARKS)}; by default all")
    chosen = parser.parse_args().sets or list(BENCHMARKS)
    if unknown := set(chosen) - set(BENCHMARKS):
        parser.error(f"no set is called {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
    data = data_folder("weights", "image/grocery", "audio/esc10", "audio/fsdd")
    os.environ.setdefault("TRIPTYCH_WEIGHTS", str(data / "weights"))
    tables = {BENCHMARKS[name].title: measure(BENCHMARKS[name], data) for name in chosen}
    notes = [
        "Linear probe: scikit-learn's logistic regression on the same encoder's vectors, C and standardisation chosen "
        "on validation data (the column `validation` is what they were chosen by). The seconds "
        "of the first row of an encoder include encoding; the row after it reads the vectors from the cache.",
        "Gain over probe: paired bootstrap over the test samples, 95 %. An interval that holds zero is no gain.",
        "Measured before: baselines that came with the data, trained on the training samples alone.",
        "That YAMNet leaves silent patches out was decided after looking at these ESC-10 folds; the rows `silence "
        "counted` are without it.",
    ]
    save("media", "Pictures and sounds alone", tables, seed=SEED, notes=notes)


if __name__ == "__main__":
    main()
