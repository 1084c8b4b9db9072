"""Answering with an exported bundle needs what `requirements/serve.txt` names, and not a package more."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from tests.core.runtime import bundles
from tests.core.toy import write_picture, write_sound

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = (REPOSITORY / "requirements" / "serve.txt").read_text(encoding="utf-8").splitlines()
NEEDED = [line for line in LINES if line and not line.startswith("#")]
TRAINING = {"torch", "transformers", "timm", "scikit-learn", "scipy", "pyarrow", "matplotlib", "onnx", "peft"}
OWN = {"triptych", "triptych_apps", "triptych_configs", "triptych_customer_service", "tests"}

WITHOUT = """
import importlib.machinery, json, sys
ABSENT = set(json.loads({absent!r}))

class Without:
    # finds what Python finds, but for packages that are taken to be not installed
    find_distributions = staticmethod(importlib.machinery.PathFinder.find_distributions)

    def __init__(self, finders):
        self.finders = finders

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in found if spec is not None), None)

sys.meta_path[:] = [Without(sys.meta_path[:])]
"""
LIBRARY = """
import triptych
predictor = triptych.load({bundle!r}, state={state!r})
fields = {{"text": "a green one", "image": {picture!r}, "audio": {sound!r}}}
for parts in (["text"], ["image"], ["audio"], ["text", "image", "audio"]):
    response = predictor.answer(**{{part: fields[part] for part in parts}})
    evidence = [found.id for found in response.evidence]
    print(json.dumps([response.answer, response.variant, evidence, sorted(response.attribution)]))
"""
COMMAND = """
from triptych_apps.cli import main
main(json.loads({arguments!r}))
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def with_dependencies(names: list[str]) -> set[str]:
    """Distributions and all that pip would install with them."""
    found: set[str] = set()
    waiting = [canonical(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another platform
            continue
        needed = [Requirement(line) for line in lines]
        waiting += [canonical(r.name) for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def absent() -> set[str]:
    """Top-level modules that are installed here, and would not be where only this file's requirements are."""
    distributions = with_dependencies([Requirement(line).name for line in NEEDED])
    packages = importlib.metadata.packages_distributions()
    assert "torch" in packages
    return {p for p, names in packages.items() if not {canonical(n) for n in names} & distributions} - OWN


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that makes the tests' serving plugin an installed one."""
    folder = tmp_path_factory.mktemp("plugin")
    info = folder / "served-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: served\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[triptych]\nserved = tests.core.runtime.serving\n")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return bundles.write_bundle(folder / "served", folder / "work")


def serve(code: str, absent: set[str], plugin: Path, home: Path) -> str:
    """What a process prints that can import nothing but what serving needs."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(plugin), str(REPOSITORY)]),
        "TRIPTYCH_HOME": str(home),
        "COLUMNS": "120",
    }
    script = WITHOUT.format(absent=json.dumps(sorted(absent))) + code
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def media(tmp_path: Path) -> dict[str, str]:
    write_picture(tmp_path / "a.png", "green", np.random.default_rng(0))
    write_sound(tmp_path / "a.wav", "green", np.random.default_rng(0))
    return {"picture": str(tmp_path / "a.png"), "sound": str(tmp_path / "a.wav")}


def test_every_requirement_is_declared_with_the_same_bound():
    assert sorted(NEEDED) == NEEDED
    assert set(NEEDED) <= set(PROJECT["dependencies"])


def test_what_only_training_needs_is_taken_away(absent, plugin, tmp_path):
    code = """
import importlib.util
print(json.dumps([p for p in ("torch", "transformers", "sklearn", "scipy", "faiss") if importlib.util.find_spec(p)]))
"""
    assert json.loads(serve(code, absent, plugin, tmp_path)) == ["faiss"]


def test_serving_installs_nothing_that_only_training_needs():
    assert with_dependencies([Requirement(line).name for line in NEEDED]) & TRAINING == set()


def test_the_library_answers_with_these_alone(absent, plugin, bundle, media, tmp_path):
    code = LIBRARY.format(bundle=str(bundle), state=str(tmp_path / "state"), **media)
    answers = [json.loads(line) for line in serve(code, absent, plugin, tmp_path).splitlines()]
    assert [answer[:2] for answer in answers] == [["It is green", "tiny:3"]] * 4
    assert answers[0][2][0] == "doc-green"
    assert answers[0][2][1].startswith("green")
    assert [answer[3] for answer in answers] == [["text"], ["image"], ["audio"], ["audio", "image", "text"]]


def test_the_command_line_answers_with_these_alone(absent, plugin, bundle, media, tmp_path):
    given = ["ask", str(bundle), "a green one", "--image", media["picture"], "--audio", media["sound"]]
    shown = serve(COMMAND.format(arguments=json.dumps(given)), absent, plugin, tmp_path)
    assert "It is green" in shown
    assert "tiny:3" in shown
    as_json = serve(COMMAND.format(arguments=json.dumps([*given, "--json"])), absent, plugin, tmp_path)
    assert json.loads(as_json)["variant"] == "tiny:3"
