"""Heads: a fused vector to the answer of a task, with the loss that trains it.

A head knows its targets: `encode` turns what samples carry into a tensor, `loss` compares logits with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.errors import DataError, UnknownNameError


class Head(nn.Module, ABC):
    """[batch, dim] to logits [batch, outputs]."""

    kind: ClassVar[str]

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        self.dim = dim
        self.outputs = outputs
        self.linear = nn.Linear(dim, outputs)

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """JSON that rebuilds the head, `kind` included, `dim` excluded."""

    @abstractmethod
    def encode(self, targets: Sequence[Any]) -> Tensor:
        """Targets of samples to the tensor that `loss` takes. Raises `DataError` for one that does not fit."""

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss over a batch, a scalar."""

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated logits [batch, outputs] to what a user reads: probabilities, or values for a regression."""

    def forward(self, embedding: Tensor) -> Tensor:
        """[batch, dim] to logits [batch, outputs]."""
        logits: Tensor = self.linear(embedding)
        return logits


class LabelledHead(Head):
    """Base of heads with one output for each of a fixed list of labels."""

    def __init__(self, dim: int, labels: Sequence[str]) -> None:
        super().__init__(dim, len(labels))
        self.labels = tuple(labels)
        self._index = {label: i for i, label in enumerate(self.labels)}
        if len(self._index) < len(self.labels):
            raise ValueError(f"labels must differ from each other, got {', '.join(self.labels)}")

    @property
    def settings(self) -> dict[str, Any]:
        """The labels in the order of the logits."""
        return {"kind": self.kind, "labels": list(self.labels)}

    def index(self, label: Any) -> int:
        """The output of a label. Raises `DataError` for one that was not among the training labels."""
        try:
            return self._index[label]
        except (KeyError, TypeError) as error:
            known = ", ".join(self.labels)
            raise DataError(f"label {label!r} was not among the training labels: {known}") from error


class ClassificationHead(LabelledHead):
    """Exactly one label of several; softmax and cross-entropy."""

    kind = "classification"

    def encode(self, targets: Sequence[Any]) -> Tensor:
        """Labels to int64 [batch]."""
        return torch.tensor([self.index(label) for label in targets], dtype=torch.int64)

    def loss(self, logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of logits [batch, labels] with int64 [batch], or with probabilities [batch, labels]."""
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over the labels."""
        return logits.softmax(dim=-1)


class MultiLabelHead(LabelledHead):
    """Any number of labels; a sigmoid and binary cross-entropy for each."""

    kind = "multilabel"

    def encode(self, targets: Sequence[Any]) -> Tensor:
        """Collections of labels to float [batch, labels] of zeros and ones; a string is one label."""
        encoded = torch.zeros(len(targets), self.outputs)
        for row, labels in enumerate(targets):
            for label in (labels,) if isinstance(labels, str) else labels:
                encoded[row, self.index(label)] = 1.0
        return encoded

    def loss(self, logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Binary cross-entropy of logits with float targets, both [batch, labels]."""
        smooth = targets * (1 - label_smoothing) + 0.5 * label_smoothing
        return F.binary_cross_entropy_with_logits(logits, smooth)

    def probabilities(self, logits: Tensor) -> Tensor:
        """A probability for each label on its own."""
        return logits.sigmoid()


class RegressionHead(Head):
    """One or several numbers; trained on standardised targets, answered in the user's units."""

    kind = "regression"
    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int, names: Sequence[str]) -> None:
        super().__init__(dim, len(names))
        self.names = tuple(names)
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("scale", torch.ones(len(names)))

    @property
    def settings(self) -> dict[str, Any]:
        """The names of the numbers in the order of the outputs."""
        return {"kind": self.kind, "names": list(self.names)}

    def fit(self, targets: Tensor) -> None:
        """Take mean and scale from float [samples, outputs]."""
        self.mean.copy_(targets.mean(dim=0))
        self.scale.copy_(targets.std(dim=0, correction=0).clamp_min(1e-6))

    def encode(self, targets: Sequence[Any]) -> Tensor:
        """Numbers, or sequences of them, to float [batch, outputs]."""
        try:
            return torch.tensor(targets, dtype=torch.float32).reshape(len(targets), self.outputs)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"a target is not {self.outputs} number(s): {error}") from error

    def loss(self, logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean squared error against standardised targets (label smoothing has no meaning here)."""
        return F.mse_loss(logits, (targets - self.mean) / self.scale)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Values in the user's units."""
        return logits * self.scale + self.mean


class EmbeddingHead(Head):
    """A vector of unit length; samples with equal targets are drawn together.

    Supervised contrastive loss (Khosla et al. 2020, "Supervised Contrastive Learning", eq. 2, L_out).
    """

    kind = "embedding"

    def __init__(self, dim: int, outputs: int, contrast: float = 0.05) -> None:
        super().__init__(dim, outputs)
        self.contrast = contrast

    @property
    def settings(self) -> dict[str, Any]:
        """The size of the vector and the temperature of the contrast."""
        return {"kind": self.kind, "outputs": self.outputs, "contrast": self.contrast}

    def encode(self, targets: Sequence[Any]) -> Tensor:
        """Any hashable targets to int64 [batch]; equal targets get equal numbers within the call."""
        numbers: dict[Any, int] = {}
        return torch.tensor([numbers.setdefault(t, len(numbers)) for t in targets], dtype=torch.int64)

    def loss(self, logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Contrast within the batch of int64 targets [batch]; a sample without a partner of its target does not count.

        Float targets [batch, any size] say by their cosines how much two samples belong together: the shares that the
        others have of a sample's likeness shall be as the targets' are (as in Park et al. 2019, "Relational Knowledge
        Distillation", with cross-entropy). A sample whose target is zero does not count.
        """
        vectors = self.probabilities(logits)
        similar = vectors @ vectors.T / self.contrast
        self_pair = torch.eye(len(targets), dtype=torch.bool, device=logits.device)
        if targets.is_floating_point():
            return self._graded(similar, targets, self_pair)
        log_share = similar - similar.masked_fill(self_pair, float("-inf")).logsumexp(dim=1, keepdim=True)
        partner = (targets[:, None] == targets[None, :]) & ~self_pair
        partners = partner.sum(dim=1)
        each = -(log_share * partner).sum(dim=1) / partners.clamp_min(1)
        return each[partners > 0].mean() if bool((partners > 0).any()) else logits.sum() * 0.0

    def _graded(self, similar: Tensor, targets: Tensor, self_pair: Tensor) -> Tensor:
        """Cross-entropy of the shares with those of the targets, over the pairs whose targets are both known."""
        known = targets.norm(dim=1) > 0
        other = (known[:, None] & known[None, :] & ~self_pair)[known]
        if not bool(other.any()):
            return similar.sum() * 0.0
        wanted = F.normalize(targets, dim=1)
        likeness = (wanted @ wanted.T / self.contrast)[known].masked_fill(~other, float("-inf"))
        log_share = similar[known].masked_fill(~other, float("-inf")).log_softmax(dim=1).masked_fill(~other, 0.0)
        return -(likeness.softmax(dim=1) * log_share).sum(dim=1).mean()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Unit vectors [batch, outputs]."""
        return F.normalize(logits, dim=-1)


def build_head(dim: int, settings: dict[str, Any]) -> Head:
    """A head from its `settings`."""
    kinds = {head.kind: head for head in (ClassificationHead, MultiLabelHead, RegressionHead, EmbeddingHead)}
    options = dict(settings)
    kind = options.pop("kind")
    if kind not in kinds:
        raise UnknownNameError("head", kind, list(kinds))
    return kinds[kind](dim, **options)
