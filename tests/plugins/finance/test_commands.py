"""The commands, as they are called: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.finance.conftest import WordScorer
from tests.plugins.finance.news import COMPANIES, LIVELY, lively, price_file, rows, written
from triptych.errors import ConfigError
from triptych_apps import errors
from triptych_finance.settings import Settings
from triptych_finance.surface import opening
from triptych_finance.surface.commands import finance
from triptych_finance.surface.opening import Reader, settings_with
from triptych_finance.surface.wording import length_of, time_of

DAYS = 80
BURSTS = {"TVNA": (40, 60), "SKQ": (50,)}


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Call `triptych finance` with a reader that knows a few words in place of a bundle."""
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        opening, "open_reader",
        lambda bundle, overrides=(): Reader(WordScorer(), COMPANIES, settings_with(lively(), overrides)),
    )  # fmt: skip

    def run(*args: object) -> Result:
        code = errors.run(finance, "triptych finance", [str(arg) for arg in args])
        said = capfd.readouterr()
        return Result(code, said.out, said.err)

    return run


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("items") / "news.csv", rows(DAYS, BURSTS))


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return price_file(tmp_path_factory.mktemp("prices") / "prices.csv", DAYS, {"TVNA": [43, 64], "SKQ": [52]})


@pytest.fixture
def watched(call: Call, items: Path) -> Call:
    """The same, after a monitor has read the news into the default store."""
    assert call("monitor", "--source", f"replay:{items}", "--once").code == 0
    return call


def test_a_monitor_reads_each_item_once_into_the_default_store(call: Call, items: Path, tmp_path: Path):
    first = call("monitor", "--source", f"replay:{items}", "--once", "--json")
    assert first.code == 0
    assert first.json["counts"]["items"] == len(rows(DAYS, BURSTS))
    assert first.json["notices"] > 0
    assert (tmp_path / "home" / "state" / "finance" / "finance.sqlite3").is_file()
    again = call("monitor", "--source", f"replay:{items}", "--json")
    assert again.json["counts"]["items"] == 0
    assert again.json["ended"] is True


def test_the_budget_that_is_set_is_the_one_that_is_used(call: Call, items: Path):
    few, many = (
        call("replay", items, "--set", f"vertical.signal.budget_per_week={budget}", "--json").json["alerts"]
        for budget in (0.05, 1.0)
    )
    assert len(few) < len(many)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("vertical.signal.budget=1", "did you mean 'vertical.signal.budget_per_week'"),
        ("vertical.signal.budget_per_week=many", "vertical.signal.budget_per_week"),
        ("training.epochs=3", "only keys that begin with 'vertical.'"),
        ("vertical.sentences.most=3", "has no keys"),
        ("vertical.signal", "key=value"),
        ("vertical.=1", "key=value"),
    ],
)
def test_a_wrong_setting_is_named(call: Call, items: Path, override: str, said: str):
    result = call("replay", items, "--set", override)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err


def test_settings_keep_what_is_not_set():
    changed = settings_with(lively(), ['vertical.alerts.channels.webhook.desk.url="https://example.org/a"',
                                       "vertical.alerts.channels.webhook.desk.secret_env=SECRET"])  # fmt: skip
    assert changed.signal == lively().signal
    assert changed.alerts.channels.names == ["log", "webhook:desk"]
    assert settings_with(Settings(), []) == Settings()


def test_a_secret_that_is_not_set_stops_the_monitor_before_it_begins(call: Call, items: Path, tmp_path: Path):
    result = call(
        "monitor", "--source", f"replay:{items}",
        "--set", "vertical.alerts.channels.webhook.desk.url=https://example.org/a",
        "--set", "vertical.alerts.channels.webhook.desk.secret_env=NOT_SET_ANYWHERE",
    )  # fmt: skip
    assert result.code == 2
    assert "NOT_SET_ANYWHERE" in result.err


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("news.csv", 2, "no address of a source"),
        ("reply:news.csv", 2, "Did you mean 'replay'"),
        ("replay:none.csv", 3, "does not exist"),
    ],
)
def test_a_wrong_source_is_named(call: Call, source: str, code: int, said: str):
    result = call("monitor", "--source", source, "--json")
    assert result.code == code
    assert said in result.err
    assert result.json["error"]["exit_code"] == code


def test_a_replay_tells_what_would_have_happened_and_keeps_nothing(call: Call, items: Path, tmp_path: Path):
    result = call("replay", items)
    assert result.code == 0
    assert "negative turn of sentiment on TVNA" in result.out
    assert not (tmp_path / "home" / "state" / "finance").exists()
    kept = call("replay", items, "--store", tmp_path / "kept.sqlite3", "--report", tmp_path / "report", "--json")
    assert kept.json["counts"]["items"] > 0
    assert kept.json["alerts"][0]["evidence"]["moved"]
    assert all(Path(path).is_file() for path in kept.json["report"])
    assert call("status", "--store", tmp_path / "kept.sqlite3", "--json").json["waiting_notices"] == 0


