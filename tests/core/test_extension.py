"""A vertical that gives another table than its users do, puts files into the bundle, and answers without content."""

from __future__ import annotations

import os

import pytest

from tests.core.shelf import SHELF_CONFIG, Shelf, shelf_host
from tests.core.toy import WORDS
from triptych.config import CompressionConfig, load_config
from triptych.pipeline import RunResult, evaluate, run
from triptych.predictor import Predictor, load
from triptych.recompress import compress
from triptych.testing.verticals import check_vertical


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    output = tmp_path_factory.mktemp("shelf") / "bundle"
    os.environ["TRIPTYCH_HOME"] = str(tmp_path_factory.mktemp("home"))
    return run("shelf", load_config(SHELF_CONFIG), output=output, host=shelf_host())


@pytest.fixture(scope="module")
def predictor(built: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load(built.bundle, host=shelf_host(), state=tmp_path_factory.mktemp("state"))


def test_the_table_is_the_verticals_and_what_it_measured_is_in_the_manifest(built):
    assert built.metrics["test"]["recall_at_1"] > 0.8
    assert built.metrics["vertical"] == {"colours": 3, "data": "samples"}


def test_its_files_belong_to_the_bundle(built, predictor):
    assert "vertical/colours.json" in predictor.bundle.manifest.files
    assert predictor.files == predictor.bundle.path / "vertical"


@pytest.mark.parametrize("colour", WORDS)
def test_the_answer_comes_from_its_files_and_the_heads_vector(predictor, colour):
    assert predictor.answer(text=WORDS[colour]).answer == colour


def test_requests_without_content_are_answered_where_the_vertical_can(predictor):
    mixed = [predictor.request(text=WORDS["blue"]), predictor.request(), predictor.request(text=WORDS["green"])]
    answers = predictor.answer_batch(mixed)
    assert [a.answer for a in answers] == ["blue", "red", "green"]
    assert [bool(a.variant) for a in answers] == [True, False, True]


def test_evaluation_makes_the_same_table(predictor, tmp_path):
    metrics, dataset = evaluate(predictor, str(Shelf().sample_data(tmp_path)))
    assert len(dataset.samples) == 90
    assert metrics["recall_at_1"] > 0.8


def test_another_variant_in_service_extends_the_bundle_anew(built):
    before = load(built.bundle, host=shelf_host())
    settings = CompressionConfig(max_drop=100, chains=["onnx"], memory=False, cascade=False)
    result = compress(built.bundle, settings, host=shelf_host())
    after = load(built.bundle, host=shelf_host())
    assert result.metrics["vertical"] == {"colours": 3, "data": "samples"}
    assert after.files != before.files
    assert (after.files / "colours.json").is_file()


def test_it_keeps_the_promises_of_a_vertical(predictor, tmp_path):
    check_vertical(Shelf(), tmp_path, files=predictor.files, dim=32)
