"""An output directory and a run that fills it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from triptych.bundle import BundleWriter, Manifest

Build = Callable[..., Path]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def build(tmp_path: Path, output: Path) -> Build:
    def build(content: str = "weights") -> Path:
        with BundleWriter(output, tmp_path / "work") as writer:
            (writer.path / "model").mkdir()
            (writer.path / "model" / "model.safetensors").write_text(content)
            (writer.path / "report.md").write_text("# Report")
            return writer.commit(Manifest(vertical="florist", metrics={"accuracy": 0.5}))

    return build
