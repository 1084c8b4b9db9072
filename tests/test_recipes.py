"""The recipes are true: their commands and programs run as they are printed, and do what the text says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipe_data import ROWS, write_checkpoint, write_files

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPES = REPOSITORY / "docs" / "recipes"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
MAX_DROP = 0.005  # half a point, as the recipe asks for

pytestmark = pytest.mark.slow


def blocks(page: str, language: str) -> list[str]:
    found = BLOCK.findall((RECIPES / page).read_text(encoding="utf-8"))
    return [code for name, code in found if name == language]


class Shell:
    """Runs blocks in a folder as a reader would, who has installed Triptych and has a checkpoint at hand."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        theirs = {"PATH": path, "TRIPTYCH_HOME": str(home), "MODEL": "transformer:./checkpoint"}
        # measuring memory starts a process for each variant, which other tests do
        self.environment = {**os.environ, **theirs, "TRIPTYCH__COMPRESSION__MEMORY": "false"}

    def __call__(self, block: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("recipe")
    write_files(folder)
    write_checkpoint(folder / "checkpoint")
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    return Shell(folder, folder / "home")


@pytest.fixture(scope="module")
def told(shell: Shell) -> list[str]:
    """What each bash block of the classification recipe prints, in order."""
    (program,) = blocks("classification.md", "python")
    (shell.folder / "classify.py").write_text(program, encoding="utf-8")
    return [shell(block) for block in blocks("classification.md", "bash")]


def accuracies(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"^ *accuracy +([\d.]+)", text, re.M)]


def test_the_report_has_what_was_lost_and_won_back_by_each_step(told):
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told[1].splitlines() if line.startswith("| ")]
    assert rows[0][:7] == ["variant", "step", "before", "converted", "recovered", "seconds", "CPU seconds"]
    steps = {(row[0], row[1]): tuple(float(number) for number in row[2:5]) for row in rows[2:]}
    assert set(steps) == {("int8", "int8"), ("layers:3+int8", "layers:3"), ("layers:3+int8", "int8")}
    tuned, converted, recovered = steps["layers:3+int8", "layers:3"]
    assert converted < tuned - MAX_DROP  # too much is lost,
    assert recovered >= tuned - MAX_DROP  # and won back
    before, _, quantized = steps["layers:3+int8", "int8"]
    assert before == recovered  # a step begins where the one before it ended
    assert min(quantized, steps["int8", "int8"][2]) >= tuned - MAX_DROP
    assert all(after >= loss for _, loss, after in steps.values())


def test_dev_and_test_accuracy_of_what_is_in_service_are_printed(told, shell):
    manifest = next(shell.folder.glob("intents/versions/*/manifest.json"))  # the oldest: as `run` left it
    tuned = json.loads(manifest.read_text(encoding="utf-8"))["metrics"]
    assert [tuned[split]["samples"] for split in ("validation", "test")] == [ROWS["dev"], ROWS["test"]]
    (dev,), (test,) = (accuracies(text) for text in told[2].split("test.tsv", 1))
    assert dev >= tuned["validation"]["accuracy"] - MAX_DROP
    assert test >= tuned["test"]["accuracy"] - MAX_DROP


def test_other_limits_need_no_other_training(told):
    assert "vocabulary+layers:3+int8" in told[3]


def test_the_answer_names_a_label(told):
    answer = json.loads(told[4])
    assert answer["intent"] == "refund"
    assert 0 < answer["intent_confidence"] <= 1


def test_the_program_prints_three_steps_and_keeps_the_accuracy(told):
    steps = re.findall(r"^(\S+): (\S+) ([\d.]+) -> ([\d.]+) -> ([\d.]+)$", told[5], re.M)
    assert [(chain, step) for chain, step, *_ in steps] == [
        ("int8", "int8"),
        ("layers:3+int8", "layers:3"),
        ("layers:3+int8", "int8"),
    ]
    found = re.findall(r"^(\S+): dev ([\d.]+), test ([\d.]+)$", told[5], re.M)
    dev = {name: float(value) for name, value, _ in found}
    test = {name: float(value) for name, _, value in found}
    assert list(dev) == ["fine-tuned", "onnx", "int8", "layers:3+int8"]
    assert dev["fine-tuned"] > 0.9
    assert (dev["onnx"], test["onnx"]) == (dev["fine-tuned"], test["fine-tuned"])
    assert dev["int8"] >= dev["fine-tuned"] - MAX_DROP
    assert dev["layers:3+int8"] >= dev["fine-tuned"] - MAX_DROP


@pytest.mark.usefixtures("told")
def test_what_was_exported_answers_with_and_without_triptych(shell):
    (shell.folder / "texts.txt").write_text("my card has lost its chip\nabout my loan\n", encoding="utf-8")
    (program,) = blocks("serving.md", "python")
    (shell.folder / "answer.py").write_text(program, encoding="utf-8")
    assert shell("python answer.py").split()[0] == "refund"
    (commands,) = blocks("serving.md", "bash")
    lines = [line.split("\t") for line in shell(commands).splitlines()]
    assert [label for label, _ in lines] == ["refund", "account", "card", "loan"]
    assert all(len(json.loads(logits)) == 4 for _, logits in lines)
