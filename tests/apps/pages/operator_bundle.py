"""A bundle of the desk in two versions, each with a whole ledger, for the page of the operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.apps.server.conftest import CASCADE
from tests.core.runtime.bundles import write_exported, write_space
from triptych.bundle import BundleWriter, Manifest
from triptych.runtime.open import variant_path

_ROWS = {  # quality, cost of a million, p50, MB
    "large": (0.93, 40.0, 21.0, 92.0),
    "large+int8": (0.925, 14.0, 9.0, 24.0),
    "small>large": (0.928, 10.0, 6.0, 116.0),
    "small": (0.90, 1.0, 1.4, 3.0),
    "tiny": (0.80, 0.9, 1.3, 1.0),
}
REFUSED = "breaks its contract: the calibration error grows from 0.02 to 0.19"
RIVAL = "tf-idf + logistic regression"


def write_versions(output: Path, workspace: Path) -> list[str]:
    """Two versions of a bundle that answers with a cascade; their ids, the older one first."""
    return [_write(output, workspace / str(number), note) for number, note in enumerate(("the first", "the second"))]


def _write(output: Path, workspace: Path, note: str) -> str:
    with BundleWriter(output, workspace) as writer:
        for name, sharpness in (("small", 8.0), ("large", 40.0)):
            write_exported(variant_path(writer.path, name), variant=name, sharpness=sharpness)
            write_space(variant_path(writer.path, name))
        variant_path(writer.path, "small>large").mkdir()
        (variant_path(writer.path, "small>large") / "cascade.json").write_text(json.dumps(CASCADE))
        return writer.commit(Manifest(vertical="desk", config={"vertical": {}}, ledger=_ledger(note))).name


def _ledger(note: str) -> dict[str, Any]:
    return {
        "chosen": "small>large",
        "why": "small>large is chosen: 10 EUR per million requests, 4 times less than large.",
        "verdict": "Worth it: accuracy gains +0.06 [+0.03, +0.09].",
        "worth_it": True,
        "parent": "large",
        "front": ["large", "small>large", "small", "tiny"],
        "refused": {"tiny": REFUSED},
        "variants": [_row(name, *values) for name, values in _ROWS.items()],
        "rival": _row(RIVAL, 0.868, 0.1, 0.6, 1.2),
        "notes": [note],
    }


def _row(name: str, quality: float, cost: float, p50: float, size: float) -> dict[str, Any]:
    return {
        "name": name,
        "quality": {"metric": "accuracy", "value": quality, "low": quality - 0.02, "high": quality + 0.02},
        "cost_per_million": cost,
        "currency": "EUR",
        "p50_ms": p50,
        "p95_ms": 1.6 * p50,
        "p99_ms": 2 * p50,
        "throughput_per_s": 1000 / p50,
        "size_mb": size,
        "resident_mb": 90 + 2 * size,
        "device": "cpu",
    }
