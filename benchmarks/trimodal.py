"""Three modalities at once, on real data: what each subset is worth, and what each fusion makes of them all.

    python benchmarks/trimodal.py            # both sets, about five minutes on two cores
    python benchmarks/trimodal.py digits

Everything goes through the product's `frozen` strategy, calibration and subset table. The fusion is chosen on
validation data; the test samples are read once for each fusion and choose nothing.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile
import torch
import torchaudio
from sklearn.linear_model import LogisticRegression

from common import data_folder, metered, save
from triptych.config import Config, PartConfig
from triptych.device import choose_device, seed_everything
from triptych.evaluation.attribution import attribute
from triptych.evaluation.bootstrap import paired_bootstrap
from triptych.evaluation.calibration import fit_temperatures
from triptych.evaluation.metrics import classification_metrics
from triptych.evaluation.rival import NAME as RIVAL
from triptych.evaluation.rival import classical_rival
from triptych.evaluation.subsets import subset_table
from triptych.host import Host
from triptych.models.build import build_model, create_encoder
from triptych.models.multimodal import Features, MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.tuning.cache import FeatureCache
from triptych.tuning.frozen import Frozen
from triptych.types import MODALITIES, Modality, Sample, Task

SEED = 42
FUSIONS = ("mean", "concat", "gated", "attention", "late")
COMPONENTS, PICTURE_NOISE, SOUND_NOISE = 15, 2.5, 2.0  # how the digits are degraded; clean, the task is trivial


@dataclass(frozen=True)
class Problem:
    """A data set, split, with the encoder of each modality."""

    title: str
    train: list[Sample]
    validation: list[Sample]
    test: list[Sample]
    encoders: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def digits(folder: Path) -> Problem:
    """Handwritten picture, spoken digit and misspelt word, each too poor to be enough."""
    with (folder / "trimodal/digits/pairs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    training = np.array([row["split"] == "train" for row in rows])
    generator = np.random.default_rng(SEED)
    images = np.load(folder / "trimodal/digits/mnist.npz")["images"]
    pictures = _components(images[[int(row["image_index"]) for row in rows]].reshape(len(rows), -1) / 255, training)
    pictures += generator.normal(0, PICTURE_NOISE, pictures.shape)
    sounds = np.stack([_cepstrum(folder / "audio/fsdd" / row["audio_file"]) for row in rows])
    sounds = (sounds - sounds[training].mean(axis=0)) / sounds[training].std(axis=0)
    sounds += generator.normal(0, SOUND_NOISE, sounds.shape)
    samples = [
        Sample(str(i), row["text"], pictures[i].astype(np.float32), sounds[i].astype(np.float32), row["label"])
        for i, row in enumerate(rows)
    ]
    order = generator.permutation(np.flatnonzero(training))
    held = len(order) * 15 // 100
    return Problem(
        "trimodal/digits",
        train=[samples[i] for i in order[held:]],
        validation=[samples[i] for i in order[:held]],
        test=[samples[i] for i in np.flatnonzero(~training)],
        encoders={
            "text": {"use": "compact:text", "buckets": 4096, "dim": 64, "dropout": 0.5},
            "image": {"use": "features:image"},
            "audio": {"use": "features:audio"},
        },
        notes=[
            f"digits: pictures are {COMPONENTS} principal components with noise of deviation {PICTURE_NOISE}, sounds "
            f"standardised cepstral means and deviations with noise of {SOUND_NOISE}, words have half their letters "
            "replaced; validation is 15 % of the training split"
        ],
    )


def mosi(folder: Path) -> Problem:
    """Is an opinion positive? Words, voice and face of one utterance."""
    table = pq.read_table(folder / "trimodal/mosi/mosi.parquet").to_pydict()
    sounds = np.stack(
        [np.array(table[k], dtype=np.float32) for k in sorted(table) if k[0] == "a" and k[1:].isdigit()], 1
    )
    faces = np.stack(
        [np.array(table[k], dtype=np.float32) for k in sorted(table) if k[0] == "v" and k[1:].isdigit()], 1
    )
    samples = [
        Sample(str(i), text, faces[i], sounds[i], str(label))
        for i, (text, label) in enumerate(zip(table["text"], table["label"], strict=True))
    ]
    official = [i for i, split in enumerate(table["split"]) if split == "test"]
    videos = sorted({table["video"][i] for i in official})
    held = set(videos[::2])
    return Problem(
        "trimodal/mosi",
        train=[s for s, split in zip(samples, table["split"], strict=True) if split == "train"],
        validation=[samples[i] for i in official if table["video"][i] in held],
        test=[samples[i] for i in official if table["video"][i] not in held],
        encoders={
            "text": {"use": "sentence:all-MiniLM-L6-v2"},
            "image": {"use": "features:image"},
            "audio": {"use": "features:audio"},
        },
        notes=[
            "mosi: the published video features of the training split know its labels (a linear probe reaches 0.92 "
            "on training videos it has not seen and chance on the official test), so that nothing from the training "
            "split can validate a fusion: every second video of the official test split is validation here, the "
            "others are the test"
        ],
    )


@dataclass(frozen=True)
class Trained:
    """A trained and calibrated model with what it reached."""

    model: MultimodalModel
    validated: dict[str, float]
    table: dict[str, Any]  # of `subset_table`, on the test samples
    correct: np.ndarray[Any, Any]  # bool [test samples]
    seen: Features
    epochs: int
    seconds: float


def train(problem: Problem, fusion: str, modalities: Sequence[Modality], workspace: Path) -> Trained:
    """One model on some of the modalities, as `triptych run` would train it."""
    host, plan = Host(installed=False), choose_device("cpu")
    encoders_wanted = {m: problem.encoders[m] for m in modalities}
    config = Config(seed=SEED, encoders=encoders_wanted, fusion=PartConfig(use=fusion), fusion_dim=128, dropout=0.3)
    parts = {name: [s.only(modalities) for s in getattr(problem, name)] for name in ("train", "validation", "test")}
    with metered() as meter:
        seed_everything(SEED)
        encoders = {m: create_encoder(host, m, part) for m, part in config.encoders.items()}
        for m, encoder in encoders.items():
            encoder.fit([s.value(m) for s in parts["train"]])
        labels = sorted({s.target for s in problem.train})
        model = build_model(config, {"kind": "classification", "labels": labels}, host, encoders)
        context = TuningContext(workspace, plan, SEED, Task("classification"))
        report = Frozen().tune(model, parts["train"], parts["validation"], config.training, context)
    cache = FeatureCache(workspace / "features")
    held, seen = cache.features(model, parts["validation"]), cache.features(model, parts["test"])
    wanted = model.head.encode([s.target for s in problem.validation])
    targets = model.head.encode([s.target for s in problem.test])
    fit_temperatures(model, held, wanted)
    with torch.inference_mode():
        validated = classification_metrics(model.probabilities(model.fuse(held), held.mask), wanted)
        correct = (model.fuse(seen).logits.argmax(dim=1) == targets).numpy()
    table = subset_table(model, seen, targets)
    return Trained(model, validated, table, correct, seen, report.epochs, meter.seconds)


def measure(problem: Problem, workspace: Path) -> dict[str, list[dict[str, Any]]]:
    """Train every fusion, and every modality on its own; the seven subsets of the fusion that validates best."""
    alone = {m: train(problem, "mean", [m], workspace) for m in MODALITIES}
    fused = {fusion: train(problem, fusion, MODALITIES, workspace) for fusion in FUSIONS}
    chosen = max(FUSIONS, key=lambda f: (fused[f].validated["accuracy"], -fused[f].validated["log_loss"]))
    rival = classical_rival([*problem.train, *problem.validation], problem.test)
    # picked on the test samples themselves, which can only make it harder to beat
    single = max(MODALITIES, key=lambda m: alone[m].correct.mean())
    rows = [_row(f"{m} alone", alone[m]) for m in MODALITIES]
    scores = {key: rival.metrics[name] for key, name in (("test", "accuracy"), ("low", "low"), ("high", "high"))}
    rows.append({"model": f"text alone, {RIVAL}", **scores, "seconds": rival.train_seconds})
    for fusion in FUSIONS:
        row = _row(f"{fusion}, chosen on validation" if fusion == chosen else fusion, fused[fusion])
        gain = paired_bootstrap(fused[fusion].correct, alone[single].correct)
        row |= {"gain": gain.value, "gain low": gain.low, "gain high": gain.high}
        row["verdict"] = "better" if gain.low > 0 else "worse" if gain.high < 0 else "no gain"
        over = paired_bootstrap(fused[fusion].correct, rival.correct)
        rows.append(row | {"over tf-idf": over.value, "over low": over.low, "over high": over.high})
    rows.append(
        {"model": "linear probe on all features side by side", "test": _naive(fused[chosen], workspace, problem)}
    )
    table = fused[chosen].table
    print(f"{problem.title}, {chosen}: {table['verdict']}", flush=True)
    return {
        f"{problem.title}: subsets of the parts, fusion {chosen}": table["rows"],
        f"{problem.title}: weight and effect of each part, fusion {chosen}": _shares(fused[chosen]),
        f"{problem.title}: fusions, and their gain over {single} alone": rows,
    }


def _row(name: str, trained: Trained) -> dict[str, Any]:
    full = trained.table["rows"][-1]
    return {
        "model": name,
        "validation": trained.validated["accuracy"],
        "test": full["accuracy"],
        "low": full["low"],
        "high": full["high"],
        "epochs": trained.epochs,
        "seconds": trained.seconds,
    }


def _shares(trained: Trained) -> list[dict[str, Any]]:
    """Mean weight in the fusion, and what leaving the part out takes from the probability of the answer."""
    found = attribute(trained.model, trained.seen)
    return [
        {"part": m, "mean weight": float(found.weights[:, i].mean()), "mean effect": float(found.effects[:, i].mean())}
        for i, m in enumerate(trained.model.modalities)
    ]


def _naive(trained: Trained, workspace: Path, problem: Problem) -> float:
    """Test accuracy of logistic regression on the standardised vectors side by side."""
    cache = FeatureCache(workspace / "features")

    def joined(samples: list[Sample]) -> np.ndarray[Any, Any]:
        return torch.cat(list(cache.features(trained.model, samples).vectors.values()), dim=1).numpy()

    inputs = joined(problem.train)
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    probe = LogisticRegression(max_iter=500).fit((inputs - mean) / deviation, [s.target for s in problem.train])
    return float(probe.score((joined(problem.test) - mean) / deviation, [s.target for s in problem.test]))


def _components(pixels: np.ndarray[Any, Any], training: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """[pictures, pixels] to the leading principal components of the training pictures."""
    mean = pixels[training].mean(axis=0)
    _, _, directions = np.linalg.svd(pixels[training] - mean, full_matrices=False)
    components: np.ndarray[Any, Any] = (pixels - mean) @ directions[:COMPONENTS].T
    return components


def _cepstrum(path: Path) -> np.ndarray[Any, Any]:
    """Mean and deviation of 20 cepstral coefficients, [40]."""
    samples, rate = soundfile.read(path, dtype="float32")
    layout = {"n_fft": 256, "hop_length": 80, "n_mels": 40}
    cepstrum = torchaudio.transforms.MFCC(sample_rate=rate, n_mfcc=20, melkwargs=layout)(torch.from_numpy(samples))
    return torch.cat([cepstrum.mean(dim=1), cepstrum.std(dim=1)]).numpy()


PROBLEMS: dict[str, Callable[[Path], Problem]] = {"digits": digits, "mosi": mosi}


def main() -> None:
    folder = data_folder("trimodal", "audio/fsdd")
    wanted = sys.argv[1:] or list(PROBLEMS)
    tables: dict[str, list[dict[str, Any]]] = {}
    notes: list[str] = []
    for name in wanted:
        problem = PROBLEMS[name](folder)
        with tempfile.TemporaryDirectory() as workspace:
            tables |= measure(problem, Path(workspace))
        notes += problem.notes
    notes.append(
        "intervals are 95 %, by bootstrap over test samples; a gain is that of the full input over the best model "
        "trained on one modality alone, paired; that one is picked on the test samples, which makes it harder to beat; "
        "the tf-idf rival learns from training and validation samples"
    )
    save(
        "trimodal" if len(wanted) == len(PROBLEMS) else f"trimodal-{'-'.join(wanted)}",
        "Three modalities",
        tables,
        seed=SEED,
        notes=notes,
    )


if __name__ == "__main__":
    main()
