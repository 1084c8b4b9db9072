"""Decisions: written before they are told, answered again exactly, and kept as long as they should be."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apps.conftest import Call
from tests.apps.server import desk, desk_routes
from tests.apps.server.conftest import Process, desk_host, error_kind, keep, run
from tests.apps.shop import write_picture, write_sound
from tests.core.runtime import serving
from triptych.errors import DataError, MissingError, UnknownNameError
from triptych.hookspecs import hookimpl
from triptych.host import Host
from triptych.predictor import Predictor, load
from triptych.vertical import Request, Response
from triptych_apps.server import reviewing
from triptych_apps.server.decision_store import FILE, DecisionStore
from triptych_apps.server.decisions import Recorder
from triptych_apps.server.problems import Problem
from triptych_apps.server.redaction import redact, redacted
from triptych_apps.server.service import Service
from triptych_apps.server.stored import request_fields, request_json


@pytest.fixture
def replay(call: Call, desk_plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What `triptych replay` prints, and its exit code."""
    monkeypatch.syspath_prepend(str(desk_plugin))

    def replay(*args: object) -> dict[str, Any]:
        done = call("replay", *args, "--json")
        return {"code": done.code, **json.loads(done.out)}

    return replay


def answers(recorder: Recorder, predictor: Predictor, *requests: dict[str, Any]) -> tuple[list[Any], list[str]]:
    made = [predictor.request(**fields) for fields in requests]
    results, names = keep(recorder, predictor, made, cost=2e-6)
    return results, [name for name in names if name is not None]


def rows(home: Path) -> list[dict[str, Any]]:
    with_store = DecisionStore(home / FILE, make=False)
    try:
        return with_store.rows("SELECT * FROM decision ORDER BY batch, place")
    finally:
        with_store.close()


def test_a_mixed_batch_is_answered_again_exactly(recorder, predictor, replay, tmp_path, triptych_home):
    picture = write_picture(tmp_path / "a.png", "green").read_bytes()
    sound = write_sound(tmp_path / "a.wav", "blue").read_bytes()
    results, names = answers(
        recorder,
        predictor,
        {"text": "red"},
        {"text": "what is this", "image": picture, "tags": ["a", "b"]},
        {"audio": sound, "count": 3, "options": {"x": 1}},
        {"text": "boom"},
        {"text": "wrong"},
        {"text": "grün, 红 or red?", "paper": b"\x00\xff not text"},
        {"image": picture},
    )
    assert [type(result).__name__ for result in results[3:5]] == ["RuntimeError", "DataError"]
    for name, result in zip(names, results, strict=True):
        found = replay(name)
        assert (found["code"], found["same"], found["differences"]) == (0, True, {}), found
        assert found["batch"] == 7
        if not isinstance(result, Exception):
            assert found["answer"] == json.loads(result.model_dump_json(exclude={"milliseconds"}))
    kept = rows(triptych_home)
    assert [row["error"] for row in kept[3:5]] == ["RuntimeError", "DataError: this cannot be answered"]
    assert recorder.store.rows("SELECT count(*) AS n FROM blob")[0]["n"] == 3  # the picture once
    assert recorder.store.rows("SELECT count(*) AS n FROM attachment")[0]["n"] == 4


def test_what_is_written_down(recorder, predictor, desk_bundle):
    (result,), (name,) = answers(recorder, predictor, {"text": "red", "count": 2})
    found = reviewing.show(name)
    manifest = predictor.bundle.manifest
    assert found.request == {"text": "red", "count": 2}
    assert found.response == json.loads(result.model_dump_json())
    assert (found.vertical, found.version, found.variant) == ("desk", predictor.bundle.version, "small>large")
    assert (found.data_digest, found.vertical_version) == (manifest.data.fingerprint, manifest.vertical_version)
    assert (found.label, found.confidence, found.cost) == ("red", result.confidence, 2e-6)
    assert max(found.scores, key=lambda label: found.scores[label]) == "red"
    assert sum(found.scores.values()) == pytest.approx(1)
    assert len(found.digest) == len(found.index_digest) == 64
    assert abs(time.time() - datetime.datetime.fromisoformat(found.at).timestamp()) < 600


