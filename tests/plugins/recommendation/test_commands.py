"""The commands, as they are called: what they print, where, and with which exit code."""

from __future__ import annotations

import contextlib
import errno
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

from tests.plugins.recommendation.tastes import save_picture, taste, user, write_rows
from triptych.errors import ConfigError
from triptych.pipeline import RunResult
from triptych_apps import errors
from triptych_apps.run import next_command
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.experiments.assignment import BUCKETS
from triptych_recommendation.serving.settings import RuleSettings
from triptych_recommendation.surface.commands import recommendation
from triptych_recommendation.surface.planning import planned
from triptych_recommendation.vertical import Recommendation

NAME, COLOUR = user(4)  # likes red
ITEM_COLUMNS = ["id", "title", "description", "image", "category", "price", "stock"]
TWO = ("--variant", "old=0.5", "--variant", "new=0.5")


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def ids(self) -> list[str]:
        return [item["id"] for item in self.json["items"]]


Call = Callable[..., Result]


@pytest.fixture
def call(built: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Call `triptych recommendation` on the small bundle, with a store of the test's own."""
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))

    def run(*args: object, bundle: object = built.bundle) -> Result:
        given = [*map(str, args), "--bundle", str(bundle)]
        code = errors.run(recommendation, "triptych recommendation", given)
        said = capfd.readouterr()
        return Result(code, said.out, said.err)

    return run


# -- recommend and similar ---------------------------------------------------------------------------------------


def test_a_list_is_printed_with_reasons_and_as_json(call: Call):
    shown = call("recommend", "--user", NAME, "-k", 3)
    assert shown.code == 0
    assert shown.out.startswith(f"For {NAME}: ")
    assert len(shown.out.splitlines()) == 1 + 1 + 3
    found = call("recommend", "--user", NAME, "--json")
    assert len(found.ids) == 10
    assert sum(taste(name) == COLOUR for name in found.ids) > 5


def test_the_list_is_on_record_when_the_command_ends(call: Call, tmp_path: Path):
    found = call("recommend", "--user", NAME, "--json")
    place = tmp_path / "home" / "state" / "recommendation" / "recommendation.sqlite3"
    with Store.open(place, writer=False) as store, store.reading() as tx:
        lists = tx.exposures(user=NAME)
    assert [(row.id, list(row.items)) for row in lists] == [(found.json["exposure"], found.ids)]


def test_another_store_may_be_named(call: Call, tmp_path: Path):
    assert call("recommend", "--user", NAME, "--store", tmp_path / "other.sqlite3").code == 0
    assert (tmp_path / "other.sqlite3").is_file()
    assert not (tmp_path / "home" / "state").exists()


def test_somebody_without_a_name_gets_a_list_for_what_he_looks_at(call: Call):
    found = call("recommend", "--history", "blue-1,blue-2, nothing", "-k", 5, "--json")
    assert found.code == 0
    assert not {"blue-1", "blue-2"} & set(found.ids)
    assert sum(taste(name) == "blue" for name in found.ids) >= 3
    assert any("nothing" in note for note in found.json["notes"])
    nobody = call("recommend")
    assert nobody.code == 2
    assert "--user" in nobody.err


def test_a_filter_is_json_and_one_that_leaves_nothing_is_no_error(call: Call):
    found = call("recommend", "--user", NAME, "--where", '{"category": "cool"}', "--json")
    assert {taste(name) for name in found.ids} == {"blue"}
    nothing = call("recommend", "--user", NAME, "--where", '{"category": "hats"}')
    assert nothing.code == 0
    assert "nothing" in nothing.out
    for filter_, code in (("category=cool", 2), ("[1]", 2), ('{"price": {"below": 3}}', 3)):
        wrong = call("recommend", "--user", NAME, "--where", filter_)
        assert wrong.code == code, filter_
        assert "Traceback" not in wrong.err


