"""Recovery: a model that lost something in its conversion learns again what its teacher answers.

The loss has three parts: softened answers of the teacher (Hinton et al. 2015, "Distilling the Knowledge in a Neural
Network"), the teacher's encoder vectors and fused embedding where they have the student's size (Romero et al. 2015,
"FitNets"), and a little of the true targets. Parts of a sample are hidden at random and the teacher is asked with the
same parts hidden, so that every subset of the modalities is learnt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.compression.base import CompressionContext, Teacher
from triptych.compression.quality import quality
from triptych.models.multimodal import Features, ModelOutput, MultimodalModel
from triptych.tuning.base import Progress
from triptych.tuning.loop import LARGEST_GRADIENT, batches, drop_modalities, schedule
from triptych.tuning.sources import LOWER_LIMIT_MB, Layered, LowerSource, SampleSource
from triptych.types import Modality, Sample

VIEWS = 30_000
"""Samples seen in a full recovery, whatever the size of the data: that many repetitions, or that large a part."""
MOST_EPOCHS = 30
UNLABELLED_ROUNDS = 2
"""How often samples without a label are seen beyond that: they are there to be seen."""
FEWEST_VIEWS = 320
BATCH = 32
LEARNING_RATE = 3e-4
HEAD_LEARNING_RATE = 1e-3
DECAY = 0.01
WARMUP = 0.1
SOFTNESS = 2.0
"""The temperature at which answers of teacher and student are compared."""
TRUTH = 0.2
"""Weight of the true targets beside the teacher's answers."""
LIKENESS = 5.0
"""Weight of the distance between vectors, which is between 0 (the teacher's) and about 2 (unrelated)."""
HIDDEN = 0.3
"""Chance that a part of a sample with several is hidden."""


def distil(
    model: MultimodalModel,
    context: CompressionContext,
    *,
    modalities: Sequence[Modality] | None = None,
    train_head: bool = True,
    epochs: float | None = None,
    learning_rate: float = LEARNING_RATE,
    head_learning_rate: float = HEAD_LEARNING_RATE,
    batch_size: int = BATCH,
    likeness: float = LIKENESS,
    truth: float = TRUTH,
    frozen_layers: int = 0,
    ask_whole: bool = False,
    step: str = "distil",
) -> list[str]:
    """Train `model` in place against `context.teacher`; returns notes. On the CPU and in evaluation mode afterwards.

    The encoders of `modalities` (all by default) learn, and with `train_head` projections, fusion and head; the
    others' vectors are computed once, or taken from the teacher where the encoder is still the same. The model may
    have fewer modalities than its teacher. Embeddings and the lowest `frozen_layers` of a stack stay fixed, their
    outputs are computed once. `epochs` may be a fraction (by default `VIEWS` samples are seen, and more where some have
    no label) and is multiplied by `context.effort`; the learning rate always falls to zero. With `ask_whole` the
    teacher is asked with all parts even where some are hidden from the student. The weights kept are the best on
    validation data, those at the start among them.
    """
    learned = tuple(m for m in model.modalities if modalities is None or m in modalities)
    device = context.plan.device
    model.to(device).eval()
    _choose_parameters(model, learned, train_head, frozen_layers)
    lessons = _Lessons(model, context.teacher, context.train, context.teacher.train, learned)
    exam = _Lessons(model, context.teacher, context.validation, context.teacher.validation, learned)
    groups = _groups(model, learning_rate, head_learning_rate)
    if not groups or not len(lessons):
        model.to("cpu")
        return ["nothing to train"]
    optimizer = torch.optim.AdamW(groups, weight_decay=DECAY)
    if epochs is None:
        extra = UNLABELLED_ROUNDS * (len(context.train) - len(context.labelled))
        epochs = min((VIEWS + extra) / len(lessons), MOST_EPOCHS)
    rounds, views = _rounds(len(lessons), epochs, context.effort, batch_size)
    steps = rounds * math.ceil(views / batch_size)
    best = _Best(model, exam, context.validation_targets)
    begun = best.look(model)
    done = 0
    with _without_dropout(model), torch.random.fork_rng(devices=[]):
        for number in range(rounds):
            torch.manual_seed(context.seed * 1_000_003 + number)
            rows = torch.randperm(len(lessons))[:views]
            plan = batches([lessons.costs[i] for i in rows.tolist()], batch_size, context.seed * 1_000_003 + number)
            _set_training(model, learned, train_head)
            for chosen in plan:
                for group in optimizer.param_groups:
                    group["lr"] = group["top"] * schedule(done, steps, WARMUP)
                done += 1
                if len(chosen) < 2 < views:  # a batch norm cannot learn from one sample
                    continue
                picked = rows[chosen]
                with torch.autocast(device.type, torch.bfloat16, enabled=context.plan.mixed_precision == "bf16"):
                    loss = lessons.loss(model, picked, context.train_targets, truth, likeness, ask_whole)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_([p for g in groups for p in g["params"]], LARGEST_GRADIENT)
                optimizer.step()
                optimizer.zero_grad()
            model.eval()
            found = best.look(model)
            context.progress(Progress(step, number + 1, rounds, f"quality {found:.4f}"))
    best.restore(model)
    model.to("cpu").eval()
    note = f"{rounds} x {views} samples at a learning rate of {learning_rate:g}"
    return [f"{note}: quality {begun:.4f} -> {best.value:.4f}" if len(exam) else note]