def test_a_model_that_looks_at_its_batch_gets_the_whole_of_it(recorder, predictor, replay, monkeypatch):
    encode = serving.Words.encode
    seen: list[int] = []

    def shifted(self: Any, values: Any) -> Any:  # as dynamic int8 does: what one gets depends on its neighbours
        seen.append(len(values))
        return encode(self, values) * 0.5 ** len(values)

    monkeypatch.setattr(serving.Words, "encode", shifted)
    _, names = answers(recorder, predictor, {"text": "red"}, {"text": "blue"}, {"text": "red or green"})
    assert replay(names[1])["same"]
    assert max(seen) == 3
    recorder.store.erase([names[2]])
    found = replay(names[1])
    assert (found["code"], found["same"], found["batch"]) == (3, False, 2)
    assert set(found["differences"]) >= {"response.confidence", "scores.labels.blue"}
    assert "1 of the 3 decisions of its batch are no longer kept" in found["notes"][0]


def test_what_was_changed_shows(recorder, predictor, replay, call):
    _, (name,) = answers(recorder, predictor, {"text": "red"})
    with sqlite3.connect(recorder.store.path) as connection:
        connection.execute("UPDATE decision SET response = replace(response, 'It is red', 'It is blue')")
    connection.close()
    found = replay(name)
    assert (found["code"], found["differences"]) == (3, {"response.answer": ["It is blue", "It is red"]})
    assert "It is blue" in call("replay", name).out


def test_what_cannot_be_replayed_is_told(predictor, replay, tmp_path, triptych_home, recorder):
    gone = shutil.copytree(predictor.bundle.path, tmp_path / "gone")
    other = load(gone, host=desk_host())
    _, (name,) = answers(recorder, other, {"text": "red"})
    moved = gone.rename(tmp_path / "moved")
    found = replay(name)
    assert found["code"] == 4
    assert "--bundle" in found["error"]["message"]
    assert replay(name, "--bundle", moved)["same"]
    assert replay(name, "--bundle", predictor.bundle.path)["same"]  # the same content elsewhere
    assert replay("0" * 20 + "-0")["code"] == 2
    assert replay("nonsense")["code"] == 2
    assert replay(name, "--decisions", tmp_path / "none")["code"] == 6


class Hiding:
    """A plugin that hides a name, and fails where it is told to."""

    @hookimpl
    def triptych_redact(self, vertical: str, request: Request) -> Request | None:
        if request.text and "fail" in request.text:
            raise RuntimeError(f"no model for names in {request.text}")
        return request.model_copy(update={"text": request.text.replace("Ada", "[name]")}) if request.text else None


def test_what_is_stored_is_what_was_answered(desk_bundle, triptych_home, monkeypatch):
    asked: list[str | None] = []
    answer = desk.Desk.answer
    monkeypatch.setattr(desk.Desk, "answer", lambda self, r, p, c: (asked.append(r.text), answer(self, r, p, c))[1])
    predictor = load(desk_bundle, host=Host({"desk": desk, "hiding": Hiding()}, installed=False))
    recorder = Recorder()
    asking = [predictor.request(text=text) for text in ("red for Ada, card 4111 1111 1111 1111", "fail Ada red")]
    cleaned = [redacted(predictor, request, redact) for request in asking]
    results, names = keep(recorder, predictor, cleaned)
    recorder.close()
    assert asked == ["red for [name], card [card number]"]
    first, second = rows(triptych_home)
    assert json.loads(first["request"]) == {"text": asked[0]}
    assert (second["request"], second["response"]) == (None, None)
    assert second["error"] == "RefusedError by the plugin 'hiding'"
    assert type(results[1]).__name__ == "RefusedError"
    assert len(names) == 2
    content = b"".join(path.read_bytes() for path in triptych_home.glob(f"{FILE}*"))
    assert b"Ada" not in content
    assert b"4111" not in content


