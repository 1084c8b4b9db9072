"""An exported classifier answers the same in a script that knows neither Triptych nor torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.core.compression.students import teacher_model
from tests.core.tuning.conftest import make_samples
from triptych.compression.base import Draft, Precision
from triptych.compression.export import export_model

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "serve_exported.py"
ALLOWED = ("numpy", "onnxruntime", "tokenizers", "safetensors")
FORBIDDEN = ("triptych", "triptych_apps", "torch", "transformers", "onnx", "sentence_transformers")
ISOLATED = f"""
import runpy, sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FORBIDDEN!r}:
            raise ImportError(name + " must not be needed")

sys.meta_path.insert(0, Refusal())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TEXTS = [sample.text for sample in make_samples(120, seed=9)]


def script(directory: Path, *texts: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", ISOLATED, str(SCRIPT), str(directory), *texts]
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=False)


def answers(directory: Path) -> tuple[list[str], np.ndarray]:
    """Labels, and logits [texts, labels], of all texts."""
    done = script(directory, lines="\n".join(TEXTS) + "\n")
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [label for label, _ in rows], np.array([json.loads(logits) for _, logits in rows])


@pytest.fixture(scope="module")
def expected() -> tuple[list[str], np.ndarray]:
    """What the trained model makes of the texts in torch."""
    model = teacher_model()
    with torch.inference_mode():
        logits = model.fuse(model.features(make_samples(120, seed=9))).logits
    return [model.head.labels[i] for i in logits.argmax(dim=1).tolist()], logits.numpy()


def exported(tmp_path: Path, precision: Precision) -> Path:
    directory = tmp_path / precision
    export_model(Draft(teacher_model(), precision), directory, variant=precision, calibration=make_samples(64, seed=1))
    return directory


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_logits_are_those_of_torch(precision, tmp_path, expected):
    labels, logits = answers(exported(tmp_path, precision))
    assert labels == expected[0]
    assert np.abs(logits - expected[1]).max() < (1e-3 if precision == "fp32" else 2e-2)


def test_int8_gives_the_same_labels(tmp_path, expected):
    labels, logits = answers(exported(tmp_path, "int8"))
    same = np.mean([one == other for one, other in zip(labels, expected[0], strict=True)])
    assert same >= 0.99
    assert np.abs(logits - expected[1]).max() > 1e-3  # it is quantized indeed


def test_texts_may_be_arguments(tmp_path, expected):
    done = script(exported(tmp_path, "fp32"), *TEXTS[:2])
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == expected[0][:2]


def test_another_model_is_refused_with_a_sentence(tmp_path):
    directory = exported(tmp_path, "fp32")
    about = json.loads((directory / "runtime.json").read_text())
    about["modalities"]["text"]["runner"] = "static-text"
    (directory / "runtime.json").write_text(json.dumps(about))
    done = script(directory, "hello")
    assert done.returncode != 0
    assert "let Triptych answer with it" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_imports_what_its_text_says():
    import ast

    imported = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert imported - set(sys.stdlib_module_names) == set(ALLOWED)
