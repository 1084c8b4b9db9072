"""The search from a trained toy to the cheapest variant: offered, refused, stopped, continued, and in service."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.core.toy import TOY_CONFIG, WORDS, toy_host, write_picture, write_sound, write_table
from triptych.bundle import open_bundle
from triptych.compression.base import Compressor
from triptych.config import CompressionConfig, load_config
from triptych.errors import BudgetError, BundleError, ConfigError, DataError, UnknownNameError
from triptych.hookspecs import hookimpl
from triptych.pipeline import RunResult, run
from triptych.predictor import load
from triptych.recompress import compress
from triptych.slim import export
from triptych.types import Part

ROOT = Path(__file__).resolve().parents[2]
WORDS_ONLY = {
    "encoders": {"text": {"use": "compact:text", "dim": 32, "buckets": 2048}},
    "training": {"epochs": 15},
    "compression": {"chains": ["onnx", "int8"], "cascade": False, "memory": False},
}
pytestmark = pytest.mark.slow


def quick(**settings: Any) -> CompressionConfig:
    """Without the memory of each variant, which takes a process of its own."""
    return CompressionConfig(memory=False, **settings)


class Clumsy(Compressor):
    """Raises whenever it is used."""

    name = "clumsy"

    def obstacle(self, model):
        return None

    def convert(self, model, context):
        raise RuntimeError("dropped the model")


class Broken(Compressor):
    """Cannot even be made."""

    name = "broken"

    def __init__(self, argument: str = "") -> None:
        raise ValueError("no such luck")

    def obstacle(self, model):
        return None


class Spoiled(Compressor):
    """Leaves numbers that are none."""

    name = "spoiled"

    def obstacle(self, model):
        return None

    def convert(self, model, context):
        student = copy.deepcopy(model)
        with torch.no_grad():
            student.head.linear.weight.fill_(float("nan"))
        return student


class ClumsyPlugin:
    """Offers both."""

    @hookimpl
    def triptych_parts(self) -> list[Part]:
        return [Part("compressor", c.name, f"{__name__}:{c.__name__}", "Fails.") for c in (Clumsy, Broken, Spoiled)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    output = tmp_path_factory.mktemp("economy") / "bundle"
    os.environ["TRIPTYCH_HOME"] = str(tmp_path_factory.mktemp("home"))
    return run("toy", load_config(WORDS_ONLY), output=output, host=toy_host())


@pytest.fixture
def bundle(built: RunResult, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(built.bundle, tmp_path / "bundle"))


def state_of(bundle: Path) -> list[str]:
    """All that must not change when a search fails; what a stopped search leaves for the next one may."""
    return sorted(str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file() and ".work" not in p.parts)


def test_a_run_ends_with_a_variant_that_is_cheaper_and_as_good(built):
    ledger = built.ledger
    rows = {row["name"]: row for row in ledger["variants"]}
    assert set(rows) == {"frozen", "onnx", "int8"}
    assert built.chosen in ("onnx", "int8")
    assert rows[built.chosen]["cost_per_million"] <= rows["frozen"]["cost_per_million"]
    assert rows["int8"]["size_mb"] < 0.5 * rows["frozen"]["size_mb"]
    assert [step["name"] for step in rows["int8"]["steps"]] == ["int8"]
    assert ledger["budget"] == {"max_drop": 0.5}


def test_what_was_chosen_answers(built):
    predictor = load(built.bundle, host=toy_host())
    response = predictor.answer(text=WORDS["green"])
    assert response.answer == "It is green"
    assert response.variant == built.chosen
    assert response.evidence[0].id == "doc-green"


def test_the_report_shows_convert_loss_and_recovery(built):
    report = next(built.bundle.rglob("report.md")).read_text(encoding="utf-8")
    assert "convert, measure the loss, recover" in report
    assert next(built.bundle.rglob("pareto.png")).stat().st_size > 5_000


def test_a_failing_compressor_is_reported_and_the_search_goes_on(tmp_path):
    overrides = ['compression.chains=["clumsy+onnx", "broken", "spoiled+onnx", "onnx"]']
    host = toy_host(clumsy=ClumsyPlugin())
    result = run("toy", load_config(WORDS_ONLY, overrides=overrides), output=tmp_path / "b", host=host)
    assert result.chosen == "onnx"
    notes = " ".join(result.ledger["notes"])
    assert "clumsy+onnx was left out: failed: RuntimeError: dropped the model" in notes
    assert "broken was left out: failed: ValueError: no such luck" in notes
    assert "spoiled+onnx was left out: its answers are not finite numbers" in notes


def test_limits_that_nothing_holds_name_the_nearest_and_touch_nothing(bundle):
    before = state_of(bundle)
    with pytest.raises(BudgetError, match=r"nearest is int8: size 0\.\d+ MB where 0\.001 was asked") as caught:
        compress(bundle, quick(max_mb=0.001, chains=["onnx", "int8"]), host=toy_host())
    assert caught.value.exit_code == 7
    assert state_of(bundle) == before
    assert load(bundle, host=toy_host()).answer(text=WORDS["red"]).answer == "It is red"


def test_memory_is_of_a_process_of_its_own(bundle):
    rows = {
        row["name"]: row
        for row in compress(bundle, CompressionConfig(chains=["onnx"]), host=toy_host()).ledger["variants"]
    }
    assert 0 < rows["onnx"]["resident_mb"] < 0.7 * rows["frozen"]["resident_mb"]  # the one without torch


def test_other_limits_choose_another_variant(bundle):
    int8 = next(row for row in open_bundle(bundle).manifest.ledger["variants"] if row["name"] == "int8")
    settings = quick(max_mb=1.05 * int8["size_mb"], chains=["onnx", "int8"])
    result = compress(bundle, settings, host=toy_host())
    assert result.chosen == "int8"
    assert len(list((bundle / "versions").iterdir())) == 2  # the one before stays for roll-back
    assert load(bundle, host=toy_host()).answer(text=WORDS["blue"]).variant == "int8"


def test_a_slim_copy_answers_alone_and_cannot_be_compressed_again(built, tmp_path):
    copy = tmp_path / "slim"
    directory = export(built.bundle, copy)
    assert not (directory / "model").exists()
    with pytest.raises(BundleError, match="is there already"):
        export(built.bundle, built.bundle)
    response = load(copy, host=toy_host()).answer(text=WORDS["green"])
    assert (response.answer, response.variant) == ("It is green", built.chosen)
    assert response.evidence[0].id == "doc-green"
    with pytest.raises(BundleError, match="holds no trained model"):
        compress(copy, quick(chains=["onnx"]), host=toy_host())


def test_a_bundle_that_needs_torch_has_no_slim_copy(bundle, tmp_path):
    compress(bundle, quick(seconds=1e-6, chains=["onnx"]), host=toy_host())
    with pytest.raises(BundleError, match="answers through its trained model"):
        export(bundle, tmp_path / "slim")
    assert not (tmp_path / "slim").exists()


def test_unlabelled_data_makes_drafts_of_its_own_and_leaves_out_what_is_held_out(tmp_path):
    data = write_table(tmp_path / "data", rows=90, media=False)
    config = load_config(WORDS_ONLY, overrides=[f"data.path={data}", "compression.enabled=false"])
    bundle = run("toy", config, output=tmp_path / "bundle", host=toy_host()).bundle
    more = write_table(tmp_path / "more", rows=90, media=False)  # the very same texts
    more.write_text(more.read_text(encoding="utf-8") + 'm90,"a new text",,,\n', encoding="utf-8")
    settings = quick(chains=["onnx"], unlabelled=[str(more)])
    result = compress(bundle, settings, data=str(data), host=toy_host())
    held_out = sum(open_bundle(bundle).manifest.data.counts[name] for name in ("validation", "test"))
    warning = next(w for w in result.warnings if "unlabelled" in w)
    assert int(warning.split()[0]) >= held_out
    assert open_bundle(bundle).manifest.config["compression"]["unlabelled"] == ["toy.csv"]
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        compress(bundle, quick(unlabelled=["nowhere.csv"]), data=str(data), host=toy_host())


def test_own_data_must_be_given_again_and_be_the_same(tmp_path):
    data = write_table(tmp_path / "data", rows=90, media=False)
    config = load_config(WORDS_ONLY, overrides=[f"data.path={data}", "compression.enabled=false"])
    bundle = run("toy", config, output=tmp_path / "bundle", host=toy_host()).bundle
    settings = quick(chains=["onnx"])
    with pytest.raises(DataError, match=r"no calibration data.*toy.csv.*--data"):
        compress(bundle, settings, host=toy_host())
    other = write_table(tmp_path / "other", rows=120, media=False)
    with pytest.raises(DataError, match="not the data"):
        compress(bundle, settings, data=str(other), host=toy_host())
    result = compress(bundle, settings, data=str(data), host=toy_host())
    assert "onnx" in {row["name"] for row in result.ledger["variants"]}


@pytest.mark.parametrize(
    ("chains", "error", "message"),
    [
        (["int9"], UnknownNameError, "No compressor is called 'int9'"),
        (["int8+onnx"], ConfigError, "must end with 'int8'"),
        (["+"], ConfigError, "empty step"),
        (["int8:4"], ConfigError, "takes no argument"),
    ],
)
def test_a_chain_that_is_none_is_refused(bundle, chains, error, message):
    with pytest.raises(error, match=message):
        compress(bundle, quick(chains=chains), host=toy_host())


def test_a_target_that_does_not_exist_is_refused(bundle):
    before = state_of(bundle)
    with pytest.raises(ConfigError, match="'tpu' is not a device"):
        compress(bundle, quick(chains=["onnx"]), device="tpu", host=toy_host())
    assert state_of(bundle) == before


def test_no_time_leaves_what_was_ready(bundle):
    result = compress(bundle, quick(seconds=1e-6, chains=["onnx"]), host=toy_host())
    assert result.chosen == "frozen"
    assert "time budget" in " ".join(result.ledger["notes"])


def test_a_search_that_was_killed_goes_on(built, tmp_path):
    bundle = Path(shutil.copytree(built.bundle, tmp_path / "bundle"))
    before = state_of(bundle)
    program = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from tests.core.toy import toy_host
        from tests.core.test_economy import SlowPlugin
        from triptych.config import CompressionConfig
        from triptych.recompress import compress
        def tell(p):
            print(p.step, p.message, flush=True)
        compress({str(bundle)!r}, CompressionConfig(chains=["trained+onnx", "slow+onnx"]),
                 host=toy_host(slow=SlowPlugin()), progress=tell)
    """)
    environment = {**os.environ, "TRIPTYCH_SLOW": "60"}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if "asleep" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state_of(bundle) == before
    marks = list((bundle / ".work").rglob("trained@1/steps.json"))
    assert len(marks) == 1
    written = marks[0].stat().st_mtime_ns
    seen = []
    settings = quick(chains=["trained+onnx", "slow+onnx"])
    compress(
        bundle,
        settings,
        host=toy_host(slow=SlowPlugin()),
        progress=lambda p: seen.append(marks[0].stat().st_mtime_ns if marks[0].exists() else 0),
    )
    assert written in seen
    assert set(seen) <= {written, 0}  # 0: the workspace is gone after the commit