def test_a_back_test_says_its_verdict(call: Call, items: Path, prices: Path, tmp_path: Path):
    result = call("backtest", "--items", items, "--prices", prices, "--report", tmp_path / "report")
    assert result.code == 0
    assert all(name in result.out for name in ("sentiment", "news volume", "past returns", "chance", "budget"))
    assert (tmp_path / "report" / "report.html").is_file()
    found = call("backtest", "--items", items, "--prices", prices, "--horizon", 3, "--json").json
    assert found["rules"]["horizon"] == 3
    assert found["verdict"].startswith("The alerts are")
    assert {way["name"] for way in found["methods"]} == {"sentiment", "news volume", "past returns", "chance"}
    assert "readings" not in found


def test_bad_prices_are_named_with_their_row(call: Call, items: Path, prices: Path, tmp_path: Path):
    bad = tmp_path / "prices.csv"
    bad.write_text(prices.read_text().replace(",1000", ",few", 1))
    result = call("backtest", "--items", items, "--prices", bad)
    assert result.code == 3
    assert f"{bad}, row 2" in result.err or f"{bad}, row 1" in result.err
    assert call("backtest", "--items", items, "--prices", tmp_path / "none.csv").code == 3


def test_alerts_are_listed_shown_and_judged(watched: Call):
    listed = watched("alerts", "list", "--json").json
    assert listed
    first = listed[0]["id"]
    assert {alert["entity"] for alert in watched("alerts", "list", "--entity", "TVNA", "--json").json} == {"TVNA"}
    assert len(watched("alerts", "list", "--limit", 1, "--json").json) == 1
    assert first in watched("alerts", "list").out
    shown = watched("alerts", "show", first[:10])
    assert shown.code == 0
    assert "What moved it most" in shown.out
    assert "notice to log" in shown.out
    judged = watched("alerts", "confirm", first, "--analyst", "Ada", "--note", "seen it", "--json").json
    assert judged["new"] is True
    assert "already" in watched("alerts", "confirm", first, "--analyst", "Bob").out
    assert "no longer holds" in watched("alerts", "dismiss", first, "--analyst", "Bob").out
    assert watched("alerts", "list", "--json").json[0]["verdict"]["verdict"] == "dismissed"
    assert "dismissed by Bob" in watched("alerts", "show", first).out


def test_a_verdict_is_taken_up_by_the_next_monitor(watched: Call, items: Path):
    first = watched("alerts", "list", "--json").json[0]["id"]
    watched("alerts", "confirm", first, "--analyst", "Ada")
    again = watched("monitor", "--source", f"replay:{items}", "--once", "--json")
    assert again.json["verdicts"] == 1
    assert watched("monitor", "--source", f"replay:{items}", "--once", "--json").json["verdicts"] == 0


def test_an_unknown_alert_is_answered_with_those_that_exist(watched: Call):
    known = watched("alerts", "list", "--json").json[-1]["id"]
    for command in ("show", "confirm", "dismiss"):
        result = watched("alerts", command, "nothing")
        assert result.code == 2
        assert known in result.err
    assert watched("alerts", "show", "").code == 2


def test_silences_are_set_listed_and_ended(watched: Call):
    made = watched("alerts", "silence", "TV*", "--for", "2h", "--analyst", "Ada", "--note", "known", "--json").json
    assert watched("alerts", "silences", "--json").json == [made]
    assert made["id"] in watched("alerts", "silences").out
    assert watched("alerts", "expire", made["id"]).out == f"Silence {made['id']} is over.\n"
    assert watched("alerts", "silences", "--json").json == []
    assert "already" in watched("alerts", "expire", made["id"]).out
    assert len(watched("alerts", "silences", "--all", "--json").json) == 1
    assert watched("alerts", "expire", "nothing").code == 2


@pytest.mark.parametrize(
    "wrong",
    [
        (), ("--for", "2h", "--until", "2030-01-01"), ("--for", "long"), ("--for", "0h"), ("--until", "soon"),
        ("--until", "2001-01-01"), ("--for", "1h", "--kind", "bad"),
    ],
)  # fmt: skip
def test_a_silence_needs_an_end(watched: Call, wrong: tuple[str, ...]):
    result = watched("alerts", "silence", "TVNA", *wrong)
    assert result.code == 2
    assert "Traceback" not in result.err


