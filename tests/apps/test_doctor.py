"""What `triptych doctor` finds, and what it calls a problem."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from triptych.encoders import minilm
from triptych_apps import checkup
from triptych_apps.outcomes import DoctorOutcome


def test_doctor_prints_the_object_of_its_schema(call, triptych_home):
    done = call("doctor", "--json")
    outcome = DoctorOutcome.model_validate_json(done.out, strict=True)
    assert outcome.home == str(triptych_home)
    assert "cpu" in outcome.devices
    assert {"torch", "click"} <= {package.name for package in outcome.packages}
    assert {"rapidocr", "whisper", "pocketsphinx"} == {reader.name for reader in outcome.readers}
    assert done.code == (6 if outcome.problems else 0)


def test_a_plugin_that_is_broken_is_a_problem(call):
    done = call("doctor", "--json")
    assert any("the shop is shut" in problem for problem in json.loads(done.out)["problems"])
    assert done.code == 6


def test_people_read_what_is_wrong_last(call):
    done = call("doctor")
    assert done.code == 6
    assert "Packages" in done.out
    assert "Weights" in done.out
    assert "All is well." not in done.out
    assert done.err.startswith("error: plugin 'broken'")


def test_packages_of_extras_are_no_problem_when_absent(monkeypatch):
    def version(package: str) -> str | None:
        return None if package == "rapidocr" else "0.0.1" if package == "torch" else "999"

    monkeypatch.setattr(checkup, "_version", version)
    packages = {package.name: package for package in checkup.check_packages()}
    assert packages["rapidocr"].extra == "offline"
    assert packages["rapidocr"].version is None
    assert not packages["torch"].ok
    assert "pytest" not in packages
    disk = checkup._disk(Path("/"))
    problems = checkup._problems(Path("/"), disk, list(packages.values()))
    assert any(problem.startswith("torch") and "0.0.1 is installed" in problem for problem in problems)
    assert not any("rapidocr" in problem for problem in problems)


def test_weights_that_are_not_the_published_ones_are_unusable(monkeypatch):
    if minilm.packaged_minilm(minilm.NAMES[0])[0] is None:
        pytest.skip("the packaged MiniLM is not installed")
    monkeypatch.setattr(minilm, "SHA256", "0" * 64)
    found = checkup._minilm()
    assert found.status == "unusable"
    assert "refused" in found.detail


def test_the_folder_of_weights_is_looked_into(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIPTYCH_WEIGHTS", str(tmp_path))
    assert checkup._folder_of_weights()[0].status == "unusable"
    (tmp_path / "yamnet.safetensors").touch()
    found = checkup._folder_of_weights()[0]
    assert found.status == "ok"
    assert "yamnet.safetensors" in found.detail


def test_little_disk_space_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setattr(checkup, "_LEAST_FREE_MB", 1e12)
    disk = checkup._disk(tmp_path / "not" / "there")
    assert disk.path == str(tmp_path)
    assert any("TRIPTYCH_HOME" in problem for problem in checkup._problems(tmp_path, disk, []))
