"""The search: many chains with little effort, the better half with more, and the front of what is left.

Successive halving (Jamieson & Talwalkar 2016) over chains of compressors, the cheap questions first. Speed and size do
not depend on training, so they are asked of the converted model before any is trained; then come short recoveries,
and full ones for those that are still on the way to the front. Everything is measured on the exported model, as it
will run.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from triptych.compression.base import CompressionContext, Compressor, Draft, StepLog
from triptych.compression.chains import parents, parse_chain
from triptych.compression.export import export_model, export_obstacle, export_top
from triptych.compression.measure import Answer, Measurement, measure_all, size_mb
from triptych.compression.quality import quality
from triptych.compression.refit import refit
from triptych.compression.workshop import Workshop, trains
from triptych.errors import TriptychError
from triptych.host import Host
from triptych.models.multimodal import Features, MultimodalModel
from triptych.runtime.exported import ExportedModel
from triptych.runtime.open import variant_directory
from triptych.runtime.torch_session import features_of
from triptych.tuning.base import Progress
from triptych.types import Sample

log = logging.getLogger(__name__)

SHORT = 0.25
"""Effort of the first recovery."""
REQUESTS = 64
"""Samples that speed is measured with."""
ROUGH = 1.5
"""A limit on speed is surely broken by more than this, measured quickly."""
NEAREST = 2
"""Candidates beyond the limits that are judged all the same where none is within."""
SLACK = 1.05
"""A chain that takes more than this of its parent's time and space gains nothing by its last step."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What no amount of training changes; None: no limit. A candidate beyond one is not trained."""

    p95_ms: float | None = None
    mb: float | None = None
    cpu_ms: float | None = None  # of one request in a batch


