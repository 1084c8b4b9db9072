"""What `recommendation_cold.py` works with: movielens_mm as a data folder, its folds, and item vectors of all sorts."""

from __future__ import annotations

import csv
import gzip
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from triptych.config import Config, TrainingConfig
from triptych.data.splits import load_splits
from triptych.device import choose_device, seed_everything
from triptych.host import Host
from triptych.models.build import build_model, create_encoder
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.tuning.cache import FeatureCache
from triptych.tuning.frozen import Frozen
from triptych.tuning.loop import fit
from triptych.tuning.sources import FeatureSource
from triptych.types import Modality, Sample, Task
from triptych_recommendation.content.model import Content
from triptych_recommendation.content.settings import CoConsumptionSettings, ContentSettings
from triptych_recommendation.content.strategy import CoConsumption, behaviour_of
from triptych_recommendation.content.training import write_table
from triptych_recommendation.data.folder import RecommendationData
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.data.items import sample_of
from triptych_recommendation.data.splits import Held, Split
from triptych_recommendation.hindsight.metrics import per_user, target_ranks

SEED = 42
LIKE = 4.0
LEAST = 5
DEV_FOLDS = 4
TEXT = {"use": "sentence:all-MiniLM-L6-v2", "fallback": False}
POSTER = {
    "use": "timm:mobilenetv2_100", "fallback": False, "image_size": 192, "pad_type": "same",
    "mean": [0.5] * 3, "std": [0.5] * 3,
}  # fmt: skip
Vectors = np.ndarray[Any, Any]
Modalities = tuple[Modality, ...]
BOTH: Modalities = ("text", "image")


# -- data ---------------------------------------------------------------------------------------------------------


def write_folder(source: Path, folder: Path, *, genres: bool) -> None:
    """movielens_mm as a folder that the product reads."""
    folder.mkdir(parents=True)
    shutil.copytree(source / "posters", folder / "posters")
    with (source / "items.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "description", "image", "tags", "year"])
        for row in rows:
            tags = row["genres"] if genres else ""
            writer.writerow([row["movie_id"], row["title"], row["overview"], row["poster"], tags, row["year"]])
    with gzip.open(source / "ratings.csv.gz", "rt", encoding="utf-8") as file:
        ratings = list(csv.DictReader(file))
    with (folder / "events.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "type", "time", "value"])
        for row in ratings:
            writer.writerow([row["user_id"], row["movie_id"], "rating", row["timestamp"], row["rating"]])


@dataclass(frozen=True)
class Fold:
    """What may be learnt from, whom is asked, and what would be right."""

    data: RecommendationData
    train: Interactions  # likes of warm movies; rows are those of the data
    warm: Vectors  # rows
    cold: Vectors  # rows
    histories: list[History]
    targets: list[Vectors]  # of each user asked, places in `cold`

    @property
    def split(self) -> Split:
        """For `write_table`, which reads the training alone."""
        nothing = Held(np.empty(0, np.int32), [], np.empty(0, np.int64))
        return Split("leave-one-out", self.train, nothing, nothing, self.train)

    def recall(self, scores: Vectors) -> Vectors:
        """Recall@20 of each user from scores [users, cold]."""
        return per_user(target_ranks(scores.astype(np.float32), self.targets))["recall@20"]

    def content(self, vectors: Vectors, settings: ContentSettings) -> Vectors:
        """Recall@20 of each user by the product's content model on item vectors [items, dim]."""
        model = Content.fit(self.train, settings, seed=SEED, vectors=vectors.astype(np.float32))
        return self.recall(model.scores(self.histories)[:, self.cold])


def make_folds(data: RecommendationData, order: Sequence[str]) -> tuple[list[Fold], Fold]:
    """The folds to choose on and the one to be judged by. `order` are the ids of items.csv."""
    rows = {name: row for row, name in enumerate(data.interactions.items)}
    shuffled = np.array([rows[name] for name in order])[np.random.RandomState(0).permutation(len(order))]
    size = len(order) // 5
    test, rest = shuffled[:size], shuffled[size:]
    parts = np.array_split(np.random.RandomState(1).permutation(rest), DEV_FOLDS)
    return [_fold(data, part, np.union1d(part, test)) for part in parts], _fold(data, test, test)


def _fold(data: RecommendationData, cold: Vectors, hidden: Vectors) -> Fold:
    cold, likes = np.sort(cold), data.interactions
    train = likes.where(~np.isin(likes.item, hidden))
    histories, targets = [], []
    for user in range(len(likes.users)):
        history, liked = train.history(user), np.intersect1d(likes.history(user).items, cold)
        if len(history) >= LEAST and len(liked):
            histories.append(history)
            targets.append(np.searchsorted(cold, liked).astype(np.int32))
    warm = np.setdiff1d(np.arange(len(likes.items)), hidden)
    return Fold(data, train, warm, cold, histories, targets)


# -- item vectors -------------------------------------------------------------------------------------------------


class Encoders:
    """The pretrained encoders, and what they make of each item, encoded once."""

    def __init__(self, weights: Path, work: Path) -> None:
        self.host, self.work = Host(installed=False), work
        self.parts: dict[Modality, dict[str, Any]] = {
            "text": TEXT,
            "image": {**POSTER, "weights": str(weights / "mobilenetv2_100_in1k_fp16.safetensors")},
        }

    def untrained(self, modalities: Modalities, fusion: Mapping[str, Any], dim: int, seed: int) -> MultimodalModel:
        """A model with pretrained encoders around random weights."""
        seed_everything(seed)
        config = Config.model_validate(
            {"encoders": {m: self.parts[m] for m in modalities}, "fusion": fusion, "fusion_dim": dim, "dropout": 0.0}
        )
        made = {m: create_encoder(self.host, m, config.encoders[m]) for m in modalities}
        return build_model(config, {"kind": "embedding", "outputs": min(128, dim)}, self.host, made)

    def features(self, model: MultimodalModel, samples: Sequence[Sample]) -> Any:
        """Encoder vectors, from the disk where they were made before."""
        return FeatureCache(self.work / "features").features(model, samples)

    def context(self, name: str) -> TuningContext:
        """Where a strategy trains."""
        folder = self.work / "tuning" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (self.work / "features").mkdir(exist_ok=True)
        (folder / "features").symlink_to((self.work / "features").resolve(), target_is_directory=True)
        return TuningContext(folder, choose_device("cpu"), SEED, Task("embedding"))


def samples_of(data: RecommendationData, modalities: Modalities) -> list[Sample]:
    """By row of the interactions; all movies have a title and a poster."""
    items = {item.id: item for item in data.items}
    return [sample_of(items[name]).only(modalities) for name in data.interactions.items]


def frozen_vectors(encoders: Encoders, fold: Fold, shares: Mapping[Modality, float]) -> Vectors:
    """What pretrained encoders say: unit vectors less the mean of the warm ones, side by side with a share each."""
    modalities = tuple(shares)
    model = encoders.untrained(modalities, {"use": "mean"}, 64, SEED)
    found = encoders.features(model, samples_of(fold.data, modalities)).vectors
    parts = [shares[m] * _centred(found[m].numpy(), fold.warm) for m in modalities]
    return np.hstack(parts)


def _centred(vectors: Vectors, warm: Vectors) -> Vectors:
    moved = vectors - vectors[warm].mean(axis=0)
    return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)


def tfidf_vectors(fold: Fold) -> Vectors:
    """Words of title, plot and, where they are in the text, genres."""
    texts = [str(sample.text) for sample in samples_of(fold.data, ("text",))]
    counts = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=2)
    counts.fit([texts[row] for row in fold.warm])
    return _centred(counts.transform(texts).toarray().astype(np.float32), fold.warm)


