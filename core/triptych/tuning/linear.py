"""A head on fixed vectors, trained to convergence: convex, so there is nothing to tune but the regularisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from triptych.models.heads import Head, RegressionHead

STRENGTHS = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
"""Weights of the squared norm beside the mean loss, tried from strong to weak on standardised vectors."""
DEFAULT_STRENGTH = 2e-3
"""Without validation data."""
STEPS = 100


def fit_linear(head: Head, vectors: Tensor, targets: Tensor, strength: float, *, steps: int = STEPS) -> None:
    """Minimise loss + `strength` |W|^2 / 2 by L-BFGS from where the head stands; the bias is free.

    `vectors` is float32 [samples, dim]. They are standardised inside, with one scale for all dimensions, and the
    result is folded back, so that `strength` means the same for every encoder.
    """
    if isinstance(head, RegressionHead):
        head.fit(targets)
    mean = vectors.mean(dim=0)
    scale = (vectors - mean).square().mean().sqrt().clamp_min(1e-8)
    inputs = (vectors - mean) / scale
    weight = (head.linear.weight.detach() * scale).clone().requires_grad_(True)
    bias = (head.linear.bias.detach() + head.linear.weight.detach() @ mean).clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=steps, history_size=10, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = head.loss(inputs @ weight.T + bias, targets) + 0.5 * strength * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.linear.weight.copy_(weight / scale)
        head.linear.bias.copy_(bias - (weight / scale) @ mean)


def choose_linear(
    head: Head,
    vectors: Tensor,
    targets: Tensor,
    validation: Tensor,
    validation_targets: Tensor,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[float, list[dict[str, Any]]]:
    """`fit_linear` with the strength that does best on validation; returns it with a row for each one tried.

    Each strength starts from the solution of the one before. Best is the highest accuracy for a classification,
    with the loss between equals, and the lowest loss otherwise.
    """
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.zero_()
    tried: list[dict[str, Any]] = []
    best: tuple[float, float] | None = None
    chosen, kept = strengths[0], dict[str, Tensor]()
    for strength in strengths:
        fit_linear(head, vectors, targets, strength)
        with torch.no_grad():
            logits = head(validation)
            loss = float(head.loss(logits, validation_targets))
        row: dict[str, Any] = {"strength": strength, "loss": loss}
        rank = (-loss, 0.0)
        if head.kind == "classification":
            row["accuracy"] = float((logits.argmax(dim=-1) == validation_targets).float().mean())
            rank = (row["accuracy"], -loss)
        tried.append(row)
        if best is None or rank > best:
            best, chosen = rank, strength
            kept = {k: v.clone() for k, v in head.state_dict().items()}
    head.load_state_dict(kept)
    return chosen, tried