class _Lessons:
    """Samples with what the teacher made of them. Rows count those samples that have something for the student."""

    def __init__(
        self,
        model: MultimodalModel,
        teacher: Teacher,
        samples: Sequence[Sample],
        taught: Features,
        learned: Sequence[Modality],
    ) -> None:
        self.teacher = teacher.model
        self.modalities = model.modalities
        self._columns = [teacher.model.modalities.index(m) for m in model.modalities]
        self.rows = taught.mask[:, self._columns].any(dim=1).nonzero().flatten()  # int64, places in `samples`
        self.taught = taught.rows(self.rows)
        self.mask = self.taught.mask[:, self._columns]
        self.costs = [0] * len(self.rows)
        self._fixed: dict[Modality, Tensor] = {}
        self._sources: dict[Modality, SampleSource] = {}
        self._place: dict[Modality, Tensor] = {}  # of a row among those that have the modality
        for column, m in enumerate(model.modalities):
            present = self.mask[:, column]
            chosen = [samples[i] for i in self.rows[present].tolist()]
            if m not in learned:
                self._fixed[m] = self._known(model, m, chosen, present)
                continue
            self._sources[m] = _source(model, m, chosen)
            self._place[m] = present.cumsum(dim=0) - 1
            for row, cost in zip(present.nonzero().flatten().tolist(), self._sources[m].costs, strict=True):
                self.costs[row] += cost

    def __len__(self) -> int:
        return len(self.rows)

    def vectors(self, model: MultimodalModel, rows: Tensor) -> dict[Modality, Tensor]:
        """The student's encoder vectors [len(rows), dim of each], zero where absent, on the model's device."""
        vectors: dict[Modality, Tensor] = {}
        for column, m in enumerate(self.modalities):
            if m in self._fixed:
                vectors[m] = self._fixed[m][rows].to(model.device)
                continue
            vectors[m] = torch.zeros(len(rows), model.encoder(m).dim, device=model.device)
            present = self.mask[rows, column].nonzero().flatten()
            if len(present):
                batch = self._sources[m].batch(self._place[m][rows[present]].tolist())
                assert not isinstance(batch, Features)
                prepared = {k: v.to(model.device) for k, v in batch.parts[m][1].items()}
                encoded = model.encoder(m)(prepared).float()
                vectors[m] = vectors[m].index_copy(0, present.to(model.device), encoded)
        return vectors

    def loss(
        self, model: MultimodalModel, rows: Tensor, targets: Tensor, truth: float, likeness: float, ask_whole: bool
    ) -> Tensor:
        """How far the student's answers and vectors are from the teacher's: a scalar."""
        mask = self.mask[rows]
        keep = drop_modalities(mask, HIDDEN)
        vectors = self.vectors(model, rows)
        output = model.fuse(Features(vectors, keep.to(model.device)))
        answer = self._ask(rows, None if ask_whole else keep)
        logits, embedding = answer.logits.to(model.device), answer.embedding.to(model.device)
        loss = answer_loss(model.head.kind, output.logits, logits)
        if truth:
            loss = loss + truth * self._truth(model, output.logits, self.rows[rows], targets)
        if not likeness:
            return loss
        for column, m in enumerate(self.modalities):
            wanted = self.taught.vectors[m][rows]
            present = mask[:, column]
            if m in self._sources and wanted.shape[1] == vectors[m].shape[1] and bool(present.any()):
                loss = loss + likeness * vector_loss(vectors[m][present], wanted[present].to(model.device))
        if model.fusion is not None and embedding.shape == output.embedding.shape:
            loss = loss + likeness * vector_loss(output.embedding, embedding)
        return loss

    @staticmethod
    def _truth(model: MultimodalModel, logits: Tensor, places: Tensor, targets: Tensor) -> Tensor:
        """The loss against the targets, of those samples that have one, as a share of all: a scalar."""
        known = places < len(targets)
        if not bool(known.any()):
            return logits.sum() * 0.0
        loss = model.head.loss(logits[known.to(logits.device)], targets[places[known]].to(logits.device))
        return loss * known.float().mean()

    @torch.inference_mode()
    def features(self, model: MultimodalModel, batch_size: int = 64) -> Features:
        """The student's vectors of all rows, on the CPU."""
        found = {m: torch.zeros(len(self), model.encoder(m).dim) for m in self.modalities}
        order = torch.tensor(sorted(range(len(self)), key=self.costs.__getitem__), dtype=torch.int64)
        for rows in torch.split(order, batch_size):
            for m, vectors in self.vectors(model, rows).items():
                found[m][rows] = vectors.float().cpu()
        return Features(found, self.mask)

    @torch.no_grad()
    def _ask(self, rows: Tensor, keep: Tensor | None) -> ModelOutput:
        """The teacher's answer from its cached vectors, with the parts of `keep` (all of its own without)."""
        taught = self.taught.rows(rows)
        mask = taught.mask
        if keep is not None:
            mask = torch.zeros_like(mask)
            mask[:, self._columns] = keep
        return self.teacher.fuse(Features(taught.vectors, mask).to(self.teacher.device))

    def _known(self, model: MultimodalModel, m: Modality, chosen: Sequence[Sample], present: Tensor) -> Tensor:
        """The vectors of an encoder that does not learn, [rows, dim]."""
        encoder = model.encoder(m)
        if encoder.fingerprint == self.teacher.encoder(m).fingerprint:
            return self.taught.vectors[m]
        vectors = torch.zeros(len(present), encoder.dim)
        if chosen:
            vectors[present] = encoder.encode([s.value(m) for s in chosen])
        return vectors


