"""docs/serving.md is true: its lines of curl work as they stand, and its tables are the code's."""

from __future__ import annotations

import os
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
from tests.core.runtime.bundles import write_exported
from triptych.bundle import BundleWriter, Manifest
from triptych.runtime.open import variant_path
from triptych_apps.server.metrics import Metrics
from triptych_apps.server.problems import KINDS
from triptych_apps.server.settings import Settings

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
CURL = re.findall(r"<!-- begin curl -->\n```bash\n(.*?)```", PAGE, re.S)[0]


@pytest.fixture(scope="module")
def customer_service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Customer service in front of a model that was trained on nothing: what it answers is of no account here."""
    folder = tmp_path_factory.mktemp("customer-service")
    with BundleWriter(folder / "bundle", folder / "work") as writer:
        write_exported(variant_path(writer.path, "tiny"), variant="tiny")
        settings = {"readers": {"ocr": "off", "asr": "off"}}
        writer.commit(Manifest(vertical="customer-service", config={"vertical": settings}, ledger={"chosen": "tiny"}))
    return folder / "bundle"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_of_curl_work_as_they_stand(start: Callable[..., Process], customer_service: Path, tmp_path: Path):
    (tmp_path / "receipt.png").write_bytes(picture())
    write_sound(tmp_path / "note.wav", "green")
    url = start(bundle=customer_service).ready()
    assert len([line for line in CURL.splitlines() if line]) <= 10
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", CURL],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "TRIPTYCH_URL": url}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.count('"conversation"') == 6
    assert '"status":"ready"' in done.stdout
    assert "triptych_answers_total" in done.stdout
    assert (tmp_path / "openapi.json").stat().st_size > 1000


def test_every_status_is_explained():
    table = PAGE.partition("| status | when |")[2].partition("\n\n")[0]
    assert {int(status) for status in re.findall(r"\b[45]\d\d\b", table)} == set(KINDS)


def test_every_measurement_is_explained():
    written = set(re.findall(r"`(triptych_\w+)`", PAGE))
    made = {metric.name for metric in Metrics().registry.collect()} | {"triptych_waiting", "triptych_ready"}
    assert {name.removesuffix("_total") for name in written} == made


def test_the_limits_are_the_code_s():
    limits = Settings()
    table = PAGE.partition("| what | limit |")[2].partition("\n\n")[0].replace(",", "")
    for number in (
        limits.max_body // 10**6, limits.max_bodies // 10**6, limits.max_text, limits.max_pixels // 10**6,
        int(limits.max_audio_seconds), limits.max_open, int(limits.header_seconds), int(limits.body_seconds),
        int(limits.answer_seconds), int(limits.write_seconds), limits.idle_seconds,
    ):  # fmt: skip
        assert re.search(rf"\b{number}\b", table), number
    assert f"at most {limits.max_items};" in PAGE