@dataclass(frozen=True)
class Tuned:
    """Settings of a tuned item encoder."""

    modalities: Modalities
    strategy: str = "co-consumption"
    dimensions: int = 32
    fusion: str = "gated"
    dim: int = 1024
    seed: int = SEED


def table_of(fold: Fold, settings: Tuned, folder: Path) -> tuple[list[Sample], list[Sample]]:
    """The product's table of the fold's warm items: samples to train on, and samples to choose by."""
    path = write_table(fold.data, fold.split, folder, CoConsumptionSettings(dimensions=settings.dimensions))
    config = Config.model_validate({"data": {"columns": {"id": "id"}, "validation": 0.15, "test": 0.01}})
    splits, _ = load_splits(config.data, path, seed=settings.seed)
    cut = lambda part: [sample.only(settings.modalities) for sample in part]  # noqa: E731
    return cut(splits.train) + cut(splits.test), cut(splits.validation)


def tune(encoders: Encoders, fold: Fold, settings: Tuned) -> tuple[MultimodalModel, list[str]]:
    """A model tuned on the fold's warm items, and what is worth telling."""
    context = encoders.context("model")
    train, held = table_of(fold, settings, context.workspace)
    model = encoders.untrained(settings.modalities, {"use": settings.fusion}, settings.dim, settings.seed)
    if settings.strategy == "contrastive":
        return _contrastive(encoders, model, train, held, context), []
    strategy = Frozen() if settings.strategy == "frozen" else CoConsumption()
    report = strategy.tune(model, train, held, TrainingConfig(modality_dropout=0.15, batch_size=128), context)
    return model, report.notes


def _contrastive(
    encoders: Encoders, model: MultimodalModel, train: list[Sample], held: list[Sample], context: TuningContext
) -> MultimodalModel:
    """Fusion and head by gradients: likenesses within a batch shall be those of the items' factors."""
    targets = [_with_constant(behaviour_of(part, 64)) for part in (train, held)]
    sources = [FeatureSource(encoders.features(model, part)) for part in (train, held)]
    for m in model.modalities:
        model.encoder(m).requires_grad_(False)
    settings = TrainingConfig(modality_dropout=0.15, batch_size=128, head_learning_rate=1e-3)
    fit(model, sources[0], targets[0], sources[1], targets[1], settings, context, step="contrastive")
    return model


def _with_constant(factors: torch.Tensor) -> torch.Tensor:
    """With one number more, so that short factors, of items that few chose, are like one another."""
    constant = factors.norm(dim=1).mean().expand(len(factors), 1)
    return torch.cat([factors, constant], dim=1)


def tuned_vectors(encoders: Encoders, fold: Fold, model: MultimodalModel, given: Modalities | None = None) -> Vectors:
    """The head's unit vectors of all items, of which only the parts `given` are shown."""
    features = encoders.features(model, samples_of(fold.data, model.modalities)).only(given or model.modalities)
    with torch.no_grad():
        return model.head.probabilities(model.fuse(features).logits).numpy()