@pytest.mark.parametrize("keeps", [True, False])
def test_what_must_not_be_kept_is_taken_out_whether_decisions_are_kept_or_not(
    desk_bundle, recorder, triptych_home, monkeypatch, keeps
):
    asked: list[str | None] = []  # a vertical may keep what it is asked
    answer = desk.Desk.answer
    monkeypatch.setattr(desk.Desk, "answer", lambda self, r, p, c: (asked.append(r.text), answer(self, r, p, c))[1])
    monkeypatch.setattr(Service, "redactor", staticmethod(redact))
    monkeypatch.setattr(Service, "recorder", recorder if keeps else None)
    host = Host({"desk": desk, "routes": desk_routes, "hiding": Hiding()}, installed=False)
    with run(desk_bundle, host=host, local=True) as running, running.client() as client:
        text = "red for Ada, card 4111 1111 1111 1111"
        assert client.post("/v1/desk/answer", json={"text": text}).status_code == 200
        said = client.get("/v1/desk/echo", params={"words": text})  # a route has it taken out of what it keeps
        assert said.json()["words"] == "red for [name], card [card number]"
        assert client.get("/v1/desk/echo", params={"words": "fail Ada"}).status_code == 403
        refused = client.post("/v1/desk/answer", json={"text": "fail Ada"})
        assert (refused.status_code, error_kind(refused)) == (403, "refused")
    assert asked == ["red for [name], card [card number]"]
    assert len(rows(triptych_home)) == (2 if keeps else 0)


class Searching(Request):
    where: dict[str, Any]


@pytest.mark.parametrize("value", ["0" * 64, 7, {"$blob": ["x"]}, {"$blob": "y", "z": 1}, None])
def test_what_a_client_sends_is_never_taken_for_a_file(value: Any):
    sent = {"text": "a", "image": b"picture", "where": {"$blob": value}}
    text, blobs = request_json(Searching.model_validate(sent))
    assert list(blobs.values()) == [b"picture"]
    assert request_fields(text, blobs.__getitem__) == sent


def test_what_is_erased_is_in_no_file(recorder, predictor, triptych_home):
    _, (name, _) = answers(recorder, predictor, {"text": "red for Ada"}, {"text": "blue"})
    assert recorder.store.erase([name]) == 1
    assert recorder.store.move_log(whole=True)
    assert b"Ada" not in b"".join(path.read_bytes() for path in triptych_home.glob(f"{FILE}*"))


def test_a_full_disk_refuses_rather_than_answers_unrecorded(desk_bundle, triptych_home):
    recorder = Recorder()
    with run(desk_bundle, local=True) as running, running.client() as client:
        release = running.site.services[0].release
        assert release is not None
        release.recorder = recorder
        assert client.post("/v1/desk/answer", json={"text": "red"}).headers["triptych-decision"]
        (pages,) = recorder.store.connection.execute("PRAGMA page_count").fetchone()
        recorder.store.connection.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite does on a full disk
        refused = None
        for _ in range(200):  # until the last page is full
            refused = client.post("/v1/desk/answer", json={"text": "red " * 500})
            if refused.status_code != 200:
                break
        assert refused is not None
        assert (refused.status_code, error_kind(refused)) == (503, "unrecorded")
        assert "retry-after" in refused.headers
        assert "triptych-decision" not in refused.headers
        recorder.store.connection.execute("PRAGMA max_page_count = 100000")
        again = client.post("/v1/desk/answer", json={"text": "red"})
        assert again.status_code == 200
        assert reviewing.show(again.headers["triptych-decision"]).answer == "It is red"
        batch = client.post(
            "/v1/desk/answers", json={"requests": [{"text": "red"}, {"text": "wrong"}, {"text": "blue"}]}
        )
        assert len(batch.headers["triptych-decision"].split(", ")) == 2
    recorder.close()


def test_a_kill_loses_nothing_that_was_answered(start: Callable[..., Process], triptych_home: Path):
    process = start()
    url = process.ready()
    told: list[str] = []
    with httpx.Client(base_url=url) as client:
        for number in range(40):
            response = client.post("/v1/desk/answer", json={"text": f"red {number}"})
            told.append(response.headers["triptych-decision"])
            if number == 39:
                os.kill(process.process.pid, signal.SIGKILL)
    process.end()
    kept = {f"{row['batch']}-{row['place']}": json.loads(row["request"])["text"] for row in rows(triptych_home)}
    assert [kept[name] for name in told] == [f"red {number}" for number in range(40)]
    assert (triptych_home / FILE).stat().st_mode & 0o077 == 0  # for its owner alone


