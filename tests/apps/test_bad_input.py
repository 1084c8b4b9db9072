"""What users get wrong: a clear message, the right exit code, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.apps.conftest import Built, Call, Done
from tests.apps.shop import write_picture, write_sound, write_table

HEADER = "text,label\n"


def rows(*labels: str, times: int = 20) -> str:
    return HEADER + "".join(f"message {i} about {label},{label}\n" for i in range(times) for label in labels)


def table(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def truncated(folder: Path) -> Path:
    whole = write_picture(folder / "whole.jpg", "red", (400, 400)).read_bytes()
    path = folder / "half.jpg"
    path.write_bytes(whole[: len(whole) // 2])
    return path


def huge(folder: Path) -> Path:
    from PIL import Image

    path = folder / "huge.png"
    Image.new("1", (10_000, 5_000)).save(path)
    return path


def silent(folder: Path) -> Path:
    return write_sound(folder / "silent.wav", "red", seconds=0.0)


DATA: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], tuple[str, ...]]] = {
    # name: what makes the file, further arguments, what the message must have
    "missing file": (lambda folder: folder / "nowhere.csv", (), ("nowhere.csv",)),
    "missing file called like a number": (lambda _: Path("7"), (), ("7",)),
    "empty file": (lambda folder: table(folder, ""), (), ("data.csv", "empty")),
    "header only": (lambda folder: table(folder, HEADER), (), ("data.csv",)),
    "unknown column": (
        lambda folder: table(folder, rows("a", "b")),
        ("--set", "data.columns.target=lable"),
        ("data.csv", "lable", "label"),
    ),
    "wrong encoding": (
        lambda folder: table(folder, (HEADER + "zurück,a\n" * 40).encode("latin-1")),
        (),
        ("data.csv", "UTF-8"),
    ),
    "another wrong encoding": (
        lambda folder: table(folder, rows("a", "b").encode("utf-16")),
        (),
        ("data.csv", "UTF-8"),
    ),
    "one label only": (lambda folder: table(folder, rows("a")), (), ("'a'", "label")),
    "a label with one example": (
        lambda folder: table(folder, rows("a", "b") + "only one,rare\n"),
        (),
        ("'rare'",),
    ),
    "a picture that is cut": (
        lambda folder: table(folder, f"text,image,label\nlook,{truncated(folder)},a\n" + "hello,,b\nhi,,a\n" * 20),
        ("--set", "data.on_error=fail"),
        ("half.jpg", "row 1"),
    ),
    "a sound of no length": (
        lambda folder: table(folder, f"text,audio,label\nlook,{silent(folder)},a\n" + "hello,,b\nhi,,a\n" * 20),
        ("--set", "data.on_error=fail"),
        ("silent.wav", "row 1"),
    ),
    "a picture of 50 megapixels": (
        lambda folder: table(folder, f"text,image,label\nlook,{huge(folder)},a\n" + "hello,,b\nhi,,a\n" * 20),
        ("--set", "data.on_error=fail"),
        ("huge.png", "row 1"),
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_cannot_be_used(call: Call, tmp_path: Path, name: str):
    make, more, expected = DATA[name]
    output = tmp_path / "bundle"
    done = call("train", "shop", "--data", make(tmp_path), "--output", output, "--json", *more)
    assert_told(done, 3, *expected)
    assert not output.exists()


def test_a_few_bad_rows_are_skipped_and_told(call, tmp_path):
    path = write_table(tmp_path)
    truncated(tmp_path)
    with path.open("a", encoding="utf-8") as file:
        file.write("m98,look,half.jpg,,red\n")
    done = call("train", "shop", "--data", path, "--output", tmp_path / "b", "--set", "training.epochs=1", "--json")
    assert done.code == 0, done.err
    assert any("skipped" in warning for warning in json.loads(done.out)["warnings"])


REQUESTS: dict[str, tuple[Callable[[Path], tuple[object, ...]], tuple[str, ...]]] = {
    "a picture that is not there": (lambda folder: ("--image", folder / "no.png"), ("no.png",)),
    "a picture that is cut": (lambda folder: ("--image", truncated(folder)), ("half.jpg",)),
    "a picture of 50 megapixels": (lambda folder: ("--image", huge(folder)), ("huge.png", "pixels")),
    "a picture that is a table": (lambda folder: ("--image", table(folder, HEADER)), ("data.csv",)),
    "a sound of no length": (lambda folder: ("--audio", silent(folder)), ("silent.wav",)),
    "a folder for a sound": (lambda folder: ("--audio", folder), ("folder",)),
    "blanks only": (lambda folder: ("  ",), ("empty",)),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_that_cannot_be_read(call: Call, built: Built, tmp_path: Path, name: str):
    make, expected = REQUESTS[name]
    done = call("ask", json.loads(built.out)["bundle"], *make(tmp_path), "--json")
    assert_told(done, 3, *expected)


def test_an_unknown_key_is_answered_with_the_nearest_and_all_problems_at_once(call, tmp_path):
    done = call(
        "run",
        "shop",
        "--set",
        "training.epoch=3",
        "--set",
        "sed=1",
        "--set",
        "dropout=7",
        "--output",
        tmp_path / "b",
        "--json",
    )
    assert_told(done, 2, "'training.epochs'", "'seed'", "dropout")
    assert not (tmp_path / "b").exists()


def test_a_key_of_the_vertical_that_is_unknown(call, tmp_path):
    done = call("run", "shop", "--set", "vertical.greting=Hi", "--output", tmp_path / "b", "--json")
    assert_told(done, 2, "'vertical.greeting'")


def test_a_config_that_is_not_there(call):
    assert_told(call("run", "shop", "--config", "nowhere.toml", "--json"), 2, "nowhere.toml")


def test_a_device_that_is_not_there(call):
    assert_told(call("run", "shop", "--device", "abacus", "--json"), 2, "abacus", "cpu")


@pytest.fixture
def copy(built: Built, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may spoil."""
    return Path(shutil.copytree(json.loads(built.out)["bundle"], tmp_path / "copy"))


