"""The cheapest serious competitor: word and character n-grams with logistic regression, no network at all.

If a fine-tuned model does not beat this on the same split, nobody should pay for the model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from triptych.errors import DataError
from triptych.evaluation.metrics import classification_metrics
from triptych.types import Sample

NAME = "tf-idf + logistic regression"
TIMED = 200  # requests answered one by one for the latency


@dataclass(frozen=True, slots=True, eq=False)
class Rival:
    """What the rival reached and cost.

    `metrics` are those of `classification_metrics`; `correct` is bool [test samples], for a paired comparison with a
    model; `pipeline` answers lists of texts.
    """

    metrics: dict[str, float]
    correct: np.ndarray[Any, np.dtype[np.bool_]]
    train_seconds: float
    p50_ms: float
    p99_ms: float
    throughput_per_s: float  # all test samples in one call
    size_mb: float
    notes: tuple[str, ...]
    pipeline: Pipeline

    def to_json(self) -> dict[str, Any]:
        """One flat row for tables."""
        shown = {k: self.metrics[k] for k in ("accuracy", "low", "high", "macro_f1")}
        cost = {"train_seconds": self.train_seconds, "p50_ms": self.p50_ms, "p99_ms": self.p99_ms}
        cost |= {"throughput_per_s": self.throughput_per_s, "size_mb": self.size_mb}
        return {"name": NAME, **shown, **cost, "notes": list(self.notes)}


def classical_rival(train: Sequence[Sample], test: Sequence[Sample], *, seed: int = 0) -> Rival:
    """Train on the text of `train`, measure on `test`, one label each.

    A sample without text is an empty string to the rival, so that it answers the same test samples as the model.
    Raises `DataError` where no training sample has text.
    """
    texts, test_texts = [_text(s) for s in train], [_text(s) for s in test]
    if not any(texts):
        raise DataError("the classical rival reads text, and no training sample has any")
    labels = sorted({s.target for s in train} | {s.target for s in test})
    number = {label: i for i, label in enumerate(labels)}
    wanted = np.array([number[s.target] for s in train])
    started = time.perf_counter()
    pipeline = _pipeline(seed).fit(texts, wanted)
    train_seconds = time.perf_counter() - started
    probabilities = np.zeros((len(test), len(labels)))  # a label that only the test has stays at zero
    started = time.perf_counter()
    probabilities[:, pipeline[-1].classes_] = pipeline.predict_proba(test_texts)
    test_seconds = time.perf_counter() - started
    targets = torch.tensor([number[s.target] for s in test])
    p50_ms, p99_ms = _latency_ms(pipeline, test_texts)
    silent = sum(not text for text in test_texts)
    return Rival(
        metrics=classification_metrics(torch.from_numpy(probabilities), targets),
        correct=(probabilities.argmax(axis=1) == targets.numpy()),
        train_seconds=train_seconds,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        throughput_per_s=len(test) / test_seconds,
        size_mb=_size_mb(pipeline),
        notes=(f"{silent} of {len(test)} test samples have no text for it to read",) if silent else (),
        pipeline=pipeline,
    )


def _text(sample: Sample) -> str:
    return sample.text if isinstance(sample.text, str) else ""


def _pipeline(seed: int) -> Pipeline:
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2),
    )
    # one problem for each label, solved in the dual: as good as one over all labels here, and several times faster
    logistic = LogisticRegression(C=30, solver="liblinear", dual=True, tol=1e-2, random_state=seed)
    return make_pipeline(features, OneVsRestClassifier(logistic))


def _latency_ms(pipeline: Pipeline, texts: Sequence[str]) -> tuple[float, float]:
    """Median and 99th percentile of answering one text."""
    times = []
    for text in texts[:TIMED]:
        started = time.perf_counter()
        pipeline.predict_proba([text])
        times.append(1000 * (time.perf_counter() - started))
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))


def _size_mb(pipeline: Pipeline) -> float:
    """What serving needs: coefficients in single precision and the vocabulary as text."""
    union, classifier = pipeline[0], pipeline[-1]
    words = sum(len(word.encode()) + 8 for _, v in union.transformer_list for word in v.vocabulary_)
    weights = sum(4 * e.coef_.size for e in classifier.estimators_ if hasattr(e, "coef_"))
    return float((words + weights) / 1e6)
