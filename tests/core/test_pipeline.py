"""The whole way: data to bundle to answer, killed and continued, and everything that can be wrong with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.core.toy import TOY_CONFIG, WORDS, toy_host, write_picture, write_sound, write_table
from triptych.config import load_config
from triptych.errors import BundleError, ConfigError, DataError, UnknownNameError
from triptych.pipeline import RunResult, evaluate, run
from triptych.predictor import Predictor, load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    output = tmp_path_factory.mktemp("toy") / "bundle"
    os.environ["TRIPTYCH_HOME"] = str(tmp_path_factory.mktemp("home"))
    return run("toy", load_config(TOY_CONFIG), output=output, host=toy_host())


@pytest.fixture(scope="module")
def predictor(built: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load(built.bundle, host=toy_host(), state=tmp_path_factory.mktemp("state"))


def test_a_run_learns_the_toy_and_says_what_it_measured(built):
    assert built.metrics["test"]["accuracy"] > 0.9
    assert built.metrics["data"]["out_of_scope"] == 9
    assert built.chosen == "frozen"
    assert json.loads(json.dumps(built.to_json()))["bundle"] == str(built.bundle)


def test_the_bundle_has_a_report_that_a_person_reads(built):
    report = next(built.bundle.rglob("report.md")).read_text(encoding="utf-8")
    assert "Out of scope" in report
    assert "embedded synthetic sample" in report


@pytest.mark.parametrize("parts", [("text",), ("image",), ("audio",), ("text", "image"), ("text", "image", "audio")])
def test_every_subset_answers(predictor, tmp_path, parts):
    import numpy as np

    write_picture(tmp_path / "a.png", "green", np.random.default_rng(5))
    write_sound(tmp_path / "a.wav", "green", np.random.default_rng(5))
    fields = {"text": WORDS["green"], "image": tmp_path / "a.png", "audio": tmp_path / "a.wav"}
    response = predictor.answer(**{part: fields[part] for part in parts})
    assert response.answer == "It is green"
    assert set(response.attribution) == set(parts)
    assert sum(response.attribution.values()) == pytest.approx(1.0, abs=1e-4)


def test_text_finds_its_document(predictor):
    response = predictor.answer(text="what a clear sky")
    assert response.evidence[0].id == "doc-blue"


def test_bytes_are_as_good_as_a_path(predictor, tmp_path):
    import numpy as np

    write_picture(tmp_path / "a.png", "red", np.random.default_rng(6))
    response = predictor.answer(image=(tmp_path / "a.png").read_bytes())
    assert response.answer == "It is red"


def test_a_batch_gives_the_same_answers_as_single_requests(predictor):
    requests = [predictor.request(text=words) for words in WORDS.values()]
    together = predictor.answer_batch(requests)
    for request, response in zip(requests, together, strict=True):
        alone = predictor.answer(request)
        assert alone.answer == response.answer
        assert alone.confidence == pytest.approx(response.confidence, abs=1e-5)


def test_many_threads_get_the_same_answers(predictor):
    texts = [f"{words} {i}" for i in range(10) for words in WORDS.values()]
    expected = [predictor.answer(text=t).answer for t in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda t: predictor.answer(text=t).answer, texts)) == expected


def test_an_empty_request_says_what_is_missing(predictor):
    with pytest.raises(DataError, match="give a text, an image or an audio"):
        predictor.answer(text="   ")


def test_an_unknown_field_of_a_request_is_named(predictor):
    with pytest.raises(DataError, match="txt"):
        predictor.answer(txt="hello")


def test_a_picture_that_is_none_is_refused(predictor, tmp_path):
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"a\.png"):
        predictor.answer(image=tmp_path / "a.png")


def test_evaluation_reads_a_file_with_the_columns_of_the_training(predictor, tmp_path):
    metrics, dataset = evaluate(predictor, str(write_table(tmp_path / "more", rows=30)))
    assert metrics["accuracy"] > 0.9
    assert metrics["samples"] == 27
    assert len(dataset.samples) == 30


def test_a_second_run_on_top_replaces_the_bundle_in_one_step(built):
    again = run("toy", load_config(TOY_CONFIG, overrides=["seed=7"]), output=built.bundle, host=toy_host())
    assert again.bundle == built.bundle
    assert load(again.bundle, host=toy_host()).bundle.manifest.config["seed"] == 7


def test_the_same_seed_gives_the_same_metrics(built, tmp_path):
    again = run("toy", load_config(TOY_CONFIG), output=tmp_path / "again", host=toy_host())
    assert again.metrics["test"] == built.metrics["test"]


def test_text_alone_needs_no_fusion(tmp_path):
    data = write_table(tmp_path / "data", media=False)
    config = load_config(TOY_CONFIG, overrides=[f"data.path={data}"])
    result = run("toy", config, output=tmp_path / "out", host=toy_host())
    assert load(result.bundle, host=toy_host()).session.modalities == ("text",)
    assert any("will not understand image" in w for w in result.warnings)


def test_a_wrong_strategy_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UnknownNameError, match="frozen"):
        run(
            "toy",
            load_config(TOY_CONFIG, overrides=["training.strategy=frosen"]),
            output=tmp_path / "o",
            host=toy_host(),
        )
    assert not (tmp_path / "o").exists()


def test_a_wrong_key_of_the_vertical_is_refused_with_the_nearest(tmp_path):
    config = load_config(TOY_CONFIG, overrides=["vertical.greting=Hi"])
    with pytest.raises(ConfigError, match=r"vertical\.greting.*vertical\.greeting"):
        run("toy", config, output=tmp_path / "o", host=toy_host())


def test_bad_data_leaves_the_old_bundle_alone(built, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    before = load(built.bundle, host=toy_host()).bundle.path
    with pytest.raises(DataError, match=r"empty\.csv"):
        run(
            "toy",
            load_config(TOY_CONFIG, overrides=[f"data.path={tmp_path / 'empty.csv'}"]),
            output=built.bundle,
            host=toy_host(),
        )
    assert load(built.bundle, host=toy_host()).bundle.path == before


def test_a_bundle_of_an_unknown_vertical_names_it(built):
    from triptych.host import Host

    with pytest.raises((BundleError, UnknownNameError), match="toy"):
        load(built.bundle, host=Host(installed=False))


def test_a_killed_run_is_continued_and_the_old_bundle_never_touched(built, tmp_path):
    output = tmp_path / "out"
    first = run("toy", load_config(TOY_CONFIG), output=output, host=toy_host())
    before = load(first.bundle, host=toy_host()).bundle.path
    script = textwrap.dedent(f"""
        import json, sys
        sys.path.insert(0, {str(ROOT)!r})
        from tests.core.toy import TOY_CONFIG, toy_host
        from triptych.config import load_config
        from triptych.pipeline import run
        def progress(p):
            print(p.step, p.done, p.message, flush=True)
        config = load_config(TOY_CONFIG, overrides=["seed=11"])
        run("toy", config, output={str(output)!r}, host=toy_host(), progress=progress)
    """)
    environment = {**os.environ, "TRIPTYCH_HOME": str(tmp_path / "home")}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("calibrate 0"):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    assert load(output, host=toy_host()).bundle.path == before
    seen = []
    started = time.time()
    os.environ["TRIPTYCH_HOME"] = str(tmp_path / "home")
    again = run(
        "toy", load_config(TOY_CONFIG, overrides=["seed=11"]), output=output, host=toy_host(), progress=seen.append
    )
    assert any(p.message == "already done by an earlier try" for p in seen), started
    assert load(again.bundle, host=toy_host()).bundle.manifest.config["seed"] == 11


def test_prices_of_your_own_are_those_of_the_ledger(tmp_path):
    packaged = (ROOT / "configs" / "triptych_configs" / "prices.toml").read_text(encoding="utf-8")
    (tmp_path / "prices.toml").write_text(packaged.replace('"USD"', '"CNY"'), encoding="utf-8")
    data = write_table(tmp_path / "data", media=False)
    overrides = [f"data.path={data}", f"prices={tmp_path / 'prices.toml'}"]
    result = run("toy", load_config(TOY_CONFIG, overrides=overrides), output=tmp_path / "out", host=toy_host())
    assert result.ledger["variants"][0]["currency"] == "CNY"


def test_a_wrong_file_of_prices_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "prices.toml").write_text('currency = ""\n')
    config = load_config(TOY_CONFIG, overrides=[f"prices={tmp_path / 'prices.toml'}"])
    with pytest.raises(ConfigError, match="gpu_hour"):
        run("toy", config, output=tmp_path / "out", host=toy_host())
    assert not (tmp_path / "out").exists()


def test_a_label_that_only_the_test_has_is_counted_and_left_out(tmp_path):
    data = write_table(tmp_path / "data", media=False)
    extra = write_table(tmp_path / "extra", rows=30, media=False)
    extra.write_text(
        extra.read_text().replace("m1,", "n1,") + "new1,a purple haze,,,purple\nnew2,purple rain,,,purple\n"
    )
    overrides = [f"data.path={data}", f"data.test_path={extra}", "data.columns.id=id"]
    result = run("toy", load_config(TOY_CONFIG, overrides=overrides), output=tmp_path / "out", host=toy_host())
    assert any("labels that train lacks are left out" in warning for warning in result.warnings)
    assert "purple" not in json.dumps(result.metrics)


def test_a_bundle_does_not_tell_where_files_lay(tmp_path):
    data = write_table(tmp_path / "secret-folder", media=False)
    config = load_config(TOY_CONFIG, overrides=[f"data.path={data}"])
    result = run("toy", config, output=tmp_path / "out", host=toy_host())
    manifest = load(result.bundle, host=toy_host()).bundle.manifest
    assert "secret-folder" not in manifest.to_json()
    assert manifest.config["data"]["path"] == "toy.csv"