class _Best:
    """The weights that did best on validation data; without any, the latest."""

    def __init__(self, model: MultimodalModel, exam: _Lessons, targets: Tensor) -> None:
        self.exam = exam
        self.targets = targets[exam.rows]
        self.value = -math.inf
        self._rank = (-math.inf, -math.inf)
        self._weights: dict[str, Tensor] = {}
        self._fixed = {name for name, p in model.named_parameters() if not p.requires_grad}

    def look(self, model: MultimodalModel) -> float:
        """The quality now, with everything present; the weights are kept where nothing was better before."""
        value, rank = self._judge(model) if len(self.exam) else (0.0, (0.0, 0.0))
        if rank >= self._rank:
            self.value, self._rank = value, rank
            state = model.state_dict()
            self._weights = {k: v.detach().cpu().clone() for k, v in state.items() if k not in self._fixed}
        return value

    def restore(self, model: MultimodalModel) -> None:
        """Put them back."""
        model.load_state_dict(self._weights, strict=False)

    @torch.inference_mode()
    def _judge(self, model: MultimodalModel) -> tuple[float, tuple[float, float]]:
        features = self.exam.features(model)
        value = quality(model, features, self.targets)
        alone = []  # a model that is best with everything present may not have learnt yet to answer with less
        for m in self.exam.modalities if len(self.exam.modalities) > 1 and model.head.kind != "embedding" else ():
            kept = features.only([m])
            some = kept.mask.any(dim=1)
            if int(some.sum()) > 1:
                alone.append(quality(model, kept.rows(some), self.targets[some]))
        output = model.fuse(features.to(model.device))
        loss = float(model.head.loss(output.logits, self.targets.to(model.device)))
        return value, (value + sum(alone) / len(alone) if alone else value, -loss)


