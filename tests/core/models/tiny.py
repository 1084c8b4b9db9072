"""A model of three modalities small enough to train in a second: each part is a noisy view of the label."""

from __future__ import annotations

import torch

from triptych.config import Config, PartConfig, TrainingConfig
from triptych.host import Host
from triptych.models.build import build_model, create_encoder
from triptych.models.multimodal import Features, MultimodalModel

HOST = Host(installed=False)
LABELS = ["no", "maybe", "yes"]
SIZES = {"text": 6, "image": 4, "audio": 5}


def tiny_model(
    fusion: str = "gated", parts: tuple[str, ...] = ("text", "image", "audio"), head: dict | None = None, **options
) -> MultimodalModel:
    torch.manual_seed(0)
    encoders = {m: create_encoder(HOST, m, PartConfig(use=f"features:{m}", dim=SIZES[m])) for m in parts}
    config = Config(fusion=PartConfig(use=fusion, **options), fusion_dim=16)
    return build_model(config, head or {"kind": "classification", "labels": LABELS}, HOST, encoders).eval()


def views(
    samples: int = 300, *, noise: dict[str, float] | None = None, seed: int = 0, labels: int = 3
) -> tuple[Features, torch.Tensor]:
    """Features with everything present, and int64 targets. `noise` by modality; the default leaves each too poor."""
    noise = noise or {"text": 1.2, "image": 1.6, "audio": 2.0}
    centres = {m: torch.randn(labels, d, generator=torch.Generator().manual_seed(7)) for m, d in SIZES.items()}
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(labels, (samples,), generator=generator)
    vectors = {
        m: centres[m][targets] + noise[m] * torch.randn(samples, d, generator=generator) for m, d in SIZES.items()
    }
    return Features(vectors, torch.ones(samples, 3, dtype=torch.bool)), targets


def train(model: MultimodalModel, features: Features, targets: torch.Tensor, *, steps: int = 150) -> MultimodalModel:
    """Plain full-batch training with modality dropout, enough for a tiny model."""
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=TrainingConfig().head_learning_rate * 5)
    model.train()
    for _ in range(steps):
        keep = torch.rand(features.mask.shape) > 0.3
        keep[torch.arange(len(keep)), torch.randint(features.mask.shape[1], (len(keep),))] = True
        output = model.fuse(Features(features.vectors, features.mask & keep))
        loss = model.head.loss(output.logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
