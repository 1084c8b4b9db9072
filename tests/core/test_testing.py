"""The kit for plugin authors: the core's own parts pass it, and broken ones are caught."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.fusion.mean import Mean
from triptych.host import Host
from triptych.testing import check_encoder, check_fusion, check_vertical
from triptych.types import Waveform

HOST = Host(installed=False)


def values_of(name: str) -> list[object]:
    generator = np.random.default_rng(0)
    if name.startswith("features:"):
        return [generator.normal(size=7).astype(np.float32) for _ in range(4)]
    if name.endswith(":text"):
        return ["where is my parcel", "a refund, please", "订单在哪里", "x"]
    if name.endswith(":image"):
        return [generator.integers(0, 255, (40 + 9 * i, 50, 3), dtype=np.uint8) for i in range(4)]
    return [Waveform(generator.normal(0, 0.1, 8000 * (i + 1)).astype(np.float32), 16_000) for i in range(4)]


@pytest.mark.parametrize("name", [p.name for p in HOST.parts("encoder") if ":" in p.name])
def test_encoders_that_need_no_weights_keep_their_promises(name, tmp_path):
    torch.manual_seed(0)
    cls, model = HOST.load_family("encoder", name)
    check_encoder(cls.create(model), values_of(name), tmp_path)


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("name", [p.name for p in HOST.parts("fusion")])
def test_fusions_keep_their_promises(name, modalities):
    torch.manual_seed(0)
    check_fusion(HOST.load_part("fusion", name)(modalities, 16))


@pytest.mark.parametrize("name", [v.name for v in Host().verticals()])
def test_verticals_keep_their_promises(name, tmp_path):
    check_vertical(Host().vertical(name), tmp_path)


class Leaky(Mean):
    """Counts absent modalities in."""

    def forward(self, vectors, mask):
        _, weights = super().forward(vectors, mask)
        return vectors.mean(dim=1), weights


class Unfair(Mean):
    """Weights that are no distribution."""

    def forward(self, vectors, mask):
        fused, weights = super().forward(vectors, mask)
        return fused, 2 * weights


@pytest.mark.parametrize(("cls", "promise"), [(Leaky, "leaks"), (Unfair, "sum to one")])
def test_a_broken_fusion_is_caught(cls, promise):
    with pytest.raises(AssertionError, match=promise):
        check_fusion(cls(2, 8))


def test_an_encoder_that_looks_at_its_neighbours_is_caught(tmp_path):
    cls, model = HOST.load_family("encoder", "compact:text")

    class Sociable(cls):
        def forward(self, batch):
            vectors = super().forward(batch)
            return vectors - vectors.mean(dim=0)

    with pytest.raises(AssertionError, match="depend on"):
        check_encoder(Sociable.create(model), values_of("compact:text"), tmp_path)
