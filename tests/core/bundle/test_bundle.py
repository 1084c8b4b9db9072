"""A bundle is written whole, opened only when it is whole, and rolled back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from triptych.bundle import BundleWriter, Manifest, bundles_home, check_output, open_bundle, resolve_bundle, rollback
from triptych.bundle.files import PICKLED_SUFFIXES
from triptych.errors import BundleError

from .conftest import Build


def test_what_was_written_is_opened(build: Build, output: Path) -> None:
    version = build()
    bundle = open_bundle(output)
    assert bundle.path == version == open_bundle(version).path
    assert bundle.manifest.vertical == "florist"
    assert bundle.manifest.metrics == {"accuracy": 0.5}
    assert set(bundle.manifest.files) == {"model/model.safetensors", "report.md"}
    assert bundle.file("report.md").read_text() == "# Report"
    assert (output / "CURRENT").read_text().strip() == bundle.version == version.name
    assert bundle.size_mb == pytest.approx(15e-6)
    assert sorted(p.name for p in output.iterdir()) == ["CURRENT", "versions"]


def test_a_copied_version_opens_under_any_name(build: Build, tmp_path: Path) -> None:
    copy = shutil.copytree(build(), tmp_path / "sent by mail")
    assert open_bundle(copy).version == "sent by mail"


def test_a_file_that_is_not_listed_is_an_error(build: Build, output: Path) -> None:
    build()
    with pytest.raises(BundleError, match=r"holds no index/index\.faiss"):
        open_bundle(output).file("index/index.faiss")


def test_two_versions_are_kept_and_sort_by_time(build: Build, output: Path) -> None:
    paths = [build(str(i)) for i in range(4)]
    assert [p.name for p in paths] == sorted(p.name for p in paths)
    assert sorted(p.name for p in (output / "versions").iterdir()) == [p.name for p in paths[-2:]]


def test_ids_grow_even_when_the_clock_went_back(build: Build, output: Path) -> None:
    old = build()
    future = old.rename(old.with_name("29990101T000000000000-00000000"))
    (output / "CURRENT").write_text(future.name)
    assert build().name > future.name


def test_rollback_goes_to_the_version_before(build: Build, output: Path) -> None:
    first, second = build("one"), build("two")
    assert rollback(output) == first
    assert open_bundle(output).path == first
    with pytest.raises(BundleError, match="nothing to go back to"):
        rollback(output)
    third = build("three")  # the version that was left is gone, the one in use before stays
    assert sorted(p.name for p in (output / "versions").iterdir()) == [first.name, third.name]
    assert not second.exists()


def test_rollback_refuses_a_damaged_version(build: Build, output: Path) -> None:
    first, second = build("one"), build("two")
    (first / "report.md").write_text("changed")
    with pytest.raises(BundleError, match=r"report\.md"):
        rollback(output)
    assert open_bundle(output).path == second


def test_rollback_of_a_version_directory_says_what_to_do(build: Build) -> None:
    with pytest.raises(BundleError, match="is one version"):
        rollback(build())


def test_numbers_that_json_lacks_become_null(tmp_path: Path, output: Path) -> None:
    with BundleWriter(output, tmp_path / "work") as writer:
        writer.commit(Manifest(vertical="florist", metrics={"auroc": float("nan")}))
    assert open_bundle(output).manifest.metrics == {"auroc": None}


# What must not open


def _truncate_manifest(version: Path) -> None:
    text = (version / "manifest.json").read_text()
    (version / "manifest.json").write_text(text[: len(text) // 2])


def _edit_manifest(version: Path, **changes: object) -> None:
    content = json.loads((version / "manifest.json").read_text())
    (version / "manifest.json").write_text(json.dumps(content | changes))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed file": (lambda v: (v / "report.md").write_text("# Repost"), r"hash mismatch: report\.md in"),
    "changed weights": (
        lambda v: (v / "model/model.safetensors").write_bytes(b"\0"),
        r"hash mismatch: model/model\.safetensors in",
    ),
    "missing file": (lambda v: (v / "report.md").unlink(), r"lacks report\.md"),
    "extra file": (lambda v: (v / "model" / "notes.txt").write_text("x"), r"holds model/notes\.txt"),
    "extra pickle": (lambda v: (v / "evil.pkl").write_text("x"), r"holds evil\.pkl"),
    "truncated manifest": (_truncate_manifest, "not whole JSON"),
    "empty manifest": (lambda v: (v / "manifest.json").write_text(""), "not whole JSON"),
    "binary manifest": (lambda v: (v / "manifest.json").write_bytes(b"\xff\xfe"), "cannot be read"),
    "manifest without schema": (lambda v: (v / "manifest.json").write_text("[]"), "no schema_version"),
    "edited manifest": (lambda v: _edit_manifest(v, vertical="other"), r"manifest\.json changed"),
    "newer schema": (lambda v: _edit_manifest(v, schema_version=2, new_field=1), "upgrade triptych"),
    "impossible schema": (lambda v: _edit_manifest(v, schema_version=0), "never existed"),
    "unknown key": (lambda v: _edit_manifest(v, surprise=1), "surprise"),
    "missing manifest hash": (lambda v: (v / "manifest.sha256").unlink(), r"manifest\.sha256 is missing"),
    "linked file": (
        lambda v: ((v / "report.md").unlink(), (v / "report.md").symlink_to("/etc/hostname")),
        "symbolic link",
    ),
    "linked folder": (lambda v: (v / "elsewhere").symlink_to("/etc"), "symbolic link"),
    "pipe": (lambda v: os.mkfifo(v / "pipe"), "neither a file"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_bundle_is_refused(name: str, build: Build, output: Path) -> None:
    damage, message = DAMAGE[name]
    damage(build())
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(output)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("listed", ["../outside.txt", "/etc/hostname", "a/../../b", "a\\b", "./report.md", "x.pkl"])
def test_a_manifest_that_lists_what_it_must_not_is_refused(listed: str, build: Build, output: Path) -> None:
    import hashlib

    version = build()
    content = json.loads((version / "manifest.json").read_text())
    content["files"][listed] = "0" * 64
    text = json.dumps(content)
    (version / "manifest.json").write_text(text)
    (version / "manifest.sha256").write_text(hashlib.sha256(text.encode()).hexdigest())
    with pytest.raises(BundleError, match=r"not a plain relative path|pickle"):
        open_bundle(output)


def test_a_missing_path_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"does not exist.*triptych run"):
        open_bundle(tmp_path / "nowhere")


def test_a_foreign_directory_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("x")
    with pytest.raises(BundleError, match="not a Triptych bundle"):
        open_bundle(tmp_path)


def test_a_file_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("x")
    with pytest.raises(BundleError, match="is a file"):
        open_bundle(tmp_path / "a.zip")


@pytest.mark.parametrize("content", ["../../etc", "", "latest", "29990101T000000000000-00000000\nx"])
def test_a_current_that_names_no_version_is_refused(content: str, build: Build, output: Path) -> None:
    build()
    (output / "CURRENT").write_text(content)
    with pytest.raises(BundleError, match="names no version"):
        open_bundle(output)


def test_a_current_that_names_a_lost_version_says_so(build: Build, output: Path) -> None:
    shutil.rmtree(build())
    with pytest.raises(BundleError, match="is missing, though CURRENT names it"):
        open_bundle(output)


def test_an_unfinished_first_run_is_explained(build: Build, output: Path) -> None:
    build()
    (output / "CURRENT").unlink()
    with pytest.raises(BundleError, match="did not finish"):
        open_bundle(output)


def test_versions_behind_a_link_are_refused(build: Build, output: Path, tmp_path: Path) -> None:
    build()
    (output / "versions").rename(tmp_path / "moved")
    (output / "versions").symlink_to(tmp_path / "moved")
    with pytest.raises(BundleError, match="symbolic link"):
        open_bundle(output)


# Writing


@pytest.mark.parametrize("suffix", [*sorted(PICKLED_SUFFIXES), ".PKL"])
def test_a_pickle_is_not_committed(suffix: str, tmp_path: Path, output: Path) -> None:
    with BundleWriter(output, tmp_path / "work") as writer:
        (writer.path / f"model{suffix}").write_text("x")
        with pytest.raises(BundleError, match="pickle"):
            writer.commit(Manifest(vertical="florist"))
    assert not output.exists()


def test_a_link_is_not_committed(tmp_path: Path, output: Path) -> None:
    with BundleWriter(output, tmp_path / "work") as writer:
        (writer.path / "weights.safetensors").symlink_to("/etc/hostname")
        with pytest.raises(BundleError, match="symbolic link"):
            writer.commit(Manifest(vertical="florist"))


@pytest.mark.parametrize("foreign", ["photo.jpg", "versions/photo.jpg"])
def test_a_directory_with_foreign_files_is_refused_and_kept(foreign: str, tmp_path: Path, output: Path) -> None:
    (output / foreign).parent.mkdir(parents=True)
    (output / foreign).write_text("mine")
    with pytest.raises(BundleError, match=r"photo\.jpg.*choose another --output"):
        BundleWriter(output, tmp_path / "work")
    assert (output / foreign).read_text() == "mine"
    assert not (tmp_path / "work").exists()


def test_a_file_as_output_is_refused(tmp_path: Path, output: Path) -> None:
    output.write_text("mine")
    with pytest.raises(BundleError, match="not a directory"):
        check_output(output)


def test_a_workspace_in_the_output_is_removed_with_abandoned_neighbours_but_no_live_one(output: Path) -> None:
    (output / ".work" / "killed" / "bundle").mkdir(parents=True)
    (output / ".work" / "killed" / "features.safetensors").write_text("x")
    with (
        BundleWriter(output, output / ".work" / "live") as live,
        BundleWriter(output, output / ".work" / "run") as writer,
    ):
        (writer.path / "a.json").write_text("{}")
        (writer.workspace / "features.safetensors").write_text("kept while the run lives")
        writer.commit(Manifest(vertical="florist"))
        assert [p.name for p in (output / ".work").iterdir()] == ["live"]
        assert live.path.is_dir()
        live.commit(Manifest(vertical="florist"))
    assert sorted(p.name for p in output.iterdir()) == ["CURRENT", "versions"]
    check_output(output)


def test_a_killed_run_in_the_output_can_be_continued(output: Path) -> None:
    def stopped() -> None:
        with BundleWriter(output, output / ".work" / "run") as writer:
            (writer.workspace / "features.safetensors").write_text("kept for resuming")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    check_output(output)
    with BundleWriter(output, output / ".work" / "run") as writer:
        assert (writer.workspace / "features.safetensors").exists()


def test_nothing_is_left_of_a_run_that_failed(tmp_path: Path, output: Path, build: Build) -> None:
    version = build()

    def fail() -> None:
        with BundleWriter(output, tmp_path / "work") as writer:
            (writer.path / "a.json").write_text("{}")
            raise RuntimeError("training failed")

    with pytest.raises(RuntimeError, match="training failed"):
        fail()
    assert open_bundle(output).path == version
    assert list((tmp_path / "work").iterdir()) == []


def test_leftovers_of_a_killed_run_are_cleaned_and_other_files_of_the_workspace_kept(
    tmp_path: Path, output: Path, build: Build
) -> None:
    build()
    work = tmp_path / "work"
    (work / "bundle").mkdir()
    (work / "bundle" / "stale.json").write_text("{}")
    (work / "features.safetensors").write_text("kept for resuming")
    (output / "versions" / ".removed-20200101T000000000000-00000000").mkdir()
    (output / "versions" / ".incoming-20200101T000000000000-00000000").mkdir()
    (output / "versions" / "20200101T000000000000-00000000").mkdir()
    (output / ".CURRENT.new").write_text("2020")
    version = build("two")
    assert "stale.json" not in open_bundle(output).manifest.files
    assert (work / "features.safetensors").exists()
    names = sorted(p.name for p in (output / "versions").iterdir())
    assert len(names) == 2
    assert names[-1] == version.name
    assert not (output / ".CURRENT.new").exists()


def test_a_live_workspace_is_not_taken(tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.bundle.writer.WORKSPACE_WAIT_S", 0.1)
    with BundleWriter(output, tmp_path / "work") as writer:
        (writer.path / "a.json").write_text("{}")
        with pytest.raises(BundleError, match=f"process {os.getpid()} is building in"):
            BundleWriter(output, tmp_path / "work")
        assert (writer.path / "a.json").exists()
    BundleWriter(output, tmp_path / "work").close()


def test_writers_to_one_output_take_turns(tmp_path: Path, output: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def write(number: int) -> Path:
        with BundleWriter(output, tmp_path / f"work{number}") as writer:
            (writer.path / "a.json").write_text(str(number))
            return writer.commit(Manifest(vertical="florist"))

    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(write, range(8)))
    assert len({p.name for p in paths}) == 8
    assert open_bundle(output).path == max(paths)
    assert len(list((output / "versions").iterdir())) == 2


def test_a_busy_output_is_said_to_be_busy(
    tmp_path: Path, output: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triptych.files import Lock

    version = build()
    monkeypatch.setattr("triptych.bundle.writer.LOCK_WAIT_S", 0.1)
    with Lock(output, taken=""), pytest.raises(BundleError, match=f"process {os.getpid()} is writing to"):
        build("two")
    assert open_bundle(output).path == version


# Finding


def test_a_path_wins_over_a_name(
    build: Build, output: Path, triptych_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    assert bundles_home() == triptych_home / "bundles"
    shutil.copytree(output, bundles_home() / "florist")
    assert resolve_bundle("florist") == bundles_home() / "florist"
    assert open_bundle(resolve_bundle("florist")).manifest.vertical == "florist"
    monkeypatch.chdir(output.parent)
    output.rename("florist")
    assert resolve_bundle("florist") == Path("florist")


def test_a_folder_that_only_has_the_name_of_a_bundle_does_not_hide_it(
    build: Build, output: Path, triptych_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    shutil.copytree(output, bundles_home() / "florist")
    (tmp_path / "elsewhere" / "florist").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert resolve_bundle("florist") == bundles_home() / "florist"


def test_an_unknown_name_lists_what_exists_and_the_command(build: Build, output: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundles in .* yet.*`triptych run florist`"):
        resolve_bundle("florist")
    build()
    shutil.copytree(output, bundles_home() / "baker")
    with pytest.raises(BundleError, match=r"bundles by name: baker.*`triptych run florist`"):
        resolve_bundle("florist")
    with pytest.raises(BundleError, match=r"--output out/florist"):
        resolve_bundle("out/florist")


def test_bundles_need_no_torch() -> None:
    code = "import sys, triptych.bundle; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'faiss')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
