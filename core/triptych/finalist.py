"""One compressed model made ready to serve and judged like its parent: calibrated, with a detector of its own.

A compressed model has vectors of its own, so temperatures, scope detector and what its index finds are its own too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from triptych.compression.base import StepLog
from triptych.compression.contract import Standing
from triptych.compression.export import write_temperatures
from triptych.compression.row import LOWER_IS_BETTER
from triptych.compression.search import Candidate
from triptych.config import Config
from triptych.evaluation.calibration import fit_temperatures
from triptych.evaluation.judge import encode_targets, judge_outputs
from triptych.evaluation.scope import ScopeDetector, Seen
from triptych.host import Host
from triptych.models.multimodal import Features, MultimodalModel
from triptych.runtime.base import Array, Encoded
from triptych.runtime.exported import SCOPE, ExportedModel
from triptych.runtime.space import Space
from triptych.runtime.torch_session import TorchSession, encoded_of, features_of
from triptych.types import Document, Modality, Sample

Splits = Mapping[str, Sequence[Sample]]
FOUND_AMONG = 3
"""A document that was the parent's best must be among that many of the variant's."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a run has before it looks for something cheaper: the model in service, its data, its measures.

    `inside` and `outside` have the splits; `features` the encoders' vectors of each split of `inside`;
    `outside_features` those of "validation" (with the training ones, which no classifier has seen) and "test".
    `unlabelled` are samples that a compressed model may learn its teacher's answers on, beside the training split.
    """

    name: str  # of the model's row in the ledger
    host: Host
    config: Config
    session: TorchSession
    inside: Splits
    outside: Splits
    features: Mapping[str, Features]
    outside_features: Mapping[str, Features]
    metrics: Mapping[str, Any]  # of the test split
    documents: Sequence[Document]
    false_accept_rate: float
    size_mb: float
    training_cpu_seconds: float
    directory: Path | None = None  # where the model is saved; without one its memory is not measured
    unlabelled: Sequence[Sample] = ()

    @property
    def model(self) -> MultimodalModel:
        """The model itself."""
        return self.session.model

    @property
    def strangers(self) -> list[Sample]:
        """The out-of-scope samples that a detector's threshold is set on; no classifier has seen the training ones."""
        return [*self.outside["train"], *self.outside["validation"]]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A model and what it said of validation and test samples.

    `seen` has both splits, and so have `right` and `sure`: which answers were right (bool), and how sure they were (the
    calibrated confidence, minus infinity where the message was taken for out of scope). The latter two are empty for
    heads without labels.
    """

    name: str
    session: Space
    standing: Standing
    right: Mapping[str, Array]
    sure: Mapping[str, Array]
    seen: Mapping[str, Seen]
    strangers: Array  # confidences, as in `sure`, for the out-of-scope samples of the test split
    group_sure: Mapping[str, Array]  # confidences for the groups of `standing` that take parts away
    validation: Mapping[str, Any]  # metrics of that split; those of the test split are in `standing`
    size_mb: float
    directory: Path | None = None
    steps: tuple[StepLog, ...] = ()
    notes: tuple[str, ...] = ()
    cpu_seconds: float = 0.0  # spent on making it

    def lost(self, parent: Judged, metric: str) -> float:
        """How much of a metric's value is lost against the parent on validation data; negative for a gain."""
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        return sign * float(parent.validation[metric] - self.validation[metric])


def fit_scope(session: Space, encoded: Mapping[str, Encoded], outside: Encoded, trained: Trained) -> ScopeDetector:
    """The detector of one model's space, its threshold set on validation data.

    `encoded` has "train" and "validation", `outside` what is known to be out of scope.
    """
    seen = {name: session.seen(encoded[name]) for name in ("train", "validation")}
    targets = encode_targets(session.kind, session.labels, [s.target for s in trained.inside["train"]])
    detector = ScopeDetector.fit(
        seen["train"].embeddings,
        targets,
        neighbours=trained.config.retrieval.neighbours,
        evidence=seen["train"].evidence,
    )
    detector.set_threshold(
        inside=seen["validation"],
        outside=session.seen(outside) if len(outside) else None,
        groups=[sample.metadata.get("group") for sample in trained.strangers],
        rate=trained.false_accept_rate,
    )
    return detector


def judge_parent(trained: Trained) -> Judged:
    """The model in service, in the terms in which its variants are judged."""
    session = trained.session
    encoded = {name: encoded_of(features) for name, features in trained.features.items()}
    outside = encoded_of(trained.outside_features["test"])
    return _judged(trained.name, session, encoded, trained, dict(trained.metrics), outside, trained.size_mb, None)


def judge_candidate(candidate: Candidate, trained: Trained, parent: Judged) -> Judged:
    """Calibrate an exported model, give it a detector, and judge it on the test split."""
    assert candidate.draft is not None
    directory, host = candidate.directory, trained.host
    session = ExportedModel.load(directory, host)
    encoded = {name: session.encode(samples) for name, samples in trained.inside.items()}
    outside = {
        "validation": session.encode(trained.strangers),
        "test": session.encode(trained.outside["test"]),
    }
    if session.kind in ("classification", "multilabel"):
        write_temperatures(directory, _temperatures(candidate.draft.model, encoded["validation"], trained))
        session = ExportedModel.load(directory, host)
    if trained.session.scope is not None:
        session.scope = fit_scope(session, encoded, outside["validation"], trained)
        (directory / SCOPE).mkdir(exist_ok=True)
        session.scope.save(directory / SCOPE)
    metrics = judge_outputs(
        session.kind,
        session.labels,
        session.seen(encoded["test"]),
        [s.target for s in trained.inside["test"]],
        scope=session.scope,
        outside=session.seen(outside["test"]) if len(outside["test"]) else None,
    )
    return _judged(
        candidate.chain, session, encoded, trained, metrics, outside["test"], candidate.size_mb, candidate, parent
    )


