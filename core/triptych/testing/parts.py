"""Checks for encoders and fusions."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triptych.encoders.base import Encoder
from triptych.errors import DataError
from triptych.fusion.base import Fusion
from triptych.types import MODALITIES

CLOSE = 1e-4
"""How far two ways of computing the same vector may be apart: padding and batch size change the last digits."""


def check_encoder(encoder: Encoder, values: Sequence[Any], directory: Path, *, garbage: Sequence[Any] = ()) -> None:
    """The promises of `Encoder`, on three or more different values; `directory` is an empty one to write into.

    Vectors do not depend on order or batch, settings and assets rebuild the encoder without a network, the
    fingerprint follows the weights, training reaches the parameters, and each value of `garbage` is a `DataError`.
    """
    assert len(values) >= 3, "give three or more values"
    assert encoder.modality in MODALITIES, f"modality is {encoder.modality!r}, not one of {MODALITIES}"
    encoder.fit(values)
    batch = encoder.prepare(values)
    for key, tensor in batch.items():
        assert isinstance(tensor, Tensor), f"prepare gives {type(tensor).__name__} under {key!r}, not a tensor"
        assert len(tensor) == len(values), f"{key!r} has {len(tensor)} rows for {len(values)} values"
        assert tensor.device.type == "cpu", f"prepare puts {key!r} on {tensor.device}; the caller moves it"
    assert len(encoder.costs(values)) == len(values), "costs must give a number for each value"
    vectors = encoder.encode(values)
    assert vectors.shape == (len(values), encoder.dim), f"{list(vectors.shape)} instead of {[len(values), encoder.dim]}"
    assert bool(torch.isfinite(vectors).all()), "a vector holds NaN or infinity"
    assert encoder.encode([]).shape == (0, encoder.dim), "no values must give no vectors"
    backwards = encoder.encode(list(reversed(values))).flip(0)
    assert _close(vectors, backwards), "vectors depend on the order of the values"
    assert _close(vectors, encoder.encode(values, batch_size=1)), "vectors depend on the batch they are computed in"
    for value in garbage:
        try:
            encoder.prepare([value])
        except DataError:
            continue
        raise AssertionError(f"{value!r:.80} is prepared as if it were {encoder.modality}, without a DataError")
    with no_network():
        _check_restoring(encoder, values, vectors, directory)
    _check_training(encoder, values)


def check_fusion(fusion: Fusion) -> None:
    """The promises of `Fusion`.

    Absent parts leave no trace, weights are a distribution over what is present, rows do not touch each other, and a
    gradient reaches every modality that is present.
    """
    fusion.eval()
    generator = torch.Generator().manual_seed(0)
    rows = 2**fusion.modalities  # every pattern of presence, the empty one included
    mask = torch.tensor([[bool(row >> m & 1) for m in range(fusion.modalities)] for row in range(rows)])
    vectors = torch.randn(rows, fusion.modalities, fusion.dim, generator=generator)
    fused, weights = fusion(vectors, mask)
    assert fused.shape == (rows, fusion.dim), f"the output is {list(fused.shape)} instead of {[rows, fusion.dim]}"
    assert weights.shape == mask.shape, f"the weights are {list(weights.shape)} instead of {list(mask.shape)}"
    assert bool(torch.isfinite(fused).all()), "a row without any modality must give finite numbers"
    assert bool((weights >= 0).all()), "a weight is negative"
    assert bool((weights[~mask] == 0).all()), "a modality that is absent has a weight"
    assert _close(weights.sum(dim=1), mask.any(dim=1).float()), "the weights of a row do not sum to one"
    elsewhere = torch.where(mask.unsqueeze(-1), vectors, torch.full_like(vectors, 1e3))
    assert _close(fused, fusion(elsewhere, mask)[0]), "what stands in the place of an absent modality leaks"
    alone = torch.cat([fusion(vectors[row : row + 1], mask[row : row + 1])[0] for row in range(rows)])
    assert _close(fused, alone), "a row depends on the other rows of its batch"
    learning = vectors.clone().requires_grad_(True)
    fusion(learning, mask)[0].square().sum().backward()
    assert learning.grad is not None, "no gradient reaches the vectors"
    reached = learning.grad.abs().sum(dim=2) > 0
    assert bool((reached == mask).all()), "a gradient must reach every modality that is present, and no other"
    fusion.zero_grad()
    assert json.loads(json.dumps(fusion.options)) == fusion.options, "options must be JSON"
    again = type(fusion)(fusion.modalities, fusion.dim, **fusion.options).eval()
    again.load_state_dict(fusion.state_dict())
    assert _close(fused, again(vectors, mask)[0]), "`options` do not rebuild the same fusion"


@contextmanager
def no_network() -> Iterator[None]:
    """Within the block every connection to another process is an `AssertionError`."""

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"this must work without a network, and it wants to connect to {address}")

    original = socket.socket.connect
    socket.socket.connect = refuse  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        socket.socket.connect = original  # type: ignore[method-assign]


def _check_training(encoder: Encoder, values: Sequence[Any]) -> None:
    trained = [p for p in encoder.parameters() if p.requires_grad]
    if not trained:
        return
    encoder.train()
    output = encoder(encoder.prepare(values))
    assert output.shape == (len(values), encoder.dim), f"in training the output is {list(output.shape)}"
    output.float().square().sum().backward()
    assert any(p.grad is not None for p in trained), "no gradient reaches the parameters"
    encoder.zero_grad()
    encoder.eval()


def _check_restoring(encoder: Encoder, values: Sequence[Any], vectors: Tensor, directory: Path) -> None:
    settings = json.loads(json.dumps(encoder.settings))
    assert settings == encoder.settings, "settings must be JSON"
    encoder.save_assets(directory)
    restored = type(encoder).restore(settings, directory)
    restored.load_state_dict(encoder.state_dict())
    assert restored.dim == encoder.dim, f"restore gives {restored.dim} dimensions instead of {encoder.dim}"
    assert _close(vectors, restored.encode(values)), "settings and assets do not rebuild the same encoder"
    assert restored.fingerprint == encoder.fingerprint, "equal encoders have different fingerprints"
    if _shift(restored):
        assert restored.fingerprint != encoder.fingerprint, "the fingerprint does not follow the weights"


def _shift(module: nn.Module) -> bool:
    """Change one weight; False where there is none."""
    parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
    if parameter is None:
        return False
    with torch.no_grad():
        parameter.add_(1.0)
    return True


def _close(one: Tensor, other: Tensor) -> bool:
    return bool(torch.allclose(one, other, atol=CLOSE, rtol=CLOSE))
