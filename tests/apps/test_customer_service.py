"""Customer service from the command line: built on a part of its own sample, then asked in words, picture and sound."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.apps.conftest import ROOT, START, Call
from triptych.host import default_host
from triptych_apps.outcomes import EvaluateOutcome, RunOutcome

NAME = "customer-service"
LABELS = ("double_charge", "damaged_item", "delivery_status", "login_problem", "gift_card", "out_of_scope")
EACH = {"words": 14, "media": 2}  # messages of each label: enough to learn from, few enough to be quick
CHAINS = 'compression.chains=["int8"]'  # which needs no training
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Service:
    """A bundle, and how to call the command line on it."""

    home: Path
    data: Path
    out: str

    def call(self, *args: object, program: str = "triptych") -> subprocess.CompletedProcess[str]:
        """Run the console script in a process of its own."""
        quick = {"TRIPTYCH__COMPRESSION__MEMORY": "false"}  # it starts a process for each variant; others test it
        environment = {**os.environ, **quick, "TRIPTYCH_HOME": str(self.home), "TRIPTYCH__DATA__ON_ERROR": "fail"}
        command = [sys.executable, "-c", START.format(program=program), *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Built once, by `triptych run`."""
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("data")
    sample = default_host().vertical(NAME).sample_data(folder)
    data = write_subset(sample, folder / "subset.csv")
    articles = f"vertical.knowledge_base={sample.parent / 'knowledge_base.jsonl'}"
    done = Service(home, data, "").call("run", NAME, "--data", data, "--set", articles, "--set", CHAINS, "--json")
    assert done.returncode == 0, done.stderr
    return Service(home, data, done.stdout)


def write_subset(sample: Path, path: Path) -> Path:
    """Some messages of some labels; a few have a picture or a sound, for reading these takes the longest."""
    with sample.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in LABELS]
    kept: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        kind = "media" if row["image"] or row["audio"] else "words"
        same = kept.setdefault(f"{row['label']} {kind}", [])
        if len(same) < EACH[kind]:
            media = {m: str(sample.parent / row[m]) if row[m] else "" for m in ("image", "audio")}
            same.append({**row, **media})
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row for same in kept.values() for row in same)
    return path


def media_of(service: Service, modality: str) -> str:
    with service.data.open(encoding="utf-8", newline="") as file:
        return next(row[modality] for row in csv.DictReader(file) if row[modality])


def test_run_prints_its_object(service):
    outcome = RunOutcome.model_validate_json(service.out, strict=True)
    assert outcome.metrics["test"]["accuracy"] > 0.7


def test_a_question_in_words_gets_an_answer_with_its_source(service):
    done = service.call("ask", NAME, "I was charged twice", "--json")
    assert done.returncode == 0, done.stderr
    response = default_host().vertical(NAME).response_type.model_validate_json(done.stdout)
    assert response.answer
    assert response.evidence


@pytest.fixture
def inside(service: Service, call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The same commands in this process, which has torch already."""
    monkeypatch.setenv("TRIPTYCH_HOME", str(service.home))
    return call


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_picture_or_a_voice_note_is_enough(service, inside, modality):
    done = inside("ask", NAME, f"--{modality}", media_of(service, modality), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["attribution"]


def test_a_chat_is_one_conversation_that_is_kept(inside):
    done = inside("chat", NAME, "--json", stdin="I was charged twice\nthe order is 4711\n")
    conversations = {json.loads(line)["conversation"] for line in done.out.splitlines()}
    assert len(conversations) == 1
    assert "charged twice" in inside("conversations", "show", conversations.pop()).out


def test_people_read_the_answer(service):
    done = service.call("ask", "I was charged twice", program="triptych-customer-service")
    assert done.returncode == 0, done.stderr
    assert "confidence" in done.stdout


def test_evaluate_prints_its_object(service, inside):
    done = inside("evaluate", NAME, "--data", service.data, "--json")
    outcome = EvaluateOutcome.model_validate_json(done.out, strict=True)
    assert outcome.metrics["accuracy"] > 0.5
    assert outcome.skipped == []


def test_help_names_what_a_customer_may_send(inside):
    assert "--conversation" in inside("ask", NAME, "--help").out


def test_help_of_the_vertical_imports_no_torch():
    code = (
        "import sys\nfrom triptych_apps.cli import main\n"
        f"try:\n    main(['ask', {NAME!r}, '--help'])\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
