"""A build that is stopped: with Ctrl-C, by a kill, by a full disk. The bundle in service never notices."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.apps.conftest import ROOT, START, Built, child_environment

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")]

# Says on standard error whenever a step moves, so that a test knows when to strike
WATCHED = """
import sys
from triptych_apps import progress
def line(self, event):
    print("AT", event.step, event.done, event.message, file=sys.stderr, flush=True)
progress._Lines.__call__ = line
"""


@pytest.fixture
def output(built: Built, tmp_path: Path) -> Path:
    """A bundle in service, which the run is to replace."""
    return Path(shutil.copytree(json.loads(built.out)["bundle"], tmp_path / "bundle"))


def content(folder: Path) -> dict[str, str]:
    """Every file of a bundle with its hash; the workspace is not part of it."""
    files = [file for file in folder.rglob("*") if file.is_file() and ".work" not in file.parts]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def start(plugin_folder: Path, home: Path, output: Path, before: str = "") -> subprocess.Popen[str]:
    """`triptych run shop --output ...` with another seed than the bundle in service has."""
    code = before + WATCHED + START.format(program="triptych")
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            code,
            "run",
            "shop",
            "--set",
            "seed=7",
            "--set",
            "training.epochs=2",
            "--output",
            str(output),
            "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=child_environment(plugin_folder, home),
    )


def strike(process: subprocess.Popen[str], step: str, number: signal.Signals) -> str:
    """Send a signal when the step is reached; returns what stood on standard error from then on."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"AT {step}"):
            os.kill(process.pid, number)
            break
    return process.stderr.read()


@pytest.mark.parametrize("step", ["start", "scratch-text", "bundle"])
def test_ctrl_c_exits_with_130_and_leaves_the_old_bundle(plugin_folder, output, tmp_path, step):
    before = content(output)
    process = start(plugin_folder, tmp_path / "home", output)
    rest = strike(process, step, signal.SIGINT)
    out = process.stdout.read()
    assert process.wait() == 130
    assert "stopped; run the same command again to continue" in rest
    assert "Traceback" not in rest
    assert json.loads(out)["error"]["exit_code"] == 130
    assert content(output) == before


def test_after_kill_9_the_same_command_goes_on_where_it_was(plugin_folder, output, tmp_path):
    before = content(output)
    process = start(plugin_folder, tmp_path / "home", output)
    strike(process, "calibrate", signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert content(output) == before
    out, err = start(plugin_folder, tmp_path / "home", output).communicate()
    assert "already done by an earlier try" in err
    assert json.loads(out)["bundle"] == str(output)
    assert content(output) != before


def test_a_full_disk_is_told_and_leaves_the_old_bundle(plugin_folder, output, tmp_path):
    before = content(output)
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    process = start(plugin_folder, tmp_path / "home", output, before=limit)
    out, err = process.communicate()
    assert process.returncode == 6, err
    assert "no disk space" in json.loads(out)["error"]["message"]
    assert "Traceback" not in err
    assert content(output) == before
