"""The README is true: its program runs, its commands exist, its dependencies are the declared ones."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BASH = re.findall(r"^```bash\n(.*?)^```", README, re.M | re.S)
PROGRAM = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)[0]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ROWS = 12  # messages of each label: enough to learn from, few enough to be quick


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a small customer-service bundle, from the words of the sample alone."""
    from triptych.config import load_config
    from triptych.host import default_host
    from triptych.pipeline import run

    folder = tmp_path_factory.mktemp("readme")
    vertical = default_host().vertical("customer-service")
    sample = vertical.sample_data(folder / "sample")
    with sample.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["text"]]
    kept: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        kept.setdefault(row["label"], []).append(row | {"image": "", "audio": ""})
    with (folder / "messages.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for label in kept.values() for row in label[:ROWS])
    overrides = [
        f"data.path={folder / 'messages.csv'}",
        "compression.enabled=false",
        "compression.memory=false",
        f"vertical.knowledge_base={sample.parent / 'knowledge_base.jsonl'}",
    ]
    config = load_config(vertical.defaults(), overrides=overrides)
    run("customer-service", config, output=folder / "home" / "bundles" / "customer-service")
    return folder / "home"


@pytest.mark.slow
def test_the_program_runs_and_answers_from_the_knowledge_base(home):
    environment = {**os.environ, "TRIPTYCH_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    charged, everest = done.stdout.split("How tall is Mount Everest? ->")
    assert "document:" in charged
    assert "document:" not in everest


def test_the_program_has_at_most_ten_lines():
    assert len([line for line in PROGRAM.splitlines() if line.strip()]) <= 10


def test_the_first_two_blocks_are_the_two_commands_of_a_fresh_machine():
    assert "triptych run " in BASH[0]
    assert BASH[1].splitlines() == ["pip install -e '.[offline,dev]'", "python -m pytest -n 2"]


def test_the_extras_in_the_readme_exist():
    extras = set(",".join(re.findall(r"\.\[([\w,]+)\]", README)).split(","))
    assert extras <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize(
    "line", [line for block in BASH for line in block.splitlines() if line.startswith("triptych ")]
)
def test_the_commands_in_the_readme_exist(line):
    import click

    from triptych.host import Host
    from triptych_apps.cli import COMMANDS
    from triptych_apps.lazy import Lazy

    words = shlex.split(line)[1:]
    known = COMMANDS | {spec.name: Lazy(spec.target, spec.summary) for spec in Host().commands()}
    command = known[words[0]].load()
    for word in words[1:]:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word)
    options = {flag for parameter in command.params if isinstance(parameter, click.Option) for flag in parameter.opts}
    options |= {"--image", "--audio"} if words[0] == "ask" else set()  # the fields of the vertical's request
    assert {word for word in words if word.startswith("--")} <= options


def test_every_dependency_has_its_reason():
    table = README.partition("## What each dependency is for")[2].partition("\n## ")[0]
    names = {name.strip() for row in re.findall(r"^\| (.*?) \|", table, re.M) for name in re.split(r"[:,]", row)}
    lines = [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["offline"],
        *PROJECT["optional-dependencies"]["hub"],
    ]
    for line in lines:
        name = re.split(r"[<>=;\s]", line)[0]
        assert (name in names) or (name.startswith("faiss-") and "faiss" in names), name
