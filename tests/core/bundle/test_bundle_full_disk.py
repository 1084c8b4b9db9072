"""A disk that fills is explained, and the bundle that was there stays."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from pathlib import Path

import pytest

from triptych.bundle import BundleWriter, Manifest, open_bundle
from triptych.errors import MissingError

from .conftest import Build


def test_a_full_disk_while_writing_is_explained(tmp_path: Path, output: Path, build: Build) -> None:
    version = build()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write_too_much() -> None:
        with BundleWriter(output, tmp_path / "work") as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
            try:
                (writer.path / "model.safetensors").write_bytes(bytes(2_000_000))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.raises(MissingError, match=r"needs at least [\d.,]+ MB, [\d.,]+ MB are free") as caught:
        write_too_much()
    assert caught.value.exit_code == 6
    assert open_bundle(output).path == version
    assert list((tmp_path / "work").iterdir()) == []


def test_a_library_that_words_the_full_disk_its_own_way_is_understood(tmp_path: Path, output: Path) -> None:
    with pytest.raises(MissingError, match="no disk space"), BundleWriter(output, tmp_path / "work"):
        raise RuntimeError('IoError(Os { code: 28, message: "No space left on device" })')
    assert not output.exists()


@pytest.mark.parametrize("place", ["sync_tree", "os.rename", "sync", "os.replace"])
@pytest.mark.parametrize("first", [True, False])
def test_a_disk_that_fills_during_the_commit_leaves_the_bundle(
    place: str, first: bool, tmp_path: Path, output: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = None if first else build()

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with BundleWriter(output, tmp_path / "work") as writer, monkeypatch.context() as patch:
        (writer.path / "a.json").write_text("{}")
        patch.setattr(f"triptych.bundle.writer.{place}" if "sync" in place else place, full)
        with pytest.raises(MissingError):
            writer.commit(Manifest(vertical="florist"))
    if version is None:
        assert not output.exists() or os.listdir(output) == []
    else:
        assert open_bundle(output).path == version
        assert sorted(os.listdir(output)) == ["CURRENT", "versions"]
        assert os.listdir(output / "versions") == [version.name]


@pytest.fixture
def other_file_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if the workspace were on another file system than the output."""
    rename = os.rename

    def refuse(source: str | Path, target: str | Path) -> None:
        if Path(source).is_relative_to(tmp_path / "work"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)


def test_a_workspace_elsewhere_is_copied(other_file_system: None, build: Build, output: Path) -> None:
    version = build()
    assert open_bundle(output).path == version
    assert [p.name for p in (output / "versions").iterdir()] == [version.name]


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_copy_that_finds_no_space_leaves_the_bundle(
    when: str, other_file_system: None, build: Build, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = build()
    if when == "before":
        usage = shutil.disk_usage(output)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3))
    else:

        def full(source: Path, target: Path) -> None:
            target.mkdir()
            (target / "half").write_text("x")
            raise shutil.Error([(str(source), str(target), "[Errno 28] No space left on device")])

        monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(MissingError, match="no disk space"):
        build("two")
    assert open_bundle(output).path == version
    assert os.listdir(output / "versions") == [version.name]
