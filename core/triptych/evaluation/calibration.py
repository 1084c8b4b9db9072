"""Honest confidence: one temperature for each pattern of present modalities (Guo et al. 2017).

A model that hears and sees less should be less sure of itself. Softmax alone does not know that; a temperature
fitted on validation samples with parts taken away does. The most probable answer never changes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from triptych.models.multimodal import Features, MultimodalModel

LOWEST, HIGHEST = 0.02, 50.0  # bounds of a temperature; what lies outside is a sign of too little data
_STEPS = 50  # halvings of the bracket, in log space
_COMPLETE = 20  # samples with every modality, below which their confidence says little
_BELOW = 0.99  # of the confidence with one part more: the most that a part less may have


@torch.inference_mode()
def fit_temperatures(
    model: MultimodalModel, features: Features, targets: Tensor, *, minimum_rows: int = 50
) -> dict[str, Any]:
    """Set `model.temperatures` from validation features and targets (as the head encodes them).

    A pattern is fitted on every sample that has at least its parts, with the others masked; one with fewer than
    `minimum_rows` takes the temperature fitted on all patterns together. Returns `temperatures` and `rows` by
    pattern ("text+audio"), the `pooled` temperature and the patterns that use it. Raises `ValueError` for a head
    without probabilities or for no samples.
    """
    if model.head.kind not in ("classification", "multilabel"):
        raise ValueError(f"a {model.head.kind} head has no probabilities to calibrate")
    if len(features) == 0:
        raise ValueError("there is nothing to calibrate on: no samples")
    features, targets = features.to(model.device), targets.to(model.device)
    columns = range(len(model.modalities))
    logits: dict[int, Tensor] = {}
    wanted: dict[int, Tensor] = {}
    for pattern in range(1, 2 ** len(model.modalities)):
        parts = [model.modalities[i] for i in columns if pattern >> i & 1]
        needed = torch.tensor([bool(pattern >> i & 1) for i in columns], device=model.device)
        rows = (features.mask | ~needed).all(dim=1)
        logits[pattern] = model.fuse(features.rows(rows).only(parts)).logits.double()
        wanted[pattern] = targets[rows]
    pooled = fit_temperature(torch.cat(list(logits.values())), torch.cat(list(wanted.values())))
    report: dict[str, Any] = {"temperatures": {}, "rows": {}, "pooled": pooled, "from_pooled": []}
    model.temperatures.fill_(pooled)
    for pattern, of_pattern in logits.items():
        name = "+".join(model.modalities[i] for i in columns if pattern >> i & 1)
        if len(of_pattern) < minimum_rows:
            report["from_pooled"].append(name)
        else:
            model.temperatures[pattern] = fit_temperature(of_pattern, wanted[pattern])
        report["rows"][name] = len(of_pattern)
    if model.head.kind == "classification":
        _raise_above_supersets(model, features)
    for pattern in logits:
        name = "+".join(model.modalities[i] for i in columns if pattern >> i & 1)
        report["temperatures"][name] = float(model.temperatures[pattern])
    return report


def _raise_above_supersets(model: MultimodalModel, features: Features) -> None:
    """Where fewer parts are surer than the same samples with one part more, raise the temperature until they are not.

    Patterns are fitted on different samples, for few have every part, and that alone can turn their order around.
    Compared on the samples that are complete; with fewer than `_COMPLETE` of them nothing is changed.
    """
    complete = features.mask.all(dim=1)
    if int(complete.sum()) < _COMPLETE:
        return
    features, parts = features.rows(complete), len(model.modalities)
    confidence: dict[int, float] = {}
    for pattern in sorted(range(1, 2**parts), key=int.bit_count, reverse=True):
        some = features.only([m for i, m in enumerate(model.modalities) if pattern >> i & 1])
        logits = model.fuse(some).logits.double()

        def sure(temperature: float, logits: Tensor = logits) -> float:
            return float((logits / temperature).softmax(dim=1).max(dim=1).values.mean())

        temperature = float(model.temperatures[pattern])
        above = [confidence[pattern | 1 << i] for i in range(parts) if not pattern >> i & 1]
        if above and sure(temperature) > _BELOW * min(above):
            low, high = temperature, HIGHEST
            for _ in range(_STEPS):
                middle = (low * high) ** 0.5
                low, high = (middle, high) if sure(middle) > _BELOW * min(above) else (low, middle)
            temperature = high
            model.temperatures[pattern] = temperature
        confidence[pattern] = sure(temperature)


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The temperature with the least negative log-likelihood of `targets` given logits [samples, labels].

    Targets are int64 [samples] (softmax) or zeros and ones [samples, labels] (sigmoids). They are softened by one
    sample's worth of doubt, as Platt (1999) does, so that a handful of right answers does not become certainty.
    The loss is convex in 1 / temperature: its slope there is monotone, and halving finds the zero without fail.
    """
    logits = logits.double()
    doubt = 1 / (len(logits) + 2)
    if targets.dim() == 1:
        labels = logits.shape[1]
        aim = torch.full_like(logits, doubt / max(labels - 1, 1))
        aim.scatter_(1, targets.unsqueeze(1), 1 - doubt)
    else:
        aim = targets.double() * (1 - 2 * doubt) + doubt

    def slope(sharpness: float) -> float:
        scaled = logits * sharpness
        given = scaled.softmax(dim=1) if targets.dim() == 1 else scaled.sigmoid()
        return float(((given - aim) * logits).sum())

    low, high = torch.tensor([1 / HIGHEST, 1 / LOWEST], dtype=torch.float64).log().tolist()
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(float(torch.tensor(middle).exp())) < 0 else (low, middle)
    return 1 / float(torch.tensor((low + high) / 2).exp())
