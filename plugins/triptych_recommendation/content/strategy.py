"""Fine-tuning of the item encoder on behaviour: content vectors that agree with who chose what.

The encoders stay as they are; on their fused vectors a linear head is solved in closed form. Its vector has two parts:

    factors   what ridge regression makes of the item's factors of behaviour (`training.factors`)
    content   the main components of the fused vector itself, at twice the length

so that items which behave alike lie together, and items of which behaviour says little are still told apart by what
they are. The projections before the fusion keep their first, random weights: features as in Rahimi and Recht 2007,
"Random Features for Large-Scale Kernel Machines".

This is regression on the factors of co-consumption and no contrastive training, because that did worse: with the same
encoders, each of two contrastive losses found far fewer of the validation's cold items, both through core's training
loop (`benchmarks/results/recommendation_cold.md`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from triptych.config import TrainingConfig
from triptych.errors import ConfigError, DataError
from triptych.models.heads import EmbeddingHead
from triptych.models.multimodal import Features, MultimodalModel
from triptych.tuning.base import Progress, Strategy, TuningContext, TuningReport
from triptych.tuning.cache import FeatureCache
from triptych.tuning.lexical import remove_lexical
from triptych.tuning.scratch import train_from_scratch
from triptych.types import Sample
from triptych_recommendation.content.training import BEHAVIOUR

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Of the regularisation, in mean variances of a feature."""
DEFAULT_STRENGTH = 10.0
TRUST = (0.0, 1.75, 3.5)
"""By how much one modality may count more than another: differences of what goes into the fusion's softmax."""
CONTENT = 2.0
"""The mean length of the part that is content, beside that of the factors as they are learnt."""


