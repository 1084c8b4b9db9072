"""`triptych compress` and `triptych export`, as somebody at a terminal uses them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import Built, Call

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of the shop that a test may change."""
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))
    bundle = next((built.home / "bundles").iterdir())
    return Path(shutil.copytree(bundle, tmp_path / "home" / "bundles" / "shop"))


def test_a_bundle_is_compressed_asked_and_exported(call: Call, shop: Path, tmp_path: Path) -> None:
    for _ in range(3):  # what is measured on a busy machine may speak for "frozen" now and then
        done = call("compress", "shop", "--chain", "onnx", "--no-cascade", "--json")
        assert done.code == 0, done.err
        outcome = json.loads(done.out)
        costs = {row["name"]: row["cost_per_million"] for row in outcome["ledger"]["variants"]}
        assert set(costs) == {"frozen", "onnx"}
        assert outcome["chosen"] == min(costs, key=costs.__getitem__)
        if outcome["chosen"] == "onnx":
            break
    assert outcome["chosen"] == "onnx"

    answer = json.loads(call("ask", "shop", "fresh grass", "--json").out)
    assert (answer["variant"], answer["answer"]) == ("onnx", "It is green")

    done = call("export", "shop", "--output", tmp_path / "slim", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["size_mb"] < sum(f.stat().st_size for f in shop.rglob("*") if f.is_file()) / 1e6
    assert json.loads(call("ask", tmp_path / "slim", "clear sky", "--json").out)["answer"] == "It is blue"


def test_limits_that_cannot_be_met_name_the_nearest_miss(call: Call, shop: Path) -> None:
    before = sorted(p.name for p in (shop / "versions").iterdir())
    done = call("compress", "shop", "--chain", "onnx", "--max-mb", "0.001", "--seconds", "0.001")
    assert done.code == 7
    assert "no variant holds all limits; nearest is" in done.err
    assert "where 0.001 was asked" in done.err
    assert sorted(p.name for p in (shop / "versions").iterdir()) == before


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--chain", "int9"], 2, "No compressor is called 'int9'. Did you mean 'int8'?"),
        (["--chain", "int8+onnx"], 2, "must end with 'int8'"),
        (["--target", "tpu"], 2, "'tpu' is not a device name"),
        (["--max-drop", "-1"], 2, "--max-drop"),
        (["--prices", "nowhere.toml"], 2, "nowhere.toml"),
        (["--data", "nowhere.csv"], 3, "nowhere.csv"),
    ],
)
def test_wrong_input_is_a_message(call: Call, shop: Path, options: list[str], code: int, message: str) -> None:
    done = call("compress", "shop", *options)
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err