def answer_loss(kind: str, logits: Tensor, wanted: Tensor) -> Tensor:
    """Between two [batch, outputs] of a head of this kind; a scalar, zero where they say the same.

    Kullback-Leibler divergence of softened answers for labels, squared error for numbers, angle for embeddings.
    """
    if kind == "regression":
        return F.mse_loss(logits, wanted)
    if kind == "embedding":
        return (1 - F.cosine_similarity(logits, wanted)).mean()
    ours, theirs = logits / SOFTNESS, wanted / SOFTNESS
    if kind == "multilabel":
        own = theirs.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(theirs, own)
        return SOFTNESS**2 * (F.binary_cross_entropy_with_logits(ours, own) - entropy)
    divergence = F.kl_div(ours.log_softmax(dim=1), theirs.log_softmax(dim=1), reduction="batchmean", log_target=True)
    return SOFTNESS**2 * divergence


def vector_loss(vectors: Tensor, wanted: Tensor) -> Tensor:
    """The squared distance of two [batch, dim] relative to the mean squared length of `wanted`; a scalar."""
    distance = (vectors - wanted).square().sum(dim=1).mean()
    return distance / wanted.square().sum(dim=1).mean().clamp_min(1e-12)


def _source(model: MultimodalModel, m: Modality, samples: Sequence[Sample]) -> SampleSource:
    """One modality alone, its frozen layers computed once where they fit into memory."""
    encoder = model.encoder(m)
    # a model around the very same encoder; what stands in for its head is never asked
    alone = MultimodalModel({m: encoder}, None, model.head).to(model.device)
    frozen = isinstance(encoder, Layered) and getattr(encoder, "frozen_layers", 0) > 0
    if frozen and samples and LowerSource.size_mb(alone, samples, m) <= LOWER_LIMIT_MB:
        return LowerSource(alone, samples, m)
    return SampleSource(alone, samples)


def _choose_parameters(
    model: MultimodalModel, learned: Sequence[Modality], train_head: bool, frozen_layers: int
) -> None:
    model.requires_grad_(train_head)
    for m in model.modalities:
        encoder = model.encoder(m)
        encoder.requires_grad_(m in learned)
        if m in learned and isinstance(encoder, Layered):
            # gradients of a table of tokens are mostly zeros, and the optimiser would walk through all of them
            encoder.freeze_lowest(frozen_layers)


def _groups(model: MultimodalModel, learning_rate: float, head_learning_rate: float) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate and decay; biases and norms are not decayed."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = learning_rate if name.startswith("encoders.") else head_learning_rate
            groups.setdefault((rate, DECAY if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [{"params": p, "lr": rate, "weight_decay": decay, "top": rate} for (rate, decay), p in groups.items()]


def _rounds(samples: int, epochs: float, effort: float, batch_size: int) -> tuple[int, int]:
    """How many rounds of how many samples each make the effort."""
    views = max(epochs * effort * samples, min(FEWEST_VIEWS, epochs * samples), batch_size)
    rounds = max(1, round(views / samples))
    return rounds, min(samples, round(views / rounds))


def _set_training(model: MultimodalModel, learned: Sequence[Modality], train_head: bool) -> None:
    """Training mode for what learns; statistics of a batch norm in what does not must not move."""
    model.train(train_head)
    for m in model.modalities:
        model.encoder(m).train(m in learned)


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """The teacher's answers regularise enough; dropout only hides capacity from a small student."""
    found = [(module, module.p) for module in model.modules() if isinstance(module, nn.Dropout)]
    for module, _ in found:
        module.p = 0.0
    try:
        yield
    finally:
        for module, share in found:
            module.p = share
