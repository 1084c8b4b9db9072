"""How much each modality counts, settled on validation data: a few numbers after many.

Training may lean on a modality that only looks good there (its features were computed by a network that saw the
labels, or it overfits soonest; Wang et al. 2020, "What Makes Training Multi-Modal Classification Networks Hard?").
Held-out data tells. One number for each modality is too little to overfit even a small validation split.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

from triptych.models.multimodal import Features, MultimodalModel

LARGEST = 2_000  # validation samples looked at
_STEPS = 40
_PRIOR = 2.0  # standard deviation of how far trust may move from where training left it


def fit_trust(model: MultimodalModel, features: Features, targets: Tensor, *, seed: int = 0) -> dict[str, float] | None:
    """Fit `model.fusion.trust` on validation features and targets (as the head encodes them).

    The loss is averaged over all combinations of two and more modalities, each with a temperature of its own beside,
    so that trust is not used to make up for over-confidence. Returns the change for each modality, or None where the
    fusion has no such numbers, there is no sample with two modalities, or nothing was gained.
    """
    if model.fusion is None or model.fusion.trust is None:
        return None
    if len(features) > LARGEST:
        rows = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:LARGEST]
        features, targets = features.rows(rows), targets[rows]
    features, targets = features.to(model.device), targets.to(model.device)
    cases = _cases(features)
    if not cases:
        return None
    was_training = model.training
    model.eval()
    trust = model.fusion.trust
    start = trust.detach().clone()
    warmth = torch.zeros(len(cases), device=trust.device, requires_grad=True)  # log of each case's temperature
    scaled = model.head.kind in ("classification", "multilabel")

    def loss() -> Tensor:
        total = (trust - start).square().sum() / (2 * _PRIOR**2 * len(features))
        for i, (rows, mask) in enumerate(cases):
            logits = model.fuse(Features({m: v[rows] for m, v in features.vectors.items()}, mask)).logits
            total = total + model.head.loss(logits * (-warmth[i]).exp() if scaled else logits, targets[rows]) / len(
                cases
            )
        return total

    temperatures = [warmth] if scaled else []  # the losses of other heads know no temperature
    before = _minimise(loss, temperatures)
    after = _minimise(loss, [trust, *temperatures])
    better = after < before
    if not better:
        with torch.no_grad():
            trust.copy_(start)
    model.train(was_training)
    moved = (trust.detach() - start).tolist()
    return dict(zip(model.modalities, moved, strict=True)) if better else None


def _cases(features: Features) -> list[tuple[Tensor, Tensor]]:
    """For each combination of two and more modalities: the rows that have them, and the mask that shows no other."""
    columns = range(features.mask.shape[1])
    cases = []
    for size in range(2, len(columns) + 1):
        for parts in combinations(columns, size):
            shown = torch.zeros(len(columns), dtype=torch.bool, device=features.mask.device)
            shown[list(parts)] = True
            rows = (features.mask | ~shown).all(dim=1).nonzero().flatten()
            if len(rows):
                cases.append((rows, shown.expand(len(rows), -1)))
    return cases


def _minimise(loss: Callable[[], Tensor], parameters: list[Tensor]) -> float:
    """L-BFGS over `parameters` only; whatever else has a gradient is left alone. Returns the loss reached."""
    with torch.no_grad():
        if not parameters:
            return float(loss())
    optimizer = torch.optim.LBFGS(parameters, max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        value = loss()
        for parameter, gradient in zip(parameters, torch.autograd.grad(value, parameters), strict=True):
            parameter.grad = gradient
        return value.detach()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    optimizer.zero_grad()
    with torch.no_grad():
        return float(loss())
