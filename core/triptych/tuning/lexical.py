"""A linear model on n-grams beside a tuned text encoder: a few CPU-seconds for a point or more of accuracy.

The two are trained apart and their logits added. Trained together, the n-grams would explain the training texts alone
and leave the encoder nothing to learn.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from triptych.encoders.hashing import hashed_grams, rarities
from triptych.encoders.lexical import BUCKETS, LexicalTable
from triptych.encoders.transformer import TransformerTextEncoder
from triptych.models.heads import build_head
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningReport
from triptych.types import Sample

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""What the lexical scores are multiplied by before they are added to the logits; tried on validation data."""
SHARPNESS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""What logits are multiplied by when shares are compared by their loss: how sure they are is calibrated afterwards."""
DEFAULT_SHARE = 2.0
"""Without validation data."""
LENGTH = 0.5
"""Root mean square length of the lexical part of a vector, of which the dense part has about one."""


def wants_lexical(model: MultimodalModel) -> bool:
    """Whether the model is a text classifier whose encoder was created with `lexical`."""
    if model.modalities != ("text",) or model.head.kind != "classification":
        return False
    encoder = model.encoder("text")
    return isinstance(encoder, TransformerTextEncoder) and encoder.wants_lexical


def remove_lexical(model: MultimodalModel) -> None:
    """Take an earlier table away, with the columns of the head that read it."""
    if not wants_lexical(model):
        return
    encoder = model.encoder("text")
    assert isinstance(encoder, TransformerTextEncoder)
    if encoder.lexical is None:
        return
    encoder.set_lexical(None)
    _replace_head(model, model.head.linear.weight[:, : encoder.dim], model.head.linear.bias)


def add_lexical(
    model: MultimodalModel,
    train: Sequence[Sample],
    validation: Sequence[Sample],
    report: TuningReport,
    share: float | None,
) -> TuningReport:
    """Put a table learnt on `train` beside a tuned encoder that wants one; the report with what that did and cost.

    Its share, unless given, is the one with the lowest loss on `validation` among those whose accuracy is within a
    standard error of the best (Breiman et al. 1984): a few hundred samples do not tell more by their accuracy.
    """
    if not wants_lexical(model):
        return report
    wall, cpu = time.perf_counter(), time.process_time()
    share, best = _add(model, train, validation, share)
    note = f"n-grams beside the encoder, added to its logits {share:g} times" if share else "n-grams gave no gain"
    return dataclasses.replace(
        report,
        seconds=report.seconds + time.perf_counter() - wall,
        cpu_seconds=report.cpu_seconds + time.process_time() - cpu,
        best=report.best if best is None else best,
        notes=[*report.notes, note],
        choices={**report.choices, "share": share},
    )


def _add(
    model: MultimodalModel, train: Sequence[Sample], validation: Sequence[Sample], share: float | None
) -> tuple[float, float | None]:
    """The share and the accuracy that it gave on validation."""
    encoder = model.encoder("text")
    assert isinstance(encoder, TransformerTextEncoder)
    table = _learn([s.text for s in train], model.head.encode([s.target for s in train]), model.head.outputs)
    best = None
    if share is None:
        share, best = _choose(model, table, validation) if validation else (DEFAULT_SHARE, None)
    if share == 0:
        return share, best
    scores = _scores(table, [s.text for s in train])
    mean = scores.mean(dim=0)
    scale = LENGTH / (scores - mean).square().sum(dim=1).mean().sqrt().clamp_min(1e-6)
    with torch.no_grad():
        # centred and scaled, so that the lexical part does not rule over distances between vectors
        table.table.mul_(scale)
        table.bias.copy_((table.bias - mean) * scale)
        columns = torch.eye(table.outputs) * (share / scale)
        weight = torch.cat([model.head.linear.weight, columns], dim=1)
        bias = model.head.linear.bias + share * mean
    encoder.set_lexical(table)
    _replace_head(model, weight, bias)
    return share, best


def _replace_head(model: MultimodalModel, weight: Tensor, bias: Tensor) -> None:
    head = build_head(weight.shape[1], model.head.settings)
    with torch.no_grad():
        head.linear.weight.copy_(weight)
        head.linear.bias.copy_(bias)
    model.head = head.eval()


def _learn(texts: Sequence[str], targets: Tensor, outputs: int) -> LexicalTable:
    """One-against-rest linear support vectors on TF-IDF of hashed n-grams."""
    from scipy.sparse import csr_matrix
    from sklearn.svm import LinearSVC  # a second of imports

    table = LexicalTable(outputs)
    table.rarity.copy_(torch.from_numpy(rarities(texts, BUCKETS)))
    grams = [hashed_grams(text, BUCKETS) for text in texts]
    indices = np.concatenate([found for found, _ in grams])
    weights = [counts * table.rarity.numpy()[found] for found, counts in grams]
    values = np.concatenate([w / np.linalg.norm(w) for w in weights])
    starts = np.cumsum([0, *(len(w) for w in weights)])
    rows = csr_matrix((values.astype(np.float64), indices, starts), shape=(len(texts), BUCKETS))
    machine = LinearSVC(C=1.0, random_state=0).fit(rows, targets.numpy())
    known = torch.from_numpy(machine.classes_).long()
    weight, bias = torch.from_numpy(machine.coef_).float(), torch.from_numpy(machine.intercept_).float()
    if len(known) == 2:  # one plane tells two labels apart
        weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
    table.table[:, known] = weight.T
    table.bias.fill_(-1.0)  # a label without examples
    table.bias[known] = bias
    return table


@torch.inference_mode()
def _scores(table: LexicalTable, texts: Sequence[str]) -> Tensor:
    """[texts, outputs]."""
    return torch.cat([table(table.prepare(texts[i : i + 256])) for i in range(0, len(texts), 256)])


@torch.inference_mode()
def _choose(model: MultimodalModel, table: LexicalTable, validation: Sequence[Sample]) -> tuple[float, float]:
    """The share and its accuracy."""
    logits = model.fuse(model.features(validation)).logits
    scores = _scores(table, [s.text for s in validation])
    targets = model.head.encode([s.target for s in validation])

    def quality(share: float) -> tuple[float, float]:
        blended = logits + share * scores
        right = float((blended.argmax(dim=1) == targets).float().mean())
        return right, min(float(model.head.loss(sharpness * blended, targets)) for sharpness in SHARPNESS)

    found = {share: quality(share) for share in SHARES}
    most = max(right for right, _ in found.values())
    doubt = math.sqrt(most * (1 - most) / len(validation))
    share = min((s for s in SHARES if found[s][0] >= most - doubt), key=lambda s: found[s][1])
    return share, found[share][0]
