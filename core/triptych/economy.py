"""From a trained model to the cheapest variant that keeps what is asked for, and the ledger that proves it.

Search on validation data; finalists are calibrated and judged on the test split; cascades are made of them;
all are measured in turns with the parent and the classical rival; the budget chooses. Only then is anything written
into the bundle.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from triptych.cascades import STEP, cascades
from triptych.compression.base import CompressionContext, Teacher
from triptych.compression.budget import Budget
from triptych.compression.chains import default_chains
from triptych.compression.ledger import Ledger, Quality
from triptych.compression.prices import Prices
from triptych.compression.row import LOWER_IS_BETTER
from triptych.compression.search import Candidate, Limits, Search
from triptych.config import CompressionConfig
from triptych.data.media import content_digest
from triptych.evaluation.judge import HEADLINE
from triptych.finalist import Judged, Trained, judge_candidate, judge_parent
from triptych.indexing import write_documents, write_examples
from triptych.models.multimodal import Features, MultimodalModel
from triptych.pricing import Option, build_ledger
from triptych.runtime.cascade import CascadeSettings
from triptych.runtime.open import TORCH, VARIANTS, variant_directory
from triptych.tuning.base import Progress
from triptych.tuning.cache import FeatureCache

log = logging.getLogger(__name__)

FINALISTS = 5
"""Variants that are judged on the test split, beside the parent."""
FRONT = 2
"""Places among them for what loses too much to serve alone and may stand in front of what does not."""


@dataclass(slots=True, eq=False)
class Economy:
    """What came of it: the ledger, and what has to be written for the variant that it chose."""

    ledger: Ledger
    options: dict[str, Option]

    def install(self, bundle: Path, trained: Trained) -> None:
        """Write the chosen variant with its indexes into a bundle; nothing where the parent itself was chosen."""
        option = self.options[self.ledger.chosen]
        for stage in option.stages or (option.judged,):
            if stage.directory is not None:
                home = bundle / VARIANTS / variant_directory(stage.name)
                shutil.copytree(stage.directory, home)
                _write_indexes(stage, home, trained)
        if option.threshold is not None:
            home = bundle / VARIANTS / variant_directory(option.judged.name)
            home.mkdir(parents=True)
            names = [stage.name if stage.directory is not None else TORCH for stage in option.stages]
            CascadeSettings(
                stages=names,
                thresholds=[option.threshold.threshold] * (len(names) - 1),
                promise=option.threshold.to_json(),
            ).write(home)


def economise(
    trained: Trained,
    budget: Budget,
    settings: CompressionConfig,
    prices: Prices,
    workspace: Path,
    progress: Callable[[Progress], None],
) -> Economy:
    """Search (where that is `settings.enabled`), judge, measure, choose.

    `workspace` keeps what a stopped search has made.
    """
    started = time.process_time()
    metric = HEADLINE[trained.session.kind]
    candidates: list[Candidate] = []
    parent_cpu_ms: float | None = None
    if settings.enabled:
        candidates, parent_cpu_ms = _search(trained, budget, settings, prices, workspace, progress)
    parent = judge_parent(trained)
    cascade = settings.cascade and trained.session.kind == "classification"
    finalists = _finalists(candidates, parent, budget, metric, cascade=cascade)
    judged = []
    for number, candidate in enumerate(finalists):
        progress(Progress("judge", number, len(finalists), candidate.chain))
        try:
            judged.append(judge_candidate(candidate, trained, parent))
        except Exception as error:  # what a plugin's compressor left may fail only now
            log.warning("the chain %s failed when it was judged", candidate.chain, exc_info=error)
            candidate.dropped = f"failed when it was judged: {type(error).__name__}: {error}"
    options = {j.name: Option(j, j.session) for j in (parent, *judged)}
    if cascade:
        cost = {c.chain: _cpu_ms(c) for c in candidates if c.finished}
        cost |= {parent.name: parent_cpu_ms} if parent_cpu_ms is not None else {}
        for option in cascades(parent, judged, cost, trained, budget, settings.assurance):
            options[option.judged.name] = option
    progress(Progress("measure", 0, 1, f"{len(options)} variants in turns"))
    ledger = build_ledger(trained, options, budget, prices, metric, time.process_time() - started)
    notes = [f"{c.chain} was left out: {c.dropped}" for c in candidates if c.dropped]
    return Economy(ledger.model_copy(update={"notes": [*ledger.notes, *notes]}), options)


# -- search ---------------------------------------------------------------------------------------------------


def _search(
    trained: Trained,
    budget: Budget,
    settings: CompressionConfig,
    prices: Prices,
    workspace: Path,
    progress: Callable[[Progress], None],
) -> tuple[list[Candidate], float | None]:
    """The candidates, and the CPU milliseconds of the parent."""
    model = trained.model
    if trained.session.plan.device.type != "cpu":  # the parent stays where it answers
        model = copy.deepcopy(model).cpu()
    if trained.unlabelled:  # drafts that were made with other data are other drafts
        digests = "".join(content_digest(sample) for sample in trained.unlabelled)
        workspace = workspace / f"unlabelled-{hashlib.sha256(digests.encode()).hexdigest()[:16]}"
    context = CompressionContext(
        teacher=Teacher(model, _taught(model, trained, workspace, progress), trained.features["validation"]),
        train=[*trained.inside["train"], *trained.unlabelled],
        validation=trained.inside["validation"],
        train_targets=model.head.encode([s.target for s in trained.inside["train"]]),
        validation_targets=model.head.encode([s.target for s in trained.inside["validation"]]),
        workspace=workspace,
        plan=trained.session.plan,
        seed=trained.config.seed,
        progress=progress,
    )
    per_ms = prices.per_million(0.001).amount  # of a million requests of a CPU-millisecond each
    limits = Limits(
        p95_ms=budget.max_p95_ms,
        mb=budget.max_mb,
        cpu_ms=budget.max_cost / per_ms if budget.max_cost and per_ms else None,
    )
    search = Search(context, trained.host, workspace, trained.session.run, limits=limits, seconds=settings.seconds)
    return search.run(settings.chains or default_chains(model)), search.parent_cpu_ms


def _taught(
    model: MultimodalModel, trained: Trained, workspace: Path, progress: Callable[[Progress], None]
) -> Features:
    """What the teacher makes of the training samples and then of those without a label, which it reads once."""
    known = trained.features["train"]
    if not trained.unlabelled:
        return known

    def report(done: int, total: int) -> None:
        progress(Progress("compress", done, total, "reading unlabelled samples"))

    more = FeatureCache(workspace / "features", progress=report).features(model, trained.unlabelled)
    return Features(
        {m: torch.cat([v.cpu(), more.vectors[m]]) for m, v in known.vectors.items()},
        torch.cat([known.mask.cpu(), more.mask]),
    )


def _finalists(
    candidates: Sequence[Candidate], parent: Judged, budget: Budget, metric: str, *, cascade: bool
) -> list[Candidate]:
    """Those that may win: what keeps the quality on validation data, cheapest first, then what comes nearest to it.

    With `cascade`, some places are for those that cost much less than the cheapest of these, each the best at its
    price: a cascade may begin with them.
    """
    higher = metric not in LOWER_IS_BETTER
    reference = Quality(metric=metric, value=parent.validation[metric], higher_is_better=higher)

    def drop(candidate: Candidate) -> float:
        value = _quality(candidate) if higher else -_quality(candidate)
        return Quality(metric=metric, value=value, higher_is_better=higher).drop_from(reference)

    finished = [c for c in candidates if c.finished]
    most = np.inf if budget.max_drop is None else budget.max_drop
    keeping = sorted((c for c in finished if drop(c) <= most), key=_cpu_ms)
    losing = sorted((c for c in finished if drop(c) > most), key=drop)
    front: list[Candidate] = []
    for candidate in losing if keeping and cascade else []:
        if len(front) < FRONT and STEP * _cpu_ms(candidate) <= _cpu_ms([*keeping[:1], *front][-1]):
            front.append(candidate)
    front = front or losing[:1]
    first = [*keeping[: FINALISTS - len(front)], *front]
    return [*first, *(c for c in [*keeping, *losing] if c not in first)][:FINALISTS]


def _quality(candidate: Candidate) -> float:
    assert candidate.quality is not None
    return candidate.quality


def _cpu_ms(candidate: Candidate) -> float:
    assert candidate.speed is not None
    return candidate.speed.batch_cpu_ms


def _write_indexes(judged: Judged, home: Path, trained: Trained) -> None:
    write_examples(home, trained.inside["train"], judged.session, trained.config.retrieval)
    if trained.documents:
        write_documents(home, trained.documents, judged.session, trained.config.retrieval)
