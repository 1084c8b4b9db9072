"""Which column is what, and what a cell means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.core.data.makers import write
from tests.core.data.test_tables import load
from triptych.config import Columns
from triptych.errors import ConfigError, DataError


def rows(path: Path, *values: dict[str, Any]) -> Path:
    return write(path / "d.jsonl", "\n".join(json.dumps(v) for v in values))


def targets(path: Path, kind: Any, *cells: Any, **columns: Any) -> list[Any]:
    return [
        s.target for s in load(rows(path, *({"text": "t", "label": c} for c in cells)), kind, columns=columns).samples
    ]


def test_named_columns_are_used(tmp_path: Path) -> None:
    path = rows(tmp_path, {"key": "k1", "body": "hi", "intent": "greet", "who": 7, "when": "2024-01-02", "part": "dev"})
    columns = {"id": "key", "text": "body", "target": "intent", "group": "who", "time": "when", "split": "part"}
    (sample,) = load(path, columns=columns).samples
    assert (sample.id, sample.text, sample.target) == ("k1", "hi", "greet")
    assert sample.metadata == {"group": "7", "time": "2024-01-02", "split": "validation"}


def test_a_column_that_the_user_named_must_be_there(tmp_path: Path) -> None:
    path = rows(tmp_path, {"Text": "a", "label": "b"})
    with pytest.raises(
        DataError, match=r"'txt', as data\.columns\.text says\. Did you mean 'Text'\? Columns: Text, label"
    ):
        load(path, columns={"text": "txt"})


def test_a_default_column_may_be_absent(tmp_path: Path) -> None:
    assert load(rows(tmp_path, {"text": "a", "label": "b"})).samples[0].modalities == ("text",)


def test_a_config_that_was_saved_whole_asks_for_no_more_than_before(tmp_path: Path) -> None:
    path = rows(tmp_path, {"text": "a", "label": "b"})
    assert load(path, columns=Columns.model_validate(Columns().model_dump()).model_dump()).samples[0].text == "a"


def test_without_any_modality_the_columns_are_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.columns\.text.*Columns: body, label"):
        load(rows(tmp_path, {"body": "a", "label": "b"}))


def test_without_a_target_the_columns_are_listed_unless_none_is_needed(tmp_path: Path) -> None:
    path = rows(tmp_path, {"text": "a", "labels": "b"})
    with pytest.raises(DataError, match=r"'label' for the target.*Did you mean 'labels'\? Columns: text, labels"):
        load(path)
    assert load(path, require_target=False).samples[0].target is None
    assert load(path, require_target=False, columns={"target": "intent"}).samples[0].target is None


def test_feature_columns_become_one_vector_in_the_order_of_the_table(tmp_path: Path) -> None:
    table = "a2,a1,text,label,b\n2,1,hi,x,3\n,,bye,y,\n"
    dataset = load(write(tmp_path / "d.csv", table), columns={"features": {"audio": ["a*"], "image": ["b"]}})
    first, second = dataset.samples
    assert first.audio.tolist() == [2, 1]
    assert first.audio.dtype == np.float32
    assert first.image.tolist() == [3]
    assert second.modalities == ("text",)
    assert first.metadata == {}


@pytest.mark.parametrize("cell", ["", "nan", "inf", "1e99", "loud"])
def test_a_feature_that_is_no_finite_number_is_a_bad_row(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path / "d.csv", f"a1,a2,label\n1,{cell},x\n")
    with pytest.raises(DataError, match="row 1: feature a2"):
        load(path, columns={"features": {"audio": ["a?"]}}, on_error="fail")


def test_vectors_of_unlike_length_are_bad_rows(tmp_path: Path) -> None:
    path = rows(tmp_path, {"audio": [1, 2], "label": "x"}, {"audio": [1], "label": "x"})
    with pytest.raises(DataError, match="row 2: the audio vector has 1 numbers where earlier rows have 2"):
        load(path, on_error="fail")


def test_features_and_a_named_column_for_one_modality_contradict(tmp_path: Path) -> None:
    path = rows(tmp_path, {"audio": "s.wav", "sound": "t.wav", "a1": 1, "label": "x"})
    with pytest.raises(ConfigError, match=r"data\.columns\.audio and data\.columns\.features\.audio"):
        load(path, columns={"audio": "sound", "features": {"audio": ["a1"]}})
    assert load(path, columns={"features": {"audio": ["a1"]}}).samples[0].audio.tolist() == [1]


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'z\*', as data\.columns\.features\.audio"):
        load(rows(tmp_path, {"text": "a", "label": "b"}), columns={"features": {"audio": ["z*"]}})


def test_labels_are_text_and_whole_floats_lose_their_point(tmp_path: Path) -> None:
    assert targets(tmp_path, "label", " a ", 1, 1.0, 1.5, True) == ["a", "1", "1", "1.5", "True"]


def test_several_labels_come_as_a_list_or_in_one_cell(tmp_path: Path) -> None:
    assert targets(tmp_path, "labels", ["a", "b", "a"], [], "c") == [("a", "b"), (), ("c",)]
    assert targets(tmp_path, "labels", "a | b|", target_separator="|") == [("a", "b")]


def test_numbers_are_finite_floats(tmp_path: Path) -> None:
    assert targets(tmp_path, "number", 1, "2.5", -3e2) == [1.0, 2.5, -300.0]


@pytest.mark.parametrize(
    ("kind", "cell", "columns"),
    [
        ("label", ["a", "b"], {}),
        ("label", "a|b", {"target_separator": "|"}),
        ("number", "many", {}),
        ("number", "inf", {}),
        ("number", [1], {}),
    ],
)
def test_a_target_of_the_wrong_kind_is_a_bad_row(tmp_path: Path, kind: Any, cell: Any, columns: Any) -> None:
    with pytest.raises(DataError, match="row 1: the target"):
        load(rows(tmp_path, {"text": "t", "label": cell}), kind, columns=columns, on_error="fail")


@pytest.mark.parametrize(
    ("columns", "row", "reason"),
    [
        ({"id": "i"}, {"i": ""}, "no id"),
        ({"group": "i"}, {"i": None}, "no group"),
        ({"time": "i"}, {"i": "tomorrow"}, "neither ISO 8601 nor a number"),
        ({"split": "i"}, {"i": "some"}, "none of train, validation, test"),
    ],
)
def test_what_the_split_needs_must_be_in_every_row(tmp_path: Path, columns: Any, row: Any, reason: str) -> None:
    with pytest.raises(DataError, match=f"row 1: .*{reason}"):
        load(rows(tmp_path, {"text": "t", "label": "a", **row}), columns=columns, on_error="fail")


def test_an_id_that_was_used_is_a_bad_row(tmp_path: Path) -> None:
    path = rows(tmp_path, *({"text": f"t{i}", "label": "a", "id": i % 3} for i in range(4)))
    dataset = load(path, columns={"id": "id"}, max_skipped=0.3)
    assert dataset.skipped[0].reason == "the id '0' was already used in row 1"


def test_metadata_is_json(tmp_path: Path) -> None:
    odd = {"n": None, "f": float("nan"), "deep": {"x": [1, "y"]}, "flag": True}
    (sample,) = load(rows(tmp_path, {"text": "t", "label": "a", **odd})).samples
    assert sample.metadata == {"n": None, "f": None, "deep": {"x": [1, "y"]}, "flag": True}
