"""Conversations outlive the process, however it ends; erasing leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from triptych.errors import MissingError, UnknownNameError
from triptych_customer_service.commands import conversations
from triptych_customer_service.conversations import FILE, Attachment, Conversations, now
from triptych_customer_service.responses import CustomerAnswer, Turn

WRITER = """
import sys
from pathlib import Path
from triptych_customer_service.conversations import Conversations, now
from triptych_customer_service.responses import CustomerAnswer, Turn

store = Conversations(Path(sys.argv[1]))
for number in range(100_000):
    said = Turn(number=0, role="customer", at=now(), text=f"message {number}")
    answer = CustomerAnswer(answer=f"answer {number}", confidence=1, conversation=f"c{number % 7}", status="answered",
                            intent_confidence=1, urgency="normal", urgency_reason="")
    store.add(answer, said, [], None)
    print(number, flush=True)
"""


def answer_in(conversation: str, text: str = "an answer") -> CustomerAnswer:
    return CustomerAnswer(
        answer=text, confidence=1, conversation=conversation, status="answered", intent="double_charge",
        intent_confidence=1, urgency="normal", urgency_reason="",
    )  # fmt: skip


def said(text: str) -> Turn:
    return Turn(number=0, role="customer", at=now(), text=text)


def test_turns_survive_a_new_process_in_order(tmp_path: Path):
    for number in range(3):
        Conversations(tmp_path).add(answer_in("c1", f"a{number}"), said(f"m{number}"), [], None)
    turns = Conversations(tmp_path).turns("c1")
    assert [turn.text for turn in turns] == ["m0", "a0", "m1", "a1", "m2", "a2"]
    assert [turn.number for turn in turns] == [1, 2, 3, 4, 5, 6]


def test_a_killed_writer_leaves_every_turn_it_reported_and_no_half_turn(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 40:
            os.kill(process.pid, signal.SIGKILL)
            break
    reported = 40
    for line in process.stdout:  # what it had written before the signal arrived
        reported = int(line)
    process.wait()
    process.stdout.close()
    store = Conversations(tmp_path)
    texts = {turn.text for number in range(7) for turn in store.turns(f"c{number}")}
    for number in range(reported + 1):
        assert {f"message {number}", f"answer {number}"} <= texts
    for number in range(7):
        assert [turn.role for turn in store.turns(f"c{number}")][::2].count("assistant") == 0
        assert len(store.turns(f"c{number}")) % 2 == 0
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.add(answer_in("c0"), said("afterwards"), [], None)
    assert store.turns("c0")[-2].text == "afterwards"


def test_many_threads_may_write_one_conversation(tmp_path: Path):
    store = Conversations(tmp_path)

    def write(number: int) -> None:
        for turn in range(5):
            store.add(answer_in("c1"), said(f"{number}-{turn}"), [], None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turns = store.turns("c1")
    assert [turn.number for turn in turns] == list(range(1, 41))
    assert [turn.role for turn in turns[::2]] == ["customer"] * 20


def test_media_are_kept_with_the_turn_unless_switched_off(tmp_path: Path):
    store = Conversations(tmp_path)
    kept, dropped = Attachment("image", "d1", b"picture"), Attachment("audio", "d2", None)
    store.add(answer_in("c1"), said("look"), [kept, dropped], None)
    assert store.attachment("c1", 1, "image") == b"picture"
    assert store.attachment("c1", 1, "audio") is None


def test_erasing_leaves_no_trace_in_the_file(tmp_path: Path):
    store = Conversations(tmp_path)
    store.add(answer_in("c1"), said("my secret is 4711"), [Attachment("image", "d", b"secret picture")], None)
    store.add(answer_in("c2"), said("something else"), [], None)
    assert store.erase("c1")
    assert not store.erase("c1")
    assert store.turns("c1") == []
    assert store.turns("c2")[0].text == "something else"
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"4711" not in content
    assert b"secret picture" not in content


def stored(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_erasing_says_so_while_a_reader_keeps_a_copy_and_the_next_command_removes_it(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("triptych_customer_service.conversations.ERASE_PATIENCE_S", 0.3)
    store = Conversations(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as reader:
        store.add(answer_in("c1"), said("my secret is 4711"), [], None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM turn").fetchone()
        result = CliRunner().invoke(conversations, ["erase", "c1", "--yes", "--state", str(tmp_path)])
        assert isinstance(result.exception, MissingError)
        assert "still holds a copy" in str(result.exception)
        assert "is erased" not in result.stdout
        assert store.turns("c1") == []
        assert b"4711" in stored(tmp_path)
    run("list", "--state", str(tmp_path))
    assert b"4711" not in stored(tmp_path)


def test_erasing_waits_for_a_reader_that_is_soon_done(tmp_path: Path):
    store = Conversations(tmp_path)
    reader = sqlite3.connect(tmp_path / FILE, isolation_level=None, check_same_thread=False)
    store.add(answer_in("c1"), said("my secret is 4711"), [], None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM turn").fetchone()
    done = threading.Timer(0.4, reader.execute, ["ROLLBACK"])
    done.start()
    try:
        assert store.erase("c1")
        assert b"4711" not in stored(tmp_path)
    finally:
        done.join()
        reader.close()


def test_a_store_that_cannot_be_written_is_told_with_its_path(tmp_path: Path):
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(MissingError, match="state"):
        Conversations(tmp_path / "state").turns("c1")


def test_a_damaged_store_is_told_with_its_path(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"this is not a database" * 100)
    with pytest.raises(MissingError, match=FILE):
        Conversations(tmp_path).turns("c1")


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path):
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(MissingError, match="newer version"):
        Conversations(tmp_path).turns("c1")


def run(*arguments: str, code: int = 0, **options: str) -> str:
    result = CliRunner().invoke(conversations, list(arguments), **options)  # type: ignore[arg-type]
    assert result.exit_code == code, result.output
    return result.stdout


def test_the_commands_list_show_export_and_erase(tmp_path: Path):
    state = ["--state", str(tmp_path)]
    Conversations(tmp_path).add(answer_in("c1", "the answer"), said("where is it?"), [], None)
    assert "c1" in run("list", *state)
    assert json.loads(run("list", *state, "--json"))[0]["first_words"] == "where is it?"
    shown = run("show", "c1", *state)
    assert "where is it?" in shown
    assert "the answer" in shown
    assert json.loads(run("export", *state))["turns"][1]["text"] == "the answer"
    run("erase", "c1", *state, code=1, input="n\n")
    run("erase", "c1", *state, "--yes")
    assert run("list", *state) == ""


def test_an_unknown_conversation_is_named_with_the_nearest(tmp_path: Path):
    Conversations(tmp_path).add(answer_in("abc1"), said("hello"), [], None)
    result = CliRunner().invoke(conversations, ["show", "abc2", "--state", str(tmp_path)])
    assert isinstance(result.exception, UnknownNameError)
    assert "Did you mean 'abc1'" in str(result.exception)


def test_listing_creates_no_store(tmp_path: Path):
    run("list", "--state", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