class Trained(Compressor):
    """Pretends to train; quick."""

    name = "trained"

    def obstacle(self, model):
        return None

    def convert(self, model, context):
        import copy

        return copy.deepcopy(model)

    def recover(self, model, context):
        return ["nothing to do"]


class Slow(Trained):
    """Sleeps in full recoveries for as long as the environment says."""

    name = "slow"

    def recover(self, model, context):
        if context.effort == 1.0 and float(os.environ.get("TRIPTYCH_SLOW", "0")):
            from triptych.tuning.base import Progress

            context.progress(Progress("slow", 0, 1, "asleep"))
            time.sleep(float(os.environ["TRIPTYCH_SLOW"]))
        return []


class SlowPlugin:
    """Offers them."""

    @hookimpl
    def triptych_parts(self) -> list[Part]:
        return [Part("compressor", c.name, f"{__name__}:{c.__name__}", "For tests.") for c in (Trained, Slow)]


def test_prices_of_ones_own_are_not_forgotten(tmp_path):
    prices = tmp_path / "own.toml"
    packaged = (ROOT / "configs" / "triptych_configs" / "prices.toml").read_text(encoding="utf-8")
    prices.write_text(packaged.replace('"USD"', '"XAU"'), encoding="utf-8")
    config = load_config(WORDS_ONLY, overrides=[f"prices={prices}", "compression.enabled=false"])
    bundle = run("toy", config, output=tmp_path / "bundle", host=toy_host()).bundle
    with pytest.raises(ConfigError, match=r"own\.toml; give it with --prices"):
        compress(bundle, quick(chains=["onnx"]), host=toy_host())
    result = compress(bundle, quick(chains=["onnx"]), prices=str(prices), host=toy_host())
    assert {row["currency"] for row in result.ledger["variants"]} == {"XAU"}


def test_three_modalities_are_compressed_as_one(tmp_path):
    overrides = ["compression.enabled=true", 'compression.chains=["onnx"]', "compression.cascade=false"]
    overrides.append("compression.memory=false")  # it starts a process for each variant; others test it
    result = run("toy", load_config(TOY_CONFIG, overrides=overrides), output=tmp_path / "b", host=toy_host())
    assert result.chosen == "onnx"
    predictor = load(result.bundle, host=toy_host())
    assert predictor.answer(text=WORDS["green"]).answer == "It is green"
    write_picture(tmp_path / "a.png", "red", np.random.default_rng(3))
    write_sound(tmp_path / "a.wav", "red", np.random.default_rng(3))
    for fields in ({"image": tmp_path / "a.png"}, {"audio": tmp_path / "a.wav"}):
        assert predictor.answer(**fields).answer == "It is red"
    groups = {row["name"]: row["contract"]["worst_group"] for row in result.ledger["variants"]}
    assert set(groups) == {"frozen", "onnx"}