def _judged(
    name: str,
    session: Space,
    encoded: Mapping[str, Encoded],
    trained: Trained,
    metrics: dict[str, Any],
    outside: Encoded,
    size_mb: float,
    candidate: Candidate | None,
    parent: Judged | None = None,
) -> Judged:
    right: dict[str, Array] = {}
    sure: dict[str, Array] = {}
    groups: dict[str, Array] = {}
    group_sure: dict[str, Array] = {}
    if session.kind == "classification":
        for split in ("validation", "test"):
            right[split], sure[split] = _answers(session, encoded[split], trained, split)
        groups, group_sure = _groups(session, encoded["test"], right["test"], trained)
    agreement = None
    if parent is not None and trained.documents:
        wanted = best_documents(parent.session, trained, trained.features["validation"], 1)
        found = best_documents(session, trained, encoded["validation"], FOUND_AMONG)
        agreement = float((found == wanted).any(axis=1).mean())
    seen = {split: session.seen(encoded[split]) for split in ("validation", "test")}
    targets = [s.target for s in trained.inside["validation"]]
    return Judged(
        name,
        session,
        Standing(metrics, groups, agreement),
        right,
        sure,
        seen,
        _confidence(session, session.seen(outside)) if len(outside) else np.zeros(0),
        group_sure,
        judge_outputs(session.kind, session.labels, seen["validation"], targets),
        size_mb,
        None if candidate is None else candidate.directory,
        () if candidate is None else candidate.steps,
        () if candidate is None else tuple(candidate.notes),
        0.0 if candidate is None else sum(step.cpu_seconds for step in candidate.steps),
    )


def best_documents(session: Space, trained: Trained, requests: Encoded | Features, k: int) -> Array:
    """The places of the `k` nearest documents of each request, int64 [requests, k], searched as in service.

    A request looks among the vectors of its first modality that all documents have, otherwise in the fused space.
    """
    requests = requests if isinstance(requests, Encoded) else encoded_of(requests)
    documents = session.encode([document.sample.only(session.modalities) for document in trained.documents])
    found = np.zeros((len(requests), min(k, len(documents))), dtype=np.int64)
    left = np.ones(len(requests), dtype=bool)
    for column, modality in enumerate(session.modalities):
        if documents.mask[:, column].all():
            rows = left & requests.mask[:, column]
            found[rows] = _nearest(requests.vectors[modality][rows], documents.vectors[modality], k)
            left &= ~rows
    if left.any():
        fused = session.fuse(requests).embedding[left]
        found[left] = _nearest(fused, session.fuse(documents).embedding, k)
    return found


def _nearest(queries: Array, documents: Array, k: int) -> Array:
    similar = _unit(queries) @ _unit(documents).T
    places: Array = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    return places


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _answers(session: Space, encoded: Encoded, trained: Trained, split: str) -> tuple[Array, Array]:
    """Which answers are right, and how sure each is."""
    seen = session.seen(encoded)
    targets = encode_targets(session.kind, session.labels, [s.target for s in trained.inside[split]])
    right: Array = seen.probabilities.argmax(axis=1) == targets
    return right, _confidence(session, seen)


def _confidence(session: Space, seen: Seen) -> Array:
    """The probability of each answer, minus infinity where the sample was taken for out of scope."""
    confidence: Array = seen.probabilities.max(axis=1)
    if session.scope is not None:
        confidence = np.where(session.scope.score(*seen) >= session.scope.threshold, confidence, -np.inf)
    return confidence


def label_rows(trained: Trained) -> dict[str, Array]:
    """Bool [test samples] for each label: its samples."""
    labels = np.array([str(s.target) for s in trained.inside["test"]])
    return {f"label {label}": labels == label for label in sorted(set(labels.tolist()))}


def _groups(
    session: Space, encoded: Encoded, right: Array, trained: Trained
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Right answers by label, and by subset of the modalities for samples that have more; confidences of the latter."""
    samples = trained.inside["test"]
    groups = {name: right[rows] for name, rows in label_rows(trained).items()}
    sure: dict[str, Array] = {}
    targets = encode_targets(session.kind, session.labels, [s.target for s in samples])
    columns = range(len(session.modalities))
    for size in range(1, len(session.modalities)):
        for parts in combinations(columns, size):
            rows = encoded.mask[:, parts].all(axis=1) & (encoded.mask.sum(axis=1) > size)
            if rows.any():
                name = f"only {'+'.join(session.modalities[i] for i in parts)}"
                seen = session.seen(_with_only(encoded, rows, parts))
                groups[name] = seen.probabilities.argmax(axis=1) == targets[rows]
                sure[name] = _confidence(session, seen)
    return groups, sure


def _with_only(encoded: Encoded, rows: Array, parts: Sequence[int]) -> Encoded:
    """Some samples with every other part taken away."""
    vectors: dict[Modality, Array] = {m: v[rows] for m, v in encoded.vectors.items()}
    mask = np.zeros((int(rows.sum()), encoded.mask.shape[1]), dtype=bool)
    mask[:, list(parts)] = True
    return Encoded(vectors, mask)


def _temperatures(model: MultimodalModel, validation: Encoded, trained: Trained) -> list[float]:
    """Fitted with the exported vectors through the draft's own fusion; the draft stays as it was."""
    before = model.temperatures.clone()
    targets = model.head.encode([s.target for s in trained.inside["validation"]])
    fit_temperatures(model, features_of(validation), targets)
    fitted = model.temperatures.tolist()
    model.temperatures.copy_(before)
    return [float(t) for t in fitted]
