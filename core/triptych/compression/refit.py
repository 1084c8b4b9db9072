"""Recovery after quantization: what stands on the encoders learns to read their vectors as they are now.

Weights and activations in eight bits move the vectors a little, in a way that is the same for every request. Fusion
and head are small and see only vectors, so that teaching them the moved ones costs seconds and no pass through an
encoder. They learn the teacher's answers (Hinton et al. 2015), for every subset of the parts.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time

import torch
from torch import Tensor, nn

from triptych.compression.base import CompressionContext, Draft, StepLog
from triptych.compression.distil import answer_loss
from triptych.compression.quality import quality
from triptych.device import one_thread
from triptych.models.multimodal import Features, MultimodalModel
from triptych.tuning.loop import drop_modalities, schedule

BATCH = 256
STEPS = 400
LEARNING_RATE = 1e-3
HIDDEN = 0.3
LOOKS = 8
"""How often validation data is asked; the best weights are kept, those at the start among them."""


def refit(draft: Draft, train: Features, validation: Features, context: CompressionContext) -> Draft:
    """The draft with fusion and head taught on the exported encoders' vectors of training samples.

    `train` and `validation` are those vectors, in the rows of the context's samples. Nothing is changed where
    validation data shows no gain; the log says what was lost before and what was won back.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    teacher = context.teacher
    before = quality(teacher.model, teacher.validation, context.validation_targets)
    if draft.log:
        before = draft.log[-1].recovered
    model = _copy(draft.model)
    learned = [p for name, p in model.named_parameters() if not name.startswith("encoders.")]
    rank = _rank(model, validation, context)
    converted, best, weights = rank[0], rank, _weights(model)
    torch.manual_seed(context.seed)
    optimizer = torch.optim.AdamW(learned, lr=LEARNING_RATE, weight_decay=0.0)
    steps = max(LOOKS, math.ceil(STEPS * context.effort))
    with one_thread():
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * schedule(step, steps, 0.1)
            rows = torch.randint(len(train), (min(BATCH, len(train)),))
            loss = _loss(model, context, train, rows)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if (step + 1) % math.ceil(steps / LOOKS) == 0 or step + 1 == steps:
                rank = _rank(model, validation, context)
                if rank > best:
                    best, weights = rank, _weights(model)
    model.load_state_dict(weights, strict=False)
    note = f"fusion and head taught on {len(train)} quantized vectors"
    log = StepLog(
        draft.precision,
        before,
        converted,
        best[0],
        time.perf_counter() - wall,
        time.process_time() - cpu,
        (note if best[0] > converted else f"{note}, without gain",),
    )
    return dataclasses.replace(draft, model=model.eval(), log=(*draft.log, log))


def _loss(model: MultimodalModel, context: CompressionContext, train: Features, rows: Tensor) -> Tensor:
    teacher = context.teacher
    keep = drop_modalities(train.mask[rows], HIDDEN)
    output = model.fuse(Features({m: v[rows] for m, v in train.vectors.items()}, keep))
    with torch.no_grad():
        taught = teacher.train.rows(rows)
        mask = torch.zeros_like(taught.mask)
        for column, m in enumerate(model.modalities):
            mask[:, teacher.model.modalities.index(m)] = keep[:, column]
        answer = teacher.model.fuse(Features(taught.vectors, mask).to(teacher.model.device))
    return answer_loss(model.head.kind, output.logits, answer.logits.to(output.logits.device))


@torch.inference_mode()
def _rank(model: MultimodalModel, validation: Features, context: CompressionContext) -> tuple[float, float]:
    """The headline metric, and between equals the lower loss."""
    found = quality(model, validation, context.validation_targets)
    return found, -float(model.head.loss(model.fuse(validation).logits, context.validation_targets))


def _copy(model: MultimodalModel) -> MultimodalModel:
    """The same encoders under a fusion and a head of its own."""
    encoders = {id(model.encoder(m)): model.encoder(m) for m in model.modalities}
    twin: MultimodalModel = copy.deepcopy(model, encoders)  # what is known is not copied
    return twin.cpu().requires_grad_(True).eval()


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items() if not k.startswith("encoders.")}
