"""docs/serving.md is true: its lines of curl work as they stand, and its tables are the code's."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.apps.conftest import ROOT
from tests.apps.server.conftest import Process
from tests.apps.server.test_answers import picture
from tests.apps.shop import write_sound
from triptych_apps.server.metrics import Metrics
from triptych_apps.server.problems import KINDS
from triptych_apps.server.settings import Settings

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
HERE = "http://127.0.0.1:8000"


def curl_of(page: str) -> str | None:
    """The lines of curl between the marks of a page, None where it has none."""
    found = re.findall(r"<!-- begin curl -->\n```bash\n(.*?)```", page, re.S)
    return found[0] if found else None


@pytest.mark.parametrize("name", ["docs/serving.md", "README.md"])
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_of_curl_work_as_they_stand(
    start: Callable[..., Process], customer_service: Path, tmp_path: Path, name: str
):
    curl = curl_of((ROOT / name).read_text(encoding="utf-8"))
    if curl is None:
        assert name == "README.md"
        pytest.skip("README.md has no lines of curl")
    (tmp_path / "receipt.png").write_bytes(picture())
    write_sound(tmp_path / "note.wav", "green")
    (tmp_path / "plugins").symlink_to(ROOT / "plugins")
    url = start(bundle=customer_service).ready()
    assert len([line for line in curl.splitlines() if line]) <= 10
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", curl.replace(HERE, url)],
        capture_output=True, text=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.count('"conversation"') >= 5
    assert '"status":"ready"' in done.stdout
    assert "triptych_answers_total" in done.stdout


def test_every_status_is_explained():
    table = PAGE.partition("| status | when |")[2].partition("\n\n")[0]
    assert {int(status) for status in re.findall(r"\b[45]\d\d\b", table)} == set(KINDS)


def test_every_measurement_is_explained():
    written = set(re.findall(r"`(triptych_\w+)`", PAGE))
    made = {metric.name for metric in Metrics().registry.collect()} | {"triptych_waiting", "triptych_ready"}
    made |= {f"triptych_release_{what}" for what in ("share", "failed", "seconds")}
    assert {name.removesuffix("_total") for name in written} == made


def test_the_limits_are_the_code_s():
    limits = Settings()
    table = PAGE.partition("| what | limit |")[2].partition("\n\n")[0].replace(",", "")
    for number in (
        limits.max_body // 10**6, limits.max_bodies // 10**6, limits.max_text, limits.max_values,
        limits.max_pixels // 10**6, int(limits.max_audio_seconds), limits.max_open, int(limits.header_seconds),
        int(limits.body_seconds), int(limits.answer_seconds), int(limits.write_seconds), limits.idle_seconds,
    ):  # fmt: skip
        assert re.search(rf"\b{number}\b", table), number
    assert f"at most {limits.max_items};" in PAGE
