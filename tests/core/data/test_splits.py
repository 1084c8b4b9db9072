"""Splits: nothing in two of them, every label in train, groups whole, no future in train; the same for one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.data.makers import write
from triptych.config import DataConfig
from triptych.data.partition import labels_of, parse_time
from triptych.data.splits import Splits, check_disjoint, load_splits, split_samples
from triptych.errors import ConfigError, DataError
from triptych.types import Sample


def samples_of(labels: list[Any], **metadata: list[Any]) -> list[Sample]:
    return [
        Sample(str(i), text=f"text {i}", target=label, metadata={k: v[i] for k, v in metadata.items()})
        for i, label in enumerate(labels)
    ]


def config(**values: Any) -> DataConfig:
    return DataConfig.model_validate(values)


def ids(splits: Splits) -> dict[str, list[str]]:
    return {name: [s.id for s in samples] for name, samples in splits.items()}


def assert_partition(samples: list[Sample], splits: Splits) -> None:
    found = [s.id for _, part in splits.items() for s in part]
    assert sorted(found) == sorted(s.id for s in samples)
    assert all(part for _, part in splits.items())
    check_disjoint(splits)


texts_and_labels = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 5)), min_size=30, max_size=120
)  # few texts, so that contents repeat


@settings(max_examples=60, deadline=None)
@given(texts_and_labels, st.integers(0, 9))
def test_random_splits_are_a_partition_with_every_label_in_train(pairs: list[tuple[int, int]], seed: int) -> None:
    samples = [Sample(str(i), text=f"t{t}", target=f"label {c}") for i, (t, c) in enumerate(pairs)]
    try:
        splits = split_samples(samples, config(), seed=seed)
    except DataError:  # too few contents that differ to leave one for every split
        assert len({s.text for s in samples}) < 30
        return
    assert_partition(samples, splits)
    assert {s.target for s in splits.train} == {s.target for s in samples}
    assert splits.warnings == ()
    assert ids(splits) == ids(split_samples(samples, config(), seed=seed))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=40, max_size=200), st.integers(0, 9))
def test_shares_hold_in_total_and_for_each_label(labels: list[int], seed: int) -> None:
    samples = samples_of([f"c{label}" for label in labels])
    splits = split_samples(samples, config(test=0.25, validation=0.1), seed=seed)
    assert_partition(samples, splits)
    for share, part in ((0.25, splits.test), (0.1, splits.validation)):
        assert abs(len(part) - share * len(samples)) <= 6  # labels with one example cannot give any
        for label in {s.target for s in samples}:
            number = sum(s.target == label for s in samples)
            assert abs(sum(s.target == label for s in part) - share * number) <= 1


def test_many_labels_with_three_examples_each_still_fill_every_split() -> None:
    splits = split_samples(samples_of([f"c{i % 77}" for i in range(231)]), config(), seed=0)
    assert [len(part) for _, part in splits.items()] == [150, 35, 46]


def test_another_seed_gives_another_split() -> None:
    samples = samples_of(["a", "b"] * 50)
    assert ids(split_samples(samples, config(), seed=1)) != ids(split_samples(samples, config(), seed=2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 6), max_size=3), min_size=30, max_size=90), st.integers(0, 9))
def test_sets_of_labels_leave_each_label_in_train(label_sets: list[set[int]], seed: int) -> None:
    samples = samples_of([tuple(f"c{label}" for label in sorted(labels)) for labels in label_sets])
    splits = split_samples(samples, config(), seed=seed)
    assert_partition(samples, splits)
    everywhere = {label for s in samples for label in labels_of(s)}
    assert {label for s in splits.train for label in labels_of(s)} == everywhere


def test_numbers_are_spread_by_their_size() -> None:
    splits = split_samples(samples_of([float(i) for i in range(200)]), config(), seed=0)
    for _, part in splits.items():
        assert sum(s.target for s in part) / len(part) == pytest.approx(99.5, abs=8)


def test_samples_without_targets_can_be_split() -> None:
    assert [len(p) for _, p in split_samples(samples_of([None] * 20), config(), seed=0).items()] == [13, 3, 4]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2)), min_size=40, max_size=120), st.integers(0, 9))
def test_groups_stay_whole(pairs: list[tuple[int, int]], seed: int) -> None:
    samples = samples_of([f"c{label}" for _, label in pairs], group=[f"g{group}" for group, _ in pairs])
    for settings_ in ({"split": "group"}, {"split": "stratified"}):
        try:
            splits = split_samples(samples, config(columns={"group": "g"}, **settings_), seed=seed)
        except DataError:  # train needs every group to have all labels
            return
        assert_partition(samples, splits)
        homes = [{s.metadata["group"] for s in part} for _, part in splits.items()]
        assert sum(map(len, homes)) == len(set.union(*homes))
        assert {s.target for s in splits.train} == {s.target for s in samples}


def test_groups_that_share_a_content_stay_together() -> None:
    samples = [
        s.replace(text="same") if s.id in "159" else s for s in samples_of(["a", "b"] * 20, group=list(range(40)))
    ]
    splits = split_samples(samples, config(columns={"group": "g"}), seed=3)
    assert_partition(samples, splits)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=5, max_size=80))
def test_time_never_runs_backwards(days: list[int]) -> None:
    samples = samples_of(["a"] * len(days), time=days)
    wanted = config(split="time", columns={"time": "t"})
    if len(set(days)) < 3:
        with pytest.raises(DataError, match="different times are too few"):
            split_samples(samples, wanted, seed=0)
        return
    splits = split_samples(samples, wanted, seed=0)
    assert_partition(samples, splits)
    train, validation, test = ([s.metadata["time"] for s in part] for _, part in splits.items())
    assert max(train) < min(validation)
    assert max(validation) < min(test)


def test_times_may_be_dates_with_and_without_zone() -> None:
    assert parse_time("2024-01-01") == parse_time("2024-01-01T00:00:00Z") == parse_time("2024-01-01 01:00:00+01:00")
    assert parse_time("0200-03-13") < parse_time("1999-12-31") < parse_time("2024-01-01")
    assert parse_time(" 17.5 ") == parse_time(17.5) == 17.5


def test_a_content_that_time_tears_apart_leaves_train() -> None:
    samples = [
        s.replace(text="same") if s.id in ("0", "99") else s for s in samples_of(["a"] * 100, time=list(range(100)))
    ]
    splits = split_samples(samples, config(split="time", columns={"time": "t"}), seed=0)
    assert "0" not in {s.id for s in splits.train}
    assert "99" in {s.id for s in splits.test}
    assert splits.warnings == ("1 of 65 train samples were left out: the same content stands in test (1)",)


def test_a_split_column_is_respected_and_what_it_lacks_comes_from_train() -> None:
    samples = samples_of(["a", "b"] * 20, split=["train"] * 30 + ["test"] * 10)
    splits = split_samples(samples, config(columns={"split": "s"}), seed=0)
    assert [s.id for s in splits.test] == [str(i) for i in range(30, 40)]
    assert (len(splits.train), len(splits.validation)) == (26, 4)


@pytest.mark.parametrize(
    ("given", "left", "warning"),
    [
        ("train train test", ["1"], "1 of 2 train samples were left out: the same content stands in test (1)"),
        (
            "validation train test",
            ["1"],
            "1 of 2 validation samples were left out: the same content stands in test (1)",
        ),
        (
            "train train validation",
            ["1"],
            "1 of 2 train samples were left out: the same content stands in validation (1)",
        ),
    ],
)
def test_duplicates_across_given_splits_are_left_out_and_counted(given: str, left: list[str], warning: str) -> None:
    texts = ["same", "one", "same", "two", "three"]
    names = [*given.split(), "validation", "test"]
    samples = [
        Sample(str(i), text=t, target="a", metadata={"split": n})
        for i, (t, n) in enumerate(zip(texts, names, strict=True))
    ]
    splits = split_samples(samples, config(columns={"split": "s"}), seed=0)
    assert [s.id for s in splits.train] == left
    assert warning in splits.warnings
    check_disjoint(splits)


def test_torn_groups_and_unseen_labels_of_given_splits_are_warned_of() -> None:
    names = ["train", "train", "validation", "test"]
    samples = samples_of(["a", "b", "a", "c"], split=names, group=["g", "h", "h", "g"])
    splits = split_samples(samples, config(columns={"split": "s", "group": "g"}), seed=0)
    assert splits.warnings == (
        "2 groups stand in more than one split: g, h",
        "1 test samples have labels that train lacks: c",
    )


def test_separate_files_are_read_and_told_apart(tmp_path: Path) -> None:
    main = "text,label\n" + "".join(f"main {i},{'ab'[i % 2]}\n" for i in range(20))
    write(tmp_path / "train.csv", main)
    write(tmp_path / "test.csv", "text,label\nmain 3,b\ntested,a\n")
    paths = {"path": str(tmp_path / "train.csv"), "test_path": str(tmp_path / "test.csv")}
    splits, datasets = load_splits(config(**paths), seed=0)
    assert [s.id for s in splits.test] == ["test:1", "test:2"]
    assert len(splits.train) + len(splits.validation) == 19
    assert splits.warnings == ("1 of 20 train samples were left out: the same content stands in test (1)",)
    assert [d.source for d in datasets] == [paths["path"], paths["test_path"]]


def test_one_id_for_two_contents_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,text,label\n1,x,a\n2,y,b\n")
    write(tmp_path / "b.csv", "id,text,label\n1,z,a\n")
    paths = {"path": str(tmp_path / "a.csv"), "test_path": str(tmp_path / "b.csv"), "columns": {"id": "id"}}
    with pytest.raises(DataError, match=r"id '1' stands in train and in test for different samples.*data\.columns\.id"):
        load_splits(config(**paths), seed=0)


@pytest.mark.parametrize(
    ("second", "what"), [(Sample("1", text="y"), "the id"), (Sample("2", text="x"), "the content")]
)
def test_check_disjoint_finds_ids_and_contents(second: Sample, what: str) -> None:
    with pytest.raises(DataError, match=what):
        check_disjoint(Splits([Sample("1", text="x")], [], [second]))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"split": "time"}, r"data\.columns\.time"),
        ({"split": "group"}, r"data\.columns\.group"),
        ({"split": "time", "columns": {"time": "t", "group": "g"}}, "tears groups apart"),
        ({"validation": 0.5, "test": 0.5}, "nothing for training"),
    ],
)
def test_settings_that_cannot_hold_are_refused(values: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        split_samples(samples_of(["a", "b"] * 10), config(**values), seed=0)


@pytest.mark.parametrize("labels", [["a"], ["a", "b"], ["a", "b", "c", "d"]])
def test_too_few_samples_are_refused(labels: list[str]) -> None:
    with pytest.raises(DataError, match="stays empty"):
        split_samples(samples_of(labels), config(), seed=0)


def test_groups_that_are_labels_cannot_be_split() -> None:
    samples = samples_of(["a", "b", "c"] * 5, group=["a", "b", "c"] * 5)
    with pytest.raises(DataError, match="every label once"):
        split_samples(samples, config(split="group", columns={"group": "g"}), seed=0)


def test_samples_made_by_hand_must_say_their_split_and_time() -> None:
    with pytest.raises(DataError, match="none of train, validation, test"):
        split_samples(samples_of(["a"] * 9), config(columns={"split": "s"}), seed=0)
    with pytest.raises(DataError, match="time"):
        split_samples(samples_of(["a"] * 9), config(split="time", columns={"time": "t"}), seed=0)