class CoConsumption(Strategy):
    """Needs samples with the metadata "behaviour", as `training.write_table` writes them, and a task "embedding".

    The regularisation, and how much each modality counts where the fusion has a number for that (gated, late), are
    chosen on validation samples by the share of the factors' variance that is explained; then the head is solved on
    training and validation samples together.
    """

    name = "co-consumption"

    def tune(
        self,
        model: MultimodalModel,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        settings: TrainingConfig,
        context: TuningContext,
    ) -> TuningReport:
        """See the base. Raises `ConfigError` for another head, `DataError` for samples without behaviour."""
        wall, cpu = time.perf_counter(), time.process_time()
        head = model.head
        if not isinstance(head, EmbeddingHead):
            raise ConfigError("training.strategy = 'co-consumption' needs a task 'embedding'; take 'frozen' or 'full'")
        targets = behaviour_of([*train, *validation], head.outputs // 2)
        remove_lexical(model)
        notes = train_from_scratch(model, train, validation, settings, context)
        model.requires_grad_(False)
        cache = FeatureCache(context.workspace / "features", progress=_teller(context, "features"))
        features = cache.features(model.to(context.plan.device), [*train, *validation])
        model.to("cpu").eval()
        history: list[dict[str, Any]] = []
        if len(validation) > 1:
            history = _try_all(model, features, targets, len(train))
            best = max(history, key=lambda row: row["explained"])
            notes.append(f"{_shown(model, best)}, chosen on validation data: {best['explained']:.1%} explained")
        else:
            best = {"trust": _trusts(model)[0], "strength": DEFAULT_STRENGTH, "explained": 0.0}
        _trust(model, best["trust"])
        head_weights(head, _embeddings(model, features), targets, best["strength"])
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        speed = len(features) / seconds
        return TuningReport(self.name, 1, seconds, cpu_seconds, speed, history, best["explained"], notes)


def behaviour_of(samples: Sequence[Sample], most: int) -> Tensor:
    """Float32 [samples, factors], `most` of them. Raises `DataError` for a sample without, or with another number."""
    found = [sample.metadata.get(BEHAVIOUR) for sample in samples]
    size = len(found[0]) if found and isinstance(found[0], list) else 0
    for sample, values in zip(samples, found, strict=True):
        if not isinstance(values, list) or len(values) != size:
            raise DataError(
                f"sample {sample.id!r} has no column {BEHAVIOUR!r} of {size or 'any'} numbers, which 'co-consumption' "
                "learns; write the table with triptych_recommendation.content.training.write_table"
            )
    return torch.tensor(found, dtype=torch.float32).reshape(len(samples), size)[:, :most]


@dataclass(frozen=True, slots=True)
class Ridge:
    """The spectrum of centred features: solves for any strength at once."""

    mean: Tensor  # [dim]
    values: Tensor  # [dim], ascending
    vectors: Tensor  # [dim, dim], columns

    @classmethod
    def of(cls, features: Tensor) -> Ridge:
        """Of float [samples, dim]."""
        mean = features.mean(dim=0)
        centred = features - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        return cls(mean, values.clamp_min(0), vectors)

    def solve(self, features: Tensor, targets: Tensor, strength: float) -> Tensor:
        """Weights [dim, targets] for the features it was made of and centred targets [samples, targets]."""
        products = self.vectors.T @ ((features - self.mean).T @ targets)
        weights: Tensor = self.vectors @ (products / (self.values + strength * self.values.mean() + 1e-9)[:, None])
        return weights


def head_weights(head: EmbeddingHead, features: Tensor, behaviour: Tensor, strength: float) -> None:
    """Solve the head for float32 [samples, dim] and [samples, factors]; see the module for its two parts."""
    ridge = Ridge.of(features)
    learnt = ridge.solve(features, behaviour - behaviour.mean(dim=0), strength)
    main = ridge.vectors.flip(1)[:, : head.outputs - learnt.shape[1]]
    lengths = [((features - ridge.mean) @ part).norm(dim=1).mean().clamp_min(1e-9) for part in (learnt, main)]
    parts = torch.cat([learnt, main * (CONTENT * lengths[0] / lengths[1])], dim=1)
    with torch.no_grad():
        head.linear.weight.zero_()  # fewer features than outputs leave the last outputs without a part
        head.linear.weight[: parts.shape[1]] = parts.T
        head.linear.bias.copy_(-head.linear.weight @ ridge.mean)


def _try_all(model: MultimodalModel, features: Features, targets: Tensor, train: int) -> list[dict[str, Any]]:
    """What each setting, learnt from the first `train` samples, explains of the variance of the others."""
    centre = targets[:train].mean(dim=0)
    wanted = targets[train:] - centre
    total = wanted.square().sum().clamp_min(1e-9)
    tried = []
    for trust in _trusts(model):
        _trust(model, trust)
        embedded = _embeddings(model, features)
        ridge = Ridge.of(embedded[:train])
        for strength in STRENGTHS:
            weights = ridge.solve(embedded[:train], targets[:train] - centre, strength)
            missed = (wanted - (embedded[train:] - ridge.mean) @ weights).square().sum()
            tried.append({"trust": trust, "strength": strength, "explained": 1 - float(missed / total)})
    return tried


def _trusts(model: MultimodalModel) -> list[list[float]]:
    """What may stand in the fusion's `trust`; one entry that changes nothing where there is no such number."""
    if model.fusion is None or model.fusion.trust is None:
        return [[]]
    return [list(t) for t in itertools.product(TRUST, repeat=len(model.modalities)) if min(t) == 0.0]


def _trust(model: MultimodalModel, trust: Sequence[float]) -> None:
    if trust and model.fusion is not None and model.fusion.trust is not None:
        with torch.no_grad():
            model.fusion.trust.copy_(torch.tensor(trust))


def _embeddings(model: MultimodalModel, features: Features) -> Tensor:
    with torch.no_grad():
        return model.fuse(features).embedding


def _shown(model: MultimodalModel, best: dict[str, Any]) -> str:
    words = f"regularisation {best['strength']:g}"
    if not best["trust"]:
        return words
    shares = torch.tensor(best["trust"]).softmax(dim=0).tolist()
    parts = ", ".join(f"{m} {share:.0%}" for m, share in zip(model.modalities, shares, strict=True))
    return f"{words}, weights {parts}"


def _teller(context: TuningContext, step: str) -> Any:
    return lambda done, total: context.progress(Progress(step, done, total))