def test_similar_items_and_an_unknown_one(call: Call):
    found = call("similar", "--item", "blue-2", "-k", 4, "--json")
    assert found.code == 0
    assert sum(taste(name) == "blue" for name in found.ids) >= 3
    unknown = call("similar", "--item", "blue-222")
    assert unknown.code == 3
    assert "blue-222" in unknown.err


def test_what_is_no_bundle_is_told(call: Call, tmp_path: Path):
    missing = call("recommend", "--user", NAME, bundle=tmp_path / "none")
    assert missing.code == 4
    assert "none" in missing.err


def test_what_is_suggested_at_the_end_of_a_run_has_all_that_the_sample_asks_for():
    suggested = next_command("recommendation", Recommendation().sample_request())
    assert suggested == "triptych ask recommendation --k 5 --user u139"


# -- items -------------------------------------------------------------------------------------------------------


def test_an_item_is_recommended_from_its_words_or_its_picture_once_it_is_added(call: Call, tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    save_picture(tmp_path / "pictures" / "sky.png", "blue")
    rows: list[list[object]] = [
        ["words", "Clear sky", "ocean and ice", "", "cool", 12, 5],
        ["seen", "", "", "pictures/sky.png", "cool", 12, 5],
        ["bare", "", "", "", "", "", ""],
    ]
    file = write_rows(tmp_path / "new.csv", ITEM_COLUMNS, rows)
    added = call("items", "add", file)
    assert added.code == 0
    assert "Added: 3 items." in added.out
    assert "bare" in added.err
    similar = call("similar", "--item", "blue-2", "-k", 30, "--json").ids
    assert {"words", "seen"} <= set(similar[:20])
    assert sum(taste(name) == "blue" for name in call("similar", "--item", "seen", "-k", 5, "--json").ids) >= 3


def test_a_removed_item_is_never_recommended_until_it_is_added_again(call: Call, tmp_path: Path):
    best, other, *_ = call("recommend", "--user", NAME, "--json").ids
    removed = call("items", "remove", best, best)
    assert (removed.code, removed.out) == (0, f"Removed: {best}.\n")
    everything = call("recommend", "--user", NAME, "-k", 100, "--json").ids
    assert everything
    assert best not in everything
    assert best not in call("similar", "--item", other, "-k", 100, "--json").ids
    gone = call("similar", "--item", best)
    assert gone.code == 3
    assert "was removed" in gone.err
    file = write_rows(tmp_path / "again.csv", ITEM_COLUMNS, [[best, "Ripe tomato", "fire", "", "warm", 10, 3]])
    assert call("items", "add", file).code == 0
    assert best in call("recommend", "--user", NAME, "-k", 100, "--json").ids


def test_removing_what_is_not_there_is_an_error_and_removes_nothing(call: Call):
    wrong = call("items", "remove", "red-1", "nothing")
    assert wrong.code == 3
    assert "nothing" in wrong.err
    assert call("similar", "--item", "red-1", "-k", 1).code == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["a", "A", "", "", "", 1, 1], ["a", "B", "", "", "", 1, 1]], "row 2: the id 'a' was already used in row 1"),
        ([["a", "A", "", "", "", "NaN", 1]], "the price 'NaN' is not a number of at least 0"),
        ([["a", "A", "", "none.png", "", 1, 1]], "none.png"),
        ([["a", "A", "", "../../etc/passwd", "", 1, 1]], "outside"),
        ([["", "A", "", "", "", 1, 1]], "row 1"),
    ],
)
def test_items_that_cannot_be_added_are_named_and_none_is_added(call: Call, tmp_path: Path, rows: Any, said: str):
    file = write_rows(tmp_path / "bad.csv", ITEM_COLUMNS, [["good", "Good", "", "", "", 1, 1], *rows])
    wrong = call("items", "add", file, "--json")
    assert wrong.code == 3
    assert said.replace("row 2", "row 3").replace("in row 1", "in row 2").replace("row 1", "row 2") in wrong.err
    assert wrong.json["error"]["exit_code"] == 3
    assert call("similar", "--item", "good").code == 3