def version_of(bundle: Path) -> Path:
    return bundle / "versions" / (bundle / "CURRENT").read_text().strip()


COMMANDS = [("info",), ("ask", "hello"), ("evaluate", "--data", "x.csv")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_weights_that_were_changed(call, copy, command):
    weights = next(version_of(copy).rglob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert_told(call(command[0], copy, *command[1:], "--json"), 4, weights.name, "hash")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_folder_that_is_no_bundle(call, tmp_path, command):
    (tmp_path / "photos").mkdir()
    assert_told(call(command[0], tmp_path / "photos", *command[1:], "--json"), 4, "photos", "not a Triptych bundle")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_manifest_that_is_cut(call, copy, command):
    manifest = version_of(copy) / "manifest.json"
    manifest.write_text(manifest.read_text()[:100])
    assert_told(call(command[0], copy, *command[1:], "--json"), 4, "manifest.json")


def test_a_bundle_of_a_vertical_that_is_not_installed(call, copy, plugin_folder, monkeypatch):
    import sys

    from triptych.host import default_host

    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(plugin_folder)])
    default_host.cache_clear()
    assert_told(call("ask", copy, "hello", "--json"), 2, "'shop'")


def test_a_folder_with_other_files_is_no_place_for_a_bundle(call, tmp_path):
    (tmp_path / "thesis.tex").touch()
    assert_told(call("run", "shop", "--output", tmp_path, "--json"), 4, "thesis.tex", "--output")
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_no_bundle_yet_names_the_command_that_builds_one(call):
    assert_told(call("ask", "shop", "hello", "--json"), 4, "triptych run shop")


def assert_told(done: Done, code: int, *expected: str) -> None:
    """One message, on standard error and as JSON, without a traceback."""
    assert done.code == code, done.err
    error = json.loads(done.out)["error"]
    assert error["exit_code"] == code
    for words in expected:
        assert words in error["message"]
        assert words in done.err
    assert "Traceback" not in done.err
