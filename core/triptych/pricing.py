"""What a model costs to answer with: measured, priced, and put beside the cheapest classical rival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from triptych.compression.ledger import Gain, Ledger
from triptych.compression.measure import Answer, measure_all
from triptych.compression.prices import Prices
from triptych.compression.row import variant_row
from triptych.evaluation.bootstrap import paired_bootstrap
from triptych.evaluation.judge import HEADLINE, encode_targets
from triptych.evaluation.rival import NAME as RIVAL
from triptych.evaluation.rival import classical_rival
from triptych.runtime.base import Encoded, SpaceSession
from triptych.types import Sample

MODEL_ALONE = "Time and money are of the model alone; reading media, retrieval and the vertical's rule come on top."
_REQUESTS = 64  # test samples that are sent again and again


def build_ledger(
    session: SpaceSession,
    name: str,
    metrics: Mapping[str, Any],
    samples: tuple[Sequence[Sample], Sequence[Sample]],
    encoded: Encoded,
    *,
    size_mb: float,
    prices: Prices,
    training_cpu_seconds: float,
    on_gpu: bool = False,
) -> Ledger:
    """The ledger with the one variant that was trained.

    `samples` are train and test; `metrics` and `encoded` are of the test samples.
    """
    train, test = samples
    metric = HEADLINE[session.kind]
    answers: dict[str, Answer] = {name: session.run}
    rival = None
    if session.kind == "classification" and any(isinstance(s.text, str) for s in train):
        rival = classical_rival(train, test)
        read = rival.pipeline.predict_proba
        answers[RIVAL] = lambda requests: read([s.text if isinstance(s.text, str) else "" for s in requests])
    speeds = measure_all(answers, test[:_REQUESTS], rounds=3, round_seconds=2.0)
    variant = variant_row(
        name,
        metric,
        metrics,
        speeds[name],
        size_mb=size_mb,
        prices=prices,
        on_gpu=on_gpu,
        training_cpu_seconds=training_cpu_seconds,
    )
    notes = [prices.describe(), MODEL_ALONE]
    if rival is None:
        return Ledger.choose([variant], tolerance=0.0, notes=notes)
    row = variant_row(RIVAL, metric, rival.metrics, speeds[RIVAL], size_mb=rival.size_mb, prices=prices)
    row = row.model_copy(update={"resident_mb": None, "notes": list(rival.notes)})
    gain = _gain(session, encoded, test, rival.correct)
    return Ledger.choose([variant], tolerance=0.0, rival=row, gain=gain, notes=notes)


def _gain(session: SpaceSession, encoded: Encoded, test: Sequence[Sample], rival_correct: np.ndarray[Any, Any]) -> Gain:
    """Our accuracy minus the rival's on the test samples, with its interval."""
    targets = encode_targets(session.kind, session.labels, [s.target for s in test])
    correct = session.probabilities(session.fuse(encoded).logits, encoded.mask).argmax(axis=1) == targets
    difference = paired_bootstrap(correct.astype(float), rival_correct.astype(float))
    return Gain(value=difference.value, low=difference.low, high=difference.high)