# -- events ------------------------------------------------------------------------------------------------------


def events_file(path: Path, rows: list[list[object]]) -> Path:
    return write_rows(path, ["user", "item", "type", "time"], rows)


def test_an_event_counts_from_the_next_list_on(call: Call, tmp_path: Path):
    now = datetime.now(UTC).isoformat()
    file = events_file(
        tmp_path / "today.csv", [["newcomer", "blue-1", "view", now], ["newcomer", "blue-5", "view", now]]
    )
    before = call("recommend", "--user", "newcomer", "--json").ids
    added = call("events", "add", file, "--json")
    assert added.json["added"] == 2
    after = call("recommend", "--user", "newcomer", "--json").ids
    assert not {"blue-1", "blue-5"} & set(after)
    assert sum(taste(name) == "blue" for name in after) > sum(taste(name) == "blue" for name in before)
    assert call("events", "add", file, "--json").json["added"] == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["u", "red-1", "view", "2999-01-01"]], "in the future"),
        ([["", "red-1", "view", "2025-01-01"]], "no user: the cell is empty"),
        ([["u", "red-1", "view", "yesterday"]], "neither ISO 8601 nor a number"),
    ],
)
def test_events_that_cannot_be_used_are_named(call: Call, tmp_path: Path, rows: Any, said: str):
    wrong = call("events", "add", events_file(tmp_path / "bad.csv", rows))
    assert wrong.code == 3
    assert said in wrong.err


def test_events_without_times_and_files_that_are_not_there_are_refused(call: Call, tmp_path: Path):
    untimed = write_rows(tmp_path / "untimed.csv", ["user", "item"], [["u", "red-1"]])
    assert "needs a time" in call("events", "add", untimed).err
    for command in ("events", "items"):
        missing = call(command, "add", tmp_path / "none.csv")
        assert missing.code == 3
        assert "does not exist" in missing.err


# -- experiments -------------------------------------------------------------------------------------------------


def test_an_experiment_from_its_start_to_its_end(call: Call, tmp_path: Path):
    begun = call("experiment", "start", "calm", *TWO, "--change", "new.diversity=0.5")
    assert begun.code == 0
    assert "old 50.00%, new 50.00%" in begun.out
    arms = {}
    for number in range(8):
        found = call("recommend", "--user", f"visitor-{number}", "--json").json
        assert found["experiment"] == "calm"
        arms[f"visitor-{number}"] = (found["arm"], found["items"][0]["id"])
    assert {arm for arm, _ in arms.values()} == {"old", "new"}
    assert call("recommend", "--user", "visitor-0", "--json").json["arm"] == arms["visitor-0"][0]
    now = datetime.now(UTC).isoformat()
    clicks = [[name, item, "click", now] for name, (_, item) in arms.items()]
    assert call("events", "add", events_file(tmp_path / "clicks.csv", clicks)).code == 0
    report = call("experiment", "report", "calm", "--json").json
    assert sum(arm["users"] for arm in report["arms"]) == 8
    assert sum(arm["lists"] for arm in report["arms"]) == 9
    assert report["decision"]["stop"] is False
    words = call("experiment", "report", "calm").out
    assert "Go on: no difference is shown yet" in words
    assert "8 users are not counted yet" in words
    assert call("experiment", "shares", "calm", "--variant", "old=0.2", "--variant", "new=0.8").code == 0
    assert "is stopped" in call("experiment", "stop", "calm").out
    assert "was stopped already" in call("experiment", "stop", "calm").out
    assert call("experiment", "shares", "calm", *TWO).code == 2
    assert call("recommend", "--user", "visitor-0", "--json").json["experiment"] == ""
    assert [one["name"] for one in call("experiment", "list", "--json").json] == ["calm"]
    assert "stopped" in call("experiment", "list").out


