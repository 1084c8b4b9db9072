"""The eager torch runtime: serves every model, on every device that torch serves. Safe to call from many threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from triptych.device import DevicePlan
from triptych.evaluation.scope import ScopeDetector
from triptych.host import Host, default_host
from triptych.models.build import load_model
from triptych.models.multimodal import Features, ModelOutput, MultimodalModel
from triptych.runtime.base import Array, Encoded, Fused
from triptych.runtime.space import Space
from triptych.types import Sample

MODEL, SCOPE = "model", "scope"  # directories in a bundle


class TorchSession(Space):
    """`model` is moved to the plan's device; `plan` and `model` stay there for training code.

    With `half`, encoders compute in the plan's precision on a GPU: faster, and the vectors differ in the third digit.
    """

    def __init__(
        self,
        model: MultimodalModel,
        scope: ScopeDetector | None,
        plan: DevicePlan,
        *,
        variant: str = "",
        home: Path = Path(),
        half: bool = False,
    ) -> None:
        super().__init__(
            variant=variant,
            home=home,
            modalities=model.modalities,
            kind=model.head.kind,
            labels=getattr(model.head, "labels", ()),
            names=getattr(model.head, "names", ()),
            scope=scope,
        )
        self.model = model.to(plan.device).eval()
        self.plan = plan
        self.half = half and plan.device.type == "cuda" and plan.dtype != torch.float32

    @classmethod
    def load(
        cls, directory: Path, host: Host, plan: DevicePlan, *, variant: str = "", half: bool = False
    ) -> TorchSession:
        """Open the model of a bundle whose hashes were checked. Raises `BundleError`."""
        scope = ScopeDetector.load(directory / SCOPE) if (directory / SCOPE).is_dir() else None
        return cls(load_model(directory / MODEL, host), scope, plan, variant=variant, home=directory, half=half)

    def encode(self, samples: Sequence[Sample]) -> Encoded:
        """The encoders' vectors. Raises `DataError` for a sample with nothing that the model can encode."""
        with torch.autocast("cuda", self.plan.dtype, enabled=self.half):
            return encoded_of(self.model.features(samples))

    @torch.inference_mode()
    def fuse(self, encoded: Encoded) -> Fused:
        """Encoders' vectors to logits, embedding and attribution."""
        output = self.model.fuse(features_of(encoded).to(self.plan.device))
        return Fused(_array(output.logits), _array(output.embedding), _array(output.weights))

    @torch.inference_mode()
    def probabilities(self, logits: Array, mask: Array) -> Array:
        """Calibrated probabilities (or values), float32 [samples, outputs]."""
        given = torch.from_numpy(logits).to(self.plan.device)
        output = ModelOutput(given, given, given)  # of an output, the logits alone count here
        return _array(self.model.probabilities(output, torch.from_numpy(mask).to(self.plan.device)))


def open_whole(directory: str) -> MultimodalModel:
    """Open a trained model, as `runtime.exported.open_whole` opens an exported one."""
    return load_model(Path(directory), default_host())


def encoded_of(features: Features) -> Encoded:
    """The same vectors for sessions; those of features on the CPU are shared, not copied."""
    return Encoded({m: _array(v) for m, v in features.vectors.items()}, features.mask.cpu().numpy())


def features_of(encoded: Encoded) -> Features:
    """The same vectors for torch, shared, not copied."""
    return Features({m: torch.from_numpy(v) for m, v in encoded.vectors.items()}, torch.from_numpy(encoded.mask))


def _array(tensor: torch.Tensor) -> Array:
    found: Array = np.asarray(tensor.detach().float().cpu())
    return found
