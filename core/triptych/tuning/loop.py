"""The one training loop: on accelerate, for raw samples, cached features and cached lower layers alike."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from triptych.config import TrainingConfig
from triptych.device import fast_bfloat16
from triptych.models.multimodal import Features, ModelBatch, MultimodalModel
from triptych.tuning.average import WeightAverage
from triptych.tuning.base import Progress, TuningContext
from triptych.tuning.checkpoints import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from triptych.tuning.sources import Source

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

POOL = 64
"""Batches among which lengths are sorted: large enough for little padding, small enough to mix."""
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True)
class LoopResult:
    """`best` is the validation metric of the weights kept (training loss without validation)."""

    epochs: int
    history: list[dict[str, Any]]
    best: float
    samples_per_second: float


class Objective(nn.Module):
    """The model with its loss as one module, so that accelerate can wrap whatever kind of batch comes.

    `bfloat16`: in training, products of matrices are computed in it, on the CPU; weights and all else stay float32.
    """

    def __init__(self, model: MultimodalModel, label_smoothing: float, *, bfloat16: bool = False) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        self.products = bfloat16

    def forward(self, inputs: ModelBatch | Features, targets: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (a scalar) and logits [batch, outputs]; `keep` is bool [batch, modalities]."""
        with in_bfloat16(self.products and self.training):
            if isinstance(inputs, ModelBatch):
                logits = self.model(inputs, keep=keep).logits
            else:
                logits = self.model.fuse(Features(inputs.vectors, inputs.mask & keep)).logits
        logits = logits.float()
        smoothing = self.label_smoothing if self.training else 0.0
        return self.model.head.loss(logits, targets, label_smoothing=smoothing), logits


def parameter_groups(model: MultimodalModel, settings: TrainingConfig) -> list[dict[str, Any]]:
    """Trainable parameters with their learning rates: encoders slow, fusion and head fast.

    Biases and norms are not decayed. An encoder that was never trained learns as fast as the head.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        modality = next((m for m in model.modalities if name.startswith(f"encoders.{m}.")), None)
        slow = modality is not None and model.encoder(modality).pretrained
        rate = settings.learning_rate if slow else settings.head_learning_rate
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": p, "lr": rate, "weight_decay": decay, "top": rate} for (rate, decay), p in groups.items()]


def fit(
    model: MultimodalModel,
    train: Source,
    train_targets: Tensor,
    validation: Source | None,
    validation_targets: Tensor | None,
    settings: TrainingConfig,
    context: TuningContext,
    *,
    step: str,
) -> LoopResult:
    """Train what requires a gradient; leave the best weights, on the CPU, in evaluation mode.

    `step` names this training among others of one workspace: its checkpoints lie in `workspace/step`. Early stopping
    watches accuracy for a classification and the loss otherwise; with `settings.average` the averaged weights are
    judged and kept. A finished or interrupted run with the same data, settings, seed and starting weights is taken up
    where it stands.
    """
    accelerator = Accelerator(mixed_precision=context.plan.mixed_precision, cpu=context.plan.device.type == "cpu")
    model.to(accelerator.device)
    directory = context.workspace / step
    identity = _identity(model, train, train_targets, validation, settings, context.seed)
    objective = Objective(model, settings.label_smoothing, bfloat16=quick(settings, accelerator.device))
    optimizer = torch.optim.AdamW(parameter_groups(model, settings))
    run = _Run(history=[], best=None, best_weights={}, since_best=0)
    average = WeightAverage(model, settings.average)
    first = 0
    if (found := load_checkpoint(directory, identity)) is not None:
        tensors, state = found
        _set_weights(model, {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        restore_optimizer(optimizer, tensors)
        average.restore({k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")})
        run = _Run.restored(tensors, state)
        first = state["epoch"]
    prepared, optimizer = accelerator.prepare(objective, optimizer)
    writer = _writer(context, step) if settings.tensorboard and accelerator.is_main_process else None
    for epoch in range(first, settings.epochs):
        if run.since_best >= settings.patience:
            break
        row: dict[str, Any] = {"epoch": epoch + 1}
        row |= _train_epoch(
            accelerator, prepared, optimizer, average, train, train_targets, settings, context, epoch, step
        )
        with average.in_place(model):
            if validation is not None and validation_targets is not None:
                row |= evaluate(prepared, validation, validation_targets, accelerator.device, settings.batch_size)
            run.add(row, model)
        for key in ("train_loss", "loss", "accuracy"):
            if writer is not None and key in row:
                writer.add_scalar(f"{step}/{key}", row[key], epoch + 1)
        last = epoch + 1 == settings.epochs or run.since_best >= settings.patience
        if accelerator.is_main_process and (last or (epoch + 1) % settings.checkpoint_every == 0):
            tensors = {f"model.{k}": v for k, v in _weights(model).items()}
            tensors |= {f"best.{k}": v for k, v in run.best_weights.items()}
            tensors |= {f"average.{k}": v for k, v in average.state().items()}
            tensors |= optimizer_tensors(optimizer)
            save_checkpoint(directory, tensors, {"identity": identity, "epoch": epoch + 1, **run.state()})
        shown = next(key for key in ("accuracy", "loss", "train_loss") if key in row)
        context.progress(Progress(step, epoch + 1, settings.epochs, f"{shown.replace('_', ' ')} {row[shown]:.4f}"))
    if writer is not None:
        writer.close()
    _set_weights(model, run.best_weights)
    model.to("cpu").eval()
    seconds = sum(row["seconds"] for row in run.history)
    best = run.best[0] if run.best is not None else 0.0
    speed = len(train.costs) * len(run.history) / seconds if seconds else 0.0
    return LoopResult(len(run.history), run.history, best, speed)


def batches(costs: Sequence[int], batch_size: int, seed: int) -> list[list[int]]:
    """All rows once, in random batches of like cost: sorted within random pools, then the batches shuffled."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(costs), generator=generator).tolist()
    found: list[list[int]] = []
    for start in range(0, len(order), POOL * batch_size):
        pool = sorted(order[start : start + POOL * batch_size], key=costs.__getitem__)
        found += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [found[i] for i in torch.randperm(len(found), generator=generator).tolist()]


