"""The real thing: a bundle is built by `triptych run`, then measured, asked, shown, rolled back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.apps.conftest import Built
from tests.apps.shop import ShopResponse, write_picture, write_sound, write_table
from triptych_apps.outcomes import EvaluateOutcome, InfoOutcome, RollbackOutcome, RunOutcome


@pytest.fixture
def home(built: Built, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that has a bundle of the shop, and nothing that may be changed."""
    monkeypatch.setenv("TRIPTYCH_HOME", str(built.home))
    return built.home


def test_run_prints_the_object_of_its_schema_and_nothing_else(built):
    outcome = RunOutcome.model_validate_json(built.out, strict=True)
    assert Path(outcome.bundle).is_dir()
    assert outcome.metrics["test"]["accuracy"] > 0.6
    assert outcome.chosen in [variant["name"] for variant in outcome.ledger["variants"]]
    assert built.out.count("\n") == 1


def test_run_talks_on_standard_error(built):
    assert "start: done in" in built.err
    assert "bundle: done in" in built.err
    assert "Traceback" not in built.err
    assert "Warning" not in built.err  # of a library


def test_run_ends_with_an_answer_and_what_to_type_next(call, tmp_path):
    done = call("run", "shop", "--set", "training.epochs=2", "--output", tmp_path / "bundle")
    assert done.code == 0
    assert "accuracy" in done.out
    assert "A sample answer" in done.out
    assert "It is" in done.out
    assert f'triptych ask {tmp_path / "bundle"} "what fresh grass"' in done.out
    assert f"triptych chat {tmp_path / 'bundle'}" in done.out


def test_train_needs_data(call):
    done = call("train", "shop", "--json")
    assert done.code == 2
    assert "--data" in json.loads(done.out)["error"]["message"]


@pytest.mark.usefixtures("home")
def test_ask_by_name_prints_the_response(call):
    done = call("ask", "shop", "what a clear sky", "--json", "--limit", "7", "--tags", "a", "--conversation", "c1")
    response = ShopResponse.model_validate_json(done.out)
    assert response.received == {"limit": 7, "tags": ["a"], "conversation": "c1"}
    assert response.variant
    assert response.milliseconds > 0
    assert set(response.attribution) == {"text"}


def test_ask_by_path_is_for_people_without_json(call, built):
    done = call("ask", json.loads(built.out)["bundle"], "what a clear sky")
    assert done.code == 0
    assert done.out.startswith("It is ")
    assert "confidence" in done.out
    assert "clear sky (document" in done.out
    assert done.err == ""


@pytest.mark.usefixtures("home")
def test_ask_takes_every_subset(call, tmp_path):
    picture, sound = write_picture(tmp_path / "a.png", "red"), write_sound(tmp_path / "a.wav", "red")
    done = call("ask", "shop", "--image", picture, "--audio", sound, "--json")
    assert set(json.loads(done.out)["attribution"]) == {"image", "audio"}


@pytest.mark.usefixtures("home")
def test_ask_reads_the_words_from_standard_input(call):
    assert call("ask", "shop", "-", "--json", stdin="what a clear sky\n").code == 0


@pytest.mark.usefixtures("home")
def test_a_verticals_own_script_asks_its_bundle(spawn, built):
    out, err = spawn("ask", "hello", "--json", program="/bin/triptych-shop", home=built.home).communicate()
    assert json.loads(out)["answer"].startswith("It is "), err


@pytest.mark.usefixtures("home")
def test_chat_answers_the_lines_of_a_file_in_one_conversation(call, tmp_path):
    picture = write_picture(tmp_path / "a.png", "red")
    done = call("chat", "shop", "--json", stdin=f"hello\n/image {picture}\nlook\n")
    first, second = (json.loads(line) for line in done.out.splitlines())
    assert first["conversation"] == second["conversation"]
    assert set(second["attribution"]) == {"text", "image"}


@pytest.mark.usefixtures("home")
def test_evaluate_measures_and_lists_what_it_skipped(call, tmp_path):
    table = write_table(tmp_path, rows=30)
    with table.open("a", encoding="utf-8") as file:
        file.write("m99,look,nowhere.png,,red\n")
    done = call("evaluate", "shop", "--data", table, "--json")
    outcome = EvaluateOutcome.model_validate_json(done.out, strict=True)
    assert 0 <= outcome.metrics["accuracy"] <= 1
    assert [(Path(row.file).name, row.row) for row in outcome.skipped] == [("shop.csv", 31)]
    people = call("evaluate", "shop", "--data", table)
    assert "accuracy" in people.out
    assert "nowhere.png" in people.err


@pytest.mark.usefixtures("home")
def test_info_prints_what_the_manifest_says(call):
    done = call("info", "shop", "--json")
    outcome = InfoOutcome.model_validate_json(done.out, strict=True)
    assert outcome.vertical == "shop"
    assert outcome.size_mb > 0
    assert outcome.config["training"]["epochs"] == 8
    people = call("info", "shop")
    assert "accuracy" in people.out
    assert people.code == 0


def test_rollback_goes_back_to_the_bundle_before(call, built, tmp_path):
    output = tmp_path / "bundle"
    shutil.copytree(json.loads(built.out)["bundle"], output)
    before = (output / "CURRENT").read_text()
    again = ("train", "shop", "--data", write_table(tmp_path / "data"), "--set", "training.epochs=1")
    assert call(*again, "--output", output).code == 0
    assert (output / "CURRENT").read_text() != before
    done = call("rollback", output, "--json")
    outcome = RollbackOutcome.model_validate_json(done.out)
    assert Path(outcome.bundle).name == before.strip()
    assert (output / "CURRENT").read_text() == before
    assert call("rollback", output).code == 4  # there is nothing before it


def test_config_file_environment_and_set_in_this_order(call, tmp_path, monkeypatch):
    (tmp_path / "my.toml").write_text("seed = 1\n[training]\nepochs = 1\n")
    monkeypatch.setenv("TRIPTYCH__SEED", "2")
    done = call(
        "run", "shop", "--config", tmp_path / "my.toml", "--set", "fusion_dim=16", "--output", tmp_path / "b", "--json"
    )
    assert done.code == 0, done.err
    config = json.loads(call("info", tmp_path / "b", "--json").out)["config"]
    assert (config["seed"], config["training"]["epochs"], config["fusion_dim"]) == (2, 1, 16)