def test_a_silenced_alert_is_kept_and_not_told(call: Call, tmp_path: Path):
    found = rows(DAYS, BURSTS)
    items = written(tmp_path / "news.csv", found[:20])
    call("monitor", "--source", f"replay:{items}", "--once")
    call("alerts", "silence", "*", "--from", "2023-01-01", "--until", "2030-01-01", "--note", "a drill")
    written(items, found)
    done = call("monitor", "--source", f"replay:{items}", "--once", "--json").json
    assert done["counts"]["items"] == len(found) - 20
    assert done["notices"] == 0
    first = call("alerts", "list", "--json").json[0]["id"]
    assert "not told (firing): silenced" in call("alerts", "show", first).out
    assert "a drill" in call("alerts", "show", first, "--json").json["withheld"]["firing"]


def test_status_says_what_the_store_holds(watched: Call, items: Path):
    state = watched("status", "--json").json
    (counts,) = state["sources"].values()
    assert counts["items"] == len(rows(DAYS, BURSTS))
    assert state["drifts"] == [] or all(drift["drift"] for drift in state["drifts"])
    text = watched("status").out
    assert f"replay:{items}" in text
    assert "open alerts" in text


def test_what_is_not_there_is_said(call: Call, tmp_path: Path):
    for command in (("status",), ("alerts", "list"), ("alerts", "silences"), ("prune", "--before", "2026-01-01")):
        result = call(*command)
        assert result.code == 6
        assert "finance.sqlite3" in result.err
    assert not (tmp_path / "home").exists()  # looking makes no store


def test_pruning_asks_first(watched: Call):
    before = watched("status", "--json").json["sources"]
    assert watched("prune", "--before", "2024-02-01").code in (1, 130)
    pruned = watched("prune", "--before", "2024-02-01", "--yes", "--json").json
    assert 0 < pruned["items"] < next(iter(before.values()))["items"]
    assert watched("prune", "--before", "yesterday", "--yes").code == 2


def test_times_and_lengths():
    assert time_of("2026-01-31", "--before") == datetime(2026, 1, 31, tzinfo=UTC)
    assert time_of("2026-01-31T12:00+01:00", "--before") == datetime(2026, 1, 31, 11, tzinfo=UTC)
    assert length_of("1.5h", "--for").total_seconds() == 5400
    for wrong in ("h", "-1h", "1y", "9999999w", "1e9d"):
        with pytest.raises(ConfigError, match="--for"):
            length_of(wrong, "--for")


WATCH = """
import sys
import time
from tests.plugins.finance.conftest import WordScorer
from tests.plugins.finance.news import COMPANIES, lively
from triptych_apps import errors
from triptych_finance.surface import opening
from triptych_finance.surface.commands import finance
from triptych_finance.surface.opening import Reader, settings_with

opening.open_reader = lambda bundle, overrides=(): Reader(WordScorer(), COMPANIES, settings_with(lively(), overrides))
sys.exit(errors.run(finance, "triptych finance", sys.argv[1:]))
"""


def test_ctrl_c_ends_a_live_monitor_with_all_that_came_committed(call: Call, items: Path, tmp_path: Path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    store = tmp_path / "live.sqlite3"
    process = subprocess.Popen(
        [sys.executable, "-c", WATCH, "monitor", "--source", f"directory:{folder}", "--store", str(store),
         "--set", "vertical.stream.wait_seconds=0.2", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
        env={**os.environ, "TRIPTYCH_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert "watching" in process.stderr.readline()
        (folder / "news.csv").write_text(items.read_text())
        wanted = len(rows(DAYS, BURSTS))
        while sum(s["items"] for s in call("status", "--store", store, "--json").json["sources"].values()) < wanted:
            assert process.poll() is None
            time.sleep(0.3)
        second = call("monitor", "--source", f"replay:{items}", "--store", store, "--once")
        assert second.code == 6
        assert str(process.pid) in second.err
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "the same command goes on" in err
    assert json.loads(out.partition('\n{"error"')[0])["counts"]["items"] == wanted


def test_several_replays_are_one_stream_by_time(call: Call, items: Path, tmp_path: Path):
    header, *lines = items.read_text().splitlines()
    parts = [tmp_path / "even.csv", tmp_path / "odd.csv"]
    for part, own in zip(parts, (lines[::2], lines[1::2]), strict=True):
        part.write_text("\n".join([header, *own]) + "\n")
    whole = call("monitor", "--source", f"replay:{items}", "--store", tmp_path / "whole", "--json").json
    sources = [argument for part in parts for argument in ("--source", f"replay:{part}")]
    for store, flags in (("run", ()), ("once", ("--once",))):
        both = call("monitor", *sources, "--store", tmp_path / store, *flags, "--json").json
        assert {k: both[k] for k in ("counts", "readings", "notices")} == {
            k: whole[k] for k in ("counts", "readings", "notices")
        }
    assert call("monitor", *sources, "--store", tmp_path / "run", "--json").json["counts"]["items"] == 0


def test_the_defaults_of_these_tests_are_settings():
    assert Settings.model_validate(LIVELY) == lively()