@dataclass(slots=True, eq=False)
class Candidate:
    """One chain on its way; `dropped` says why it went no further, empty: it is still in.

    `quality` is the headline metric on validation data (higher is better) of the exported model in `directory`.
    """

    chain: str
    compressors: list[Compressor]
    directory: Path
    draft: Draft | None = None
    effort: float = 0.0
    quality: float | None = None
    speed: Measurement | None = None
    size_mb: float = 0.0
    dropped: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether it is measured in all respects; in a search that ran out of time, perhaps before a full recovery."""
        return not self.dropped and self.quality is not None and self.speed is not None

    @property
    def steps(self) -> tuple[StepLog, ...]:
        """Convert, loss, recovery of each compressor that changed the model."""
        return () if self.draft is None else self.draft.log


class OutOfTimeError(Exception):
    """The time budget is used up; raised inside of whatever is at work."""


class Search:
    """One search. `directory` keeps drafts and exported models: the same search started again goes on with them."""

    def __init__(
        self,
        context: CompressionContext,
        host: Host,
        directory: Path,
        parent: Answer,
        *,
        limits: Limits | None = None,
        seconds: float | None = None,
    ) -> None:
        self.host, self.directory, self.parent = host, directory, parent
        self.limits = limits or Limits()
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.report = context.progress
        self.context = dataclasses.replace(context, progress=self._progress)
        self.workshop = Workshop(self.context, host, directory / "drafts")
        self.out_of_time = False
        self.parent_cpu_ms: float | None = None  # of one request in a batch, once it was measured

    def run(self, chains: Sequence[str]) -> list[Candidate]:
        """Every candidate, the dropped ones with their reason. Raises `ConfigError` for a chain that is none."""
        candidates = [self._candidate(chain) for chain in dict.fromkeys("".join(chain.split()) for chain in chains)]
        self._each(candidates, self._first, "convert")
        self._measure(candidates)
        self._drop_hopeless(candidates)
        trained = [c for c in _left(candidates) if c.quality is None]
        if len(trained) > 2:
            self._each(trained, lambda c: self._recover(c, SHORT), "first recovery")
            self._halve(trained, candidates)
        self._each([c for c in trained if not c.dropped], lambda c: self._recover(c, 1.0), "recovery")
        for candidate in _left(candidates):
            if not candidate.finished:
                candidate.dropped = "the time budget ended before it was ready"
            elif candidate.effort < 1.0:
                candidate.notes.append("the time budget ended before a full recovery")
        return candidates

    def _candidate(self, chain: str) -> Candidate:
        directory = self.directory / "exported" / variant_directory(chain)
        try:
            return Candidate(chain, parse_chain(chain, self.host), directory)
        except TriptychError:
            raise
        except Exception as error:  # a plugin's constructor
            return Candidate(chain, [], directory, dropped=_failure(chain, error))

    # -- rungs ------------------------------------------------------------------------------------------------

    def _first(self, candidate: Candidate) -> None:
        """Convert and export without training: what it would cost. Where nothing is to be recovered, that is all."""
        model = self.context.teacher.model
        for compressor in candidate.compressors:
            reason = compressor.obstacle(model)
            if reason is not None:
                candidate.dropped = reason
                return
        if any(trains(c) for c in candidate.compressors):
            self._export(candidate, 0.0)
        else:
            self._recover(candidate, 1.0)

    def _recover(self, candidate: Candidate, effort: float) -> None:
        """Recover, export, and judge what was exported; after quantization the head is taught once more."""
        self._export(candidate, effort)
        if candidate.dropped or candidate.draft is None:
            return
        held = self._vectors(candidate, self.context.validation)
        if candidate.draft.precision == "int8" and effort == 1.0:
            seen = self._vectors(candidate, self.context.labelled)
            candidate.draft = refit(candidate.draft, seen, held, self.context)
            export_top(candidate.draft, candidate.directory)
        candidate.quality = quality(candidate.draft.model, held, self.context.validation_targets)
        candidate.effort = effort
        if not _finite(candidate.draft.model, held):
            candidate.dropped = "its answers are not finite numbers"
        elif candidate.draft.precision != "int8":
            self._log_export(candidate)

    def _log_export(self, candidate: Candidate) -> None:
        """What the export itself changed, which is hardly anything in float32 and half precision."""
        assert candidate.draft is not None
        assert candidate.quality is not None
        teacher, log_ = self.context.teacher, candidate.draft.log
        before = quality(teacher.model, teacher.validation, self.context.validation_targets)
        before = log_[-1].recovered if log_ else before
        name = {"fp32": "onnx"}.get(candidate.draft.precision, candidate.draft.precision)
        step = StepLog(name, before, candidate.quality, candidate.quality, 0.0, 0.0, ("nothing to recover",))
        candidate.draft = dataclasses.replace(candidate.draft, log=(*log_, step))

    def _export(self, candidate: Candidate, effort: float) -> None:
        draft = self.workshop.draft(candidate.compressors, effort)
        reason = export_obstacle(draft.model)
        if reason is not None:
            candidate.dropped = reason
            return
        samples = self.context.train[: 4 * REQUESTS]
        cache = self.directory / "graphs"
        candidate.notes = export_model(
            draft, candidate.directory, variant=candidate.chain, calibration=samples, cache=cache
        )
        candidate.draft = draft
        candidate.size_mb = size_mb(candidate.directory)

    def _vectors(self, candidate: Candidate, samples: Sequence[Sample]) -> Features:
        """What the exported encoders make of samples."""
        return features_of(ExportedModel.load(candidate.directory, self.host).encode(samples))

    def _measure(self, candidates: list[Candidate]) -> None:
        """Speed of everything that was exported, in turns with the parent."""
        alive = [c for c in _left(candidates) if c.draft is not None]
        if not alive:
            return
        answers: dict[str, Answer] = {"": self.parent}
        requests: list[Sample] = list(self.context.validation[:REQUESTS])
        for candidate in alive:
            try:
                model = ExportedModel.load(candidate.directory, self.host)
                model.run(requests[:2])
            except Exception as error:
                candidate.dropped = _failure(candidate.chain, error)
                continue
            answers[candidate.chain] = model.run
        alive = _left(alive)
        self.report(Progress("compress", 0, 1, f"measuring {len(alive)} variants"))
        speeds = measure_all(answers, requests, rounds=2, single_requests=20, round_seconds=0.5)
        self.parent_cpu_ms = speeds[""].batch_cpu_ms
        for candidate in alive:
            candidate.speed = speeds[candidate.chain]

    # -- choices ----------------------------------------------------------------------------------------------

    def _drop_hopeless(self, candidates: list[Candidate]) -> None:
        """What breaks a limit that training does not change, or is no better than the chain it adds a step to."""
        by_chain = {c.chain: c for c in candidates}
        measured = [c for c in _left(candidates) if c.speed is not None]
        beyond = {c.chain: self._beyond_limits(c) for c in measured}
        within = [c for c in measured if not beyond[c.chain][1]]
        # where nothing is within them, those that come nearest stay in, so that the miss can be named
        nearest = sorted(measured, key=lambda c: beyond[c.chain][0])[: 0 if within else NEAREST]
        for candidate in measured:
            if candidate not in nearest:
                candidate.dropped = beyond[candidate.chain][1] or self._no_gain(candidate, by_chain)

    def _beyond_limits(self, candidate: Candidate) -> tuple[float, str]:
        """The largest excess over a limit, as a share of it, and the reason to go no further; (0, "") where none is.

        The quick measurement of speed is rough: only what is far beyond is not looked at again.
        """
        assert candidate.speed is not None
        speed, limits = candidate.speed, self.limits
        asked = [
            (candidate.size_mb, limits.mb, 1.0, "{:.3g} MB, where at most {:g} are allowed"),
            (speed.p50_ms, limits.p95_ms, ROUGH, "p50 {:.3g} ms, where p95 may be at most {:g}"),
            (speed.batch_cpu_ms, limits.cpu_ms, ROUGH, "{:.3g} CPU-ms a request, where {:.3g} are affordable"),
        ]
        found = [
            (value / limit - 1, reason.format(value, limit))
            for value, limit, slack, reason in asked
            if limit is not None and value > slack * limit
        ]
        return max(found, default=(0.0, ""))

    def _no_gain(self, candidate: Candidate, by_chain: dict[str, Candidate]) -> str:
        assert candidate.speed is not None
        for parent in parents(candidate.chain):
            other = by_chain.get(parent)
            if other is None or other.speed is None or other.dropped:
                continue
            if (
                candidate.speed.batch_cpu_ms > other.speed.batch_cpu_ms * SLACK
                and candidate.speed.p50_ms > other.speed.p50_ms * SLACK
                and candidate.size_mb > other.size_mb / SLACK
            ):
                return f"slower than {parent} and no smaller"
        return ""

    def _halve(self, trained: list[Candidate], candidates: list[Candidate]) -> None:
        """Keep the better half of those that were trained a little, by how many others are better in all respects."""
        alive = [c for c in trained if not c.dropped and c.quality is not None]
        field_ = [c for c in _left(candidates) if c.quality is not None]
        order = sorted(alive, key=lambda c: (_dominated_by(c, field_), -(c.quality or 0.0)))
        for candidate in order[max(2, -(-len(alive) // 2)) :]:
            candidate.dropped = f"not among the better half after a short recovery ({candidate.quality:.4f})"

    # -- time and failures ------------------------------------------------------------------------------------

    def _each(self, candidates: Sequence[Candidate], work: Callable[[Candidate], None], step: str) -> None:
        for number, candidate in enumerate(candidates):
            if candidate.dropped or self.out_of_time:
                continue
            self.report(Progress("compress", number, len(candidates), f"{step}: {candidate.chain}"))
            try:
                self._check_time()
                work(candidate)
            except OutOfTimeError:
                self.out_of_time = True
            except TriptychError as error:
                candidate.dropped = str(error)
            except Exception as error:  # a compressor, perhaps a plugin's: the others go on
                candidate.dropped = _failure(candidate.chain, error)

    def _progress(self, progress: Progress) -> None:
        self._check_time()
        self.report(progress)

    def _check_time(self) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTimeError


@torch.inference_mode()
def _finite(model: MultimodalModel, features: Features) -> bool:
    return bool(torch.isfinite(model.fuse(features).logits).all())


def _failure(chain: str, error: Exception) -> str:
    log.warning("the chain %s failed", chain, exc_info=error)
    return f"failed: {type(error).__name__}: {error}"


def _left(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [c for c in candidates if not c.dropped]


def _dominated_by(candidate: Candidate, others: Sequence[Candidate]) -> int:
    """How many others are at least as good in quality, cost, latency and size, and better in one."""
    mine = _merits(candidate)
    return sum(
        o is not candidate and _merits(o) != mine and all(a >= b for a, b in zip(_merits(o), mine, strict=True))
        for o in others
    )


def _merits(candidate: Candidate) -> tuple[float, ...]:
    assert candidate.quality is not None
    assert candidate.speed is not None
    speed = candidate.speed
    return candidate.quality, -speed.batch_cpu_ms, -speed.p50_ms, -candidate.size_mb
