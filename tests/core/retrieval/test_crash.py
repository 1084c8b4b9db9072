"""Writers killed at random moments: nothing acknowledged is lost, and nothing is there by half. See `crash.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def killed(folder: Path, kills: int, seed: int) -> subprocess.CompletedProcess[str]:
    """Its own process, which has no threads yet when it forks; it ends with 1 where a promise was broken."""
    command = [sys.executable, "-m", "tests.core.retrieval.crash", str(folder), str(kills), str(seed)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_few_kills_lose_nothing(tmp_path: Path) -> None:
    done = killed(tmp_path / "crash", 6, seed=1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("Tally(kills=6, ")


@pytest.mark.slow
def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    done = killed(tmp_path / "crash", 50, seed=2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("Tally(kills=50, ")