def drop_modalities(mask: Tensor, share: float) -> Tensor:
    """Bool [batch, modalities] of what stays: each present part is dropped with probability `share`, never the last."""
    if share <= 0 or mask.shape[1] < 2:
        return mask
    keep = mask & (torch.rand(mask.shape) >= share)
    spared = (torch.rand(mask.shape) * mask).argmax(dim=1)  # a random part among those present
    lost = ~keep.any(dim=1)
    keep[lost, spared[lost]] = True
    return keep & mask


def hide_tokens(inputs: ModelBatch | Features, share: float) -> ModelBatch | Features:
    """The batch with each token hidden from its encoder with probability `share`, but for the first of a text.

    What is hidden is attended to by none and left out of the mean (after word dropout, Iyyer et al. 2015, "Deep
    Unordered Composition Rivals Syntactic Methods for Text Classification", section 3.2). Parts without an attention
    mask stay as they are.
    """
    if share <= 0 or isinstance(inputs, Features):
        return inputs
    parts = {}
    for m, (rows, batch) in inputs.parts.items():
        mask = batch.get("attention_mask")
        if mask is not None:
            read = torch.rand(mask.shape) >= share
            read[:, 0] = True
            batch = {**batch, "attention_mask": mask * read.to(mask.dtype)}
        parts[m] = (rows, batch)
    return ModelBatch(parts, inputs.mask)


def schedule(step: int, steps: int, warmup: float) -> float:
    """The share of the learning rate at a step: a straight rise over the warm-up, a straight fall to zero after it."""
    rise = max(1, round(steps * warmup))
    return (step + 1) / rise if step < rise else max(0.0, (steps - step) / max(1, steps - rise))


def quick(settings: TrainingConfig, device: torch.device) -> bool:
    """Whether products are computed in bfloat16 on the CPU; a GPU's precision is that of the device plan."""
    return settings.bfloat16 and device.type == "cpu" and fast_bfloat16(device)


@contextmanager
def in_bfloat16(wanted: bool) -> Iterator[None]:
    """Products of matrices in bfloat16 on the CPU, attention as plain products: torch's fused one is slow backwards."""
    if not wanted:
        yield
        return
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield


@torch.inference_mode()
def evaluate(
    objective: nn.Module, source: Source, targets: Tensor, device: torch.device, batch_size: int
) -> dict[str, float]:
    """`loss`, and `accuracy` for a classification, with all modalities that are present.

    On cached features of several modalities also `alone`: the accuracy of one modality at a time, over all of them.
    Weights that are best with everything present are often chosen before the weaker modalities have learnt to stand
    alone.
    """
    objective.eval()
    order = sorted(range(len(targets)), key=source.costs.__getitem__)
    loss, right, alone, shown = 0.0, 0, 0, 0
    classes = targets.dtype == torch.int64 and _head_kind(objective) == "classification"
    for start in range(0, len(order), 2 * batch_size):
        rows = order[start : start + 2 * batch_size]
        inputs = source.batch(rows).to(device)
        wanted = targets[rows].to(device)
        each, logits = objective(inputs, wanted, inputs.mask)
        loss += float(each) * len(rows)
        right += int((logits.argmax(dim=-1) == wanted).sum()) if classes else 0
        if not classes or not isinstance(inputs, Features) or inputs.mask.shape[1] < 2:
            continue
        for column in range(inputs.mask.shape[1]):
            some = inputs.mask[:, column].nonzero().flatten()
            if len(some):
                keep = torch.zeros_like(inputs.mask[some])
                keep[:, column] = True
                _, logits = objective(inputs.rows(some), wanted[some], keep)
                alone += int((logits.argmax(dim=-1) == wanted[some]).sum())
                shown += len(some)
    result = {"loss": loss / len(targets)}
    if classes:
        result["accuracy"] = right / len(targets)
    return result | {"alone": alone / shown} if shown else result