def test_interleaved_lists_are_reported_as_a_preference(call: Call):
    assert call("experiment", "start", "mixed", *TWO, "--kind", "interleaving").code == 0
    assert call("recommend", "--user", NAME, "--json").json["experiment"] == "mixed"
    assert "preference from -1 (all for 'old')" in call("experiment", "report", "mixed").out


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["start", "a", "--variant", "old=0.5"], 2, "at least two variants"),
        (["start", "a", "--variant", "old=0.9", "--variant", "new=0.9"], 2, "at most 1"),
        (["start", "a", "--variant", "old", "--variant", "new=1"], 2, "NAME=SHARE"),
        (["start", "a", "--variant", "old=0.5", "--variant", "old=0.5"], 2, "given twice"),
        (["start", "a", *TWO, "--change", "new.diversty=0.3"], 2, "did you mean 'new.diversity'"),
        (["start", "a", *TWO, "--change", "other.diversity=0.3"], 2, "'other' is none of its variants"),
        (["start", "a", *TWO, "--change", "diversity=0.3"], 2, "NAME.KEY=VALUE"),
        (["start", " ", *TWO], 2, "needs a name"),
    ],
)
def test_an_experiment_that_cannot_be_is_named(call: Call, args: list[str], code: int, said: str):
    wrong = call("experiment", *args)
    assert wrong.code == code
    assert said in wrong.err


def test_one_experiment_runs_at_a_time_and_names_are_used_once(call: Call):
    assert call("experiment", "start", "first", *TWO).code == 0
    assert "'first' is running" in call("experiment", "start", "second", *TWO).err
    call("experiment", "stop", "first")
    assert "there is an experiment 'first' already" in call("experiment", "start", "first", *TWO).err


def test_experiments_that_are_not_there_are_told(call: Call):
    assert "there is no store" in call("experiment", "list").err
    call("recommend", "--user", NAME)
    assert "There are no experiments" in call("experiment", "list").err
    for command in ("report", "stop"):
        unknown = call("experiment", command, "calm")
        assert unknown.code == 2
        assert "calm" in unknown.err


def test_a_variant_sets_only_what_is_given():
    found = planned("a", ["old=0.25", "new=0.75"], ['new.pinned=["x"]'], "ab", None, RuleSettings())
    assert dict(found.variants) == {"old": {}, "new": {"pinned": ["x"]}}
    assert sum(count for name, count in found.phases[0].runs if name == "old") == BUCKETS // 4
    with pytest.raises(ConfigError, match="pinned"):
        planned("a", ["old=0.5", "new=0.5"], ["new.pinned=3"], "ab", None, RuleSettings())


# -- Ctrl-C ------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_a_command_without_a_traceback_and_adds_nothing(built: RunResult, call: Call, tmp_path: Path):
    """The command waits for the rest of a file that comes through a pipe."""
    file = tmp_path / "new.csv"
    os.mkfifo(file)
    command = [
        sys.executable, "-c", "from triptych_apps.cli import main; main()",
        "recommendation", "items", "add", str(file), "--bundle", str(built.bundle),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        pipe = opened_for_writing(file)
        os.write(pipe, b"id,title\nhalf,Half of")
        process.send_signal(signal.SIGINT)
        keep_writing(pipe, process)
        out, err = process.communicate(timeout=60)
        os.close(pipe)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.strip().endswith("stopped")
    assert out == ""
    assert call("similar", "--item", "half").code == 3


def keep_writing(pipe: int, process: subprocess.Popen[str]) -> None:
    """Go on with the row until the process has ended.

    Python looks for signals between its own steps. One that comes just before a read is noticed when the read is over,
    so a pipe that stays silent would keep the process for ever. And one that comes while Python frees an object is
    lost, as whoever presses the keys a second time knows.
    """
    for tenth in range(600):
        if process.poll() is not None:
            return
        if tenth % 150 == 149:
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(pipe, b".")
        time.sleep(0.1)


def opened_for_writing(pipe: Path) -> int:
    """The pipe, as soon as somebody reads it."""
    for _ in range(6_000):
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            time.sleep(0.01)
    raise AssertionError("nobody reads the pipe")
