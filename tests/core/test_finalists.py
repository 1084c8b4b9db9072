"""Which candidates are judged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from triptych.compression.budget import Budget
from triptych.compression.search import Candidate
from triptych.economy import FINALISTS, _finalists


def candidate(chain: str, quality: float, cpu_ms: float) -> Candidate:
    made = Candidate(chain, [], Path(), effort=1.0, quality=quality)
    made.speed = SimpleNamespace(batch_cpu_ms=cpu_ms)  # type: ignore[assignment]  # all that is asked of it
    return made


def parent(**validation: float) -> Any:
    return SimpleNamespace(validation=validation)


def test_the_cheap_one_that_loses_has_a_place_for_a_cascade() -> None:
    keepers = [candidate(f"keeper{i}", 0.90, 2.0 + i) for i in range(6)]
    rows = [*keepers, candidate("near", 0.88, 1.9), candidate("static", 0.80, 0.1)]
    chosen = [c.chain for c in _finalists(rows, parent(accuracy=0.90), Budget(max_drop=0.5), "accuracy", cascade=True)]
    assert len(chosen) == FINALISTS
    assert chosen == ["keeper0", "keeper1", "keeper2", "keeper3", "static"]


def test_a_middle_stage_has_a_place_beside_the_first() -> None:
    keepers = [candidate(f"keeper{i}", 0.90, 4.0 + i) for i in range(6)]
    rows = [*keepers, candidate("near", 0.89, 3.9), candidate("small", 0.88, 1.0), candidate("static", 0.80, 0.1)]
    chosen = [c.chain for c in _finalists(rows, parent(accuracy=0.90), Budget(max_drop=0.5), "accuracy", cascade=True)]
    assert chosen == ["keeper0", "keeper1", "keeper2", "small", "static"]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
def test_an_error_is_judged_in_percent_of_the_parents(scale: float) -> None:
    """0.2 % more error keeps a budget of 0.5 %, thirty times the error does not, whatever the unit."""
    rows = [candidate("good", -1.002 * scale, 1.0), *(candidate(f"junk{i}", -30 * scale, 0.5) for i in range(5))]
    chosen = _finalists(rows, parent(mse=scale), Budget(max_drop=0.5), "mse", cascade=True)
    assert chosen[0].chain == "good"


def test_without_a_limit_everything_may_win() -> None:
    rows = [candidate("a", 0.2, 1.0), candidate("b", 0.9, 2.0)]
    assert {c.chain for c in _finalists(rows, parent(accuracy=0.9), Budget(), "accuracy", cascade=True)} == {"a", "b"}