@dataclass(slots=True)
class _Run:
    """What the loop knows between two epochs."""

    history: list[dict[str, Any]]
    best: tuple[float, float, float] | None  # the metric, and the rank it had among epochs (higher is better)
    best_weights: dict[str, Tensor]
    since_best: int

    def add(self, row: dict[str, Any], model: MultimodalModel) -> None:
        """Take note of an epoch and keep its weights if they are the best (without validation: the latest)."""
        self.history.append(row)
        loss = row.get("loss", row["train_loss"])
        metric = row.get("accuracy", loss)
        rank = (row["accuracy"] + row.get("alone", row["accuracy"]), -loss) if "accuracy" in row else (-loss, 0.0)
        if "loss" not in row or self.best is None or rank > self.best[1:]:
            self.best = (metric, *rank)
            self.best_weights = {k: v.detach().cpu().clone() for k, v in _weights(model).items()}
            self.since_best = 0
        else:
            self.since_best += 1

    def state(self) -> dict[str, Any]:
        """JSON."""
        return {"history": self.history, "best": self.best, "since_best": self.since_best}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> _Run:
        """The reverse of `state`."""
        weights = {k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")}
        best = state["best"]
        return cls(list(state["history"]), None if best is None else tuple(best), weights, state["since_best"])


def _train_epoch(
    accelerator: Accelerator,
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage,
    source: Source,
    targets: Tensor,
    settings: TrainingConfig,
    context: TuningContext,
    epoch: int,
    step: str,
) -> dict[str, float]:
    # an epoch depends on seed and number alone, so that a resumed run is the run that was never stopped
    torch.manual_seed(context.seed * 1_000_003 + epoch)
    plan = batches(source.costs, settings.batch_size, context.seed * 1_000_003 + epoch)
    plan = plan[accelerator.process_index :: accelerator.num_processes]
    wall, cpu = time.perf_counter(), time.process_time()
    total = torch.zeros((), device=accelerator.device)
    objective.train()
    for i, rows in enumerate(plan):
        for group in optimizer.param_groups:
            group["lr"] = group["top"] * schedule(epoch * len(plan) + i, settings.epochs * len(plan), settings.warmup)
        inputs = hide_tokens(source.batch(rows), settings.token_dropout)
        keep = drop_modalities(inputs.mask, settings.modality_dropout)
        loss, _ = objective(
            inputs.to(accelerator.device), targets[rows].to(accelerator.device), keep.to(accelerator.device)
        )
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(_trainable(objective), LARGEST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad()
        average.step(_inner(objective).model)
        total += loss.detach() * len(rows)
        if i % 50 == 49:
            context.progress(Progress(step, epoch, settings.epochs, f"batch {i + 1} of {len(plan)}"))
    return {
        "train_loss": float(total) / max(1, sum(map(len, plan))),
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }


def _trainable(module: nn.Module) -> Iterator[nn.Parameter]:
    return (p for p in module.parameters() if p.requires_grad)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """What training changes: trainable parameters, and buffers such as the statistics of batch norm."""
    fixed = {name for name, p in model.named_parameters() if not p.requires_grad}
    return {k: v for k, v in model.state_dict().items() if k not in fixed}


def _set_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    model.load_state_dict(dict(weights), strict=False)


def _head_kind(objective: nn.Module) -> str:
    return _inner(objective).model.head.kind


def _inner(objective: nn.Module) -> Objective:
    inner = getattr(objective, "module", objective)  # what accelerate wraps for several processes
    assert isinstance(inner, Objective)
    return inner


def _identity(
    model: MultimodalModel,
    train: Source,
    targets: Tensor,
    validation: Source | None,
    settings: TrainingConfig,
    seed: int,
) -> str:
    digest = hashlib.sha256(f"{settings.model_dump_json()} {seed}".encode())
    for name, tensor in sorted(_weights(model).items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    digest.update(targets.numpy().tobytes())
    for source in (train, validation):
        digest.update(b"none" if source is None else source.digest().encode())
    return digest.hexdigest()


def _writer(context: TuningContext, step: str) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter  # seconds to import; only for who asked for it

    return SummaryWriter(str(context.workspace / "tensorboard" / step))
