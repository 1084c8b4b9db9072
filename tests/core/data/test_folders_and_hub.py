"""Folders of media, and data sets of the hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.core.data.makers import picture, picture_bytes, sound, write
from tests.core.data.test_tables import load
from triptych.config import DataConfig
from triptych.data.splits import load_splits
from triptych.errors import DataError, MissingError


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png")
    picture(tmp_path / "dog" / "deep" / "1.JPG".lower())
    sound(tmp_path / "dog" / "2.wav")
    picture(tmp_path / ".hidden" / "1.png")
    found = [(s.id, s.modalities, s.target) for s in load(tmp_path).samples]
    assert found == [
        ("cat/1.png", ("image",), "cat"),
        ("dog/2.wav", ("audio",), "dog"),
        ("dog/deep/1.jpg", ("image",), "dog"),
    ]


def test_files_of_one_stem_are_one_sample(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "a" / "1.webp")
    sound(tmp_path / "a" / "1.wav")
    write(tmp_path / "a" / "1.txt", "a voice and a picture")
    first, second = load(tmp_path).samples
    assert first.modalities == ("text", "image", "audio")
    assert (second.id, second.modalities) == ("a/1.webp", ("image",))


def test_a_flat_folder_has_no_targets(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    assert load(tmp_path, require_target=False).samples[0].target is None
    with pytest.raises(DataError, match="for the target"):
        load(tmp_path)


def test_train_and_test_folders_are_respected(tmp_path: Path) -> None:
    for split, label, number in [("train", a, i) for a in "xy" for i in range(6)] + [("test", a, 9) for a in "xy"]:
        picture(tmp_path / split / label / f"{label}{number}.png")
    splits, (dataset,) = load_splits(DataConfig(path=str(tmp_path)), seed=1)
    assert dataset.given_split
    assert sorted(s.id for s in splits.test) == ["test/x/x9.png", "test/y/y9.png"]
    assert {s.target for s in splits.train} == {"x", "y"}
    assert len(splits.train) + len(splits.validation) == 12


def test_files_of_other_kinds_are_reported(tmp_path: Path) -> None:
    for i in range(9):
        picture(tmp_path / "a" / f"{i}.png")
    write(tmp_path / "a" / "notes.docx", "x")
    (skipped,) = load(tmp_path).skipped
    assert "a/notes.docx" in skipped.reason


def test_text_that_is_not_utf_8_is_a_bad_row(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.txt", "fine")
    (tmp_path / "a" / "2.txt").write_bytes(b"\xff\xfe\xfd")
    assert "2.txt" in load(tmp_path, max_skipped=0.5).skipped[0].reason


def test_a_folder_without_media_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder is empty"):
        load(tmp_path)
    write(tmp_path / "d.csv", "text,label\n")
    with pytest.raises(DataError, match=r"give .*d\.csv"):
        load(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "none", format="folder")
    with pytest.raises(DataError, match="not a folder"):
        load(tmp_path / "d.csv", format="folder")


def test_a_hub_data_set_keeps_its_splits_labels_and_media(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def part(*rows: tuple[str, int]) -> Any:
        features = datasets.Features(
            {
                "text": datasets.Value("string"),
                "image": datasets.Image(),
                "label": datasets.ClassLabel(names=["no", "yes"]),
            }
        )
        columns = {"text": [r[0] for r in rows], "image": [{"bytes": picture_bytes(), "path": None}] * len(rows)}
        return datasets.Dataset.from_dict({**columns, "label": [r[1] for r in rows]}, features=features)

    parts = datasets.DatasetDict(train=part(("a", 0), ("b", 1), ("c", -1)), test=part(("d", 1)))

    def fake(name: str, split: str | None) -> Any:
        assert name == "owner/name"
        return parts[split] if split else parts

    monkeypatch.setattr(datasets, "load_dataset", fake)
    dataset = load(Path("hub:owner/name"), max_skipped=0.5)
    assert [(s.text, s.target, s.metadata["split"]) for s in dataset.samples] == [
        ("a", "no", "train"),
        ("b", "yes", "train"),
        ("d", "yes", "test"),
    ]
    assert isinstance(dataset.samples[0].image, bytes)
    assert "no target" in dataset.skipped[0].reason
    assert not load(Path("hub:owner/name:test")).given_split


def test_a_hub_that_cannot_be_reached_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def offline(name: str, split: str | None) -> Any:
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(MissingError, match=r"hub:owner/name.*ConnectionError.*CSV"):
        load(Path("hub:owner/name"))


def test_the_hub_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingError, match=r"triptych\[hub\]"):
        load(Path("hub:owner/name"))


def test_a_hub_name_must_have_a_name() -> None:
    with pytest.raises(DataError, match="hub:owner/name"):
        load(Path("hub:"))