def test_a_damaged_file_ends_the_start(call: Call, desk_plugin, desk_bundle, monkeypatch, triptych_home: Path):
    monkeypatch.syspath_prepend(str(desk_plugin))
    (triptych_home / FILE).write_bytes(b"this is no database, and never was one, whatever it is called" * 100)
    done = call("serve", desk_bundle, "--port", "0")
    assert done.code == 3
    assert "is damaged, or no store of decisions" in done.err


def test_a_file_that_is_damaged_later_refuses_answers(recorder, predictor, triptych_home):
    answers(recorder, predictor, *({"text": f"red {n}"} for n in range(50)))
    recorder.store.move_log()
    recorder.store.connection.execute("PRAGMA cache_size = 0")
    path = triptych_home / FILE
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(Problem) as caught:
        answers(recorder, predictor, {"text": "red"})
    assert (caught.value.status, caught.value.kind) == (503, "unrecorded")


def test_files_that_are_no_decisions_are_left_alone(tmp_path):
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(DataError, match="tables of another program"):
        DecisionStore(other)
    with sqlite3.connect(tmp_path / "newer.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(MissingError, match="newer version"):
        DecisionStore(tmp_path / "newer.sqlite")
    with pytest.raises(MissingError, match="no decisions in"):
        reviewing.queue(path=tmp_path / "none")


def test_what_is_too_old_goes_and_what_was_reviewed_stays(recorder, predictor, tmp_path, triptych_home):
    picture = write_picture(tmp_path / "a.png", "green").read_bytes()
    _, names = answers(recorder, predictor, {"image": picture}, {"image": picture, "text": "red"}, {"text": "blue"})
    _, (fresh,) = answers(recorder, predictor, {"text": "red", "paper": b"new"})
    day = 86_400_000
    with sqlite3.connect(recorder.store.path) as connection:  # the first batch is a hundred days old
        old = f"{time.time_ns() // 1_000_000 - 100 * day:012x}{names[0][12:20]}"
        for table in ("decision", "attachment"):
            connection.execute(f"UPDATE {table} SET batch = ? WHERE batch = ?", (old, names[0][:20]))
    connection.close()
    reviewing.verdict(f"{old}-2", "correct", by="Eve")
    keeping = Recorder(recorder.store.path, keep_days=90)
    keeping.start()
    end = time.monotonic() + 30
    while len(rows(triptych_home)) > 2 and time.monotonic() < end:
        time.sleep(0.02)
    keeping.close()
    assert [f"{row['batch']}-{row['place']}" for row in rows(triptych_home)] == [f"{old}-2", fresh]
    assert len(recorder.store.rows("SELECT digest FROM blob")) == 1  # the picture went with its last decision
    assert recorder.store.erase([f"{old}-2", fresh]) == 2
    assert recorder.store.rows("SELECT (SELECT count(*) FROM blob) + (SELECT count(*) FROM verdict) AS n") == [{"n": 0}]
    with pytest.raises(UnknownNameError):
        reviewing.show(fresh)


def test_a_vertical_that_fails_to_judge_takes_nobodys_answer(recorder, predictor, monkeypatch):
    def failing(self: Any, response: Response, said: Any) -> str:
        raise RuntimeError("a bug of a plugin")

    monkeypatch.setattr(desk.Desk, "decided", failing)
    (result,), (name,) = answers(recorder, predictor, {"text": "red"})
    assert result.answer == "It is red"
    assert reviewing.show(name).label is None


def test_decisions_are_kept_in_no_database_elsewhere(call: Call, desk_plugin, desk_bundle, monkeypatch):
    monkeypatch.syspath_prepend(str(desk_plugin))
    done = call("serve", desk_bundle, "--port", "0", "--decisions", "postgresql://u:pw@h/d")
    assert done.code == 2
    assert "kept in a file" in done.err
    assert "pw" not in done.err
