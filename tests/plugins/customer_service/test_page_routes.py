"""The routes behind the chat page: conversations with all that was shown, media, feedback that becomes labels."""

from __future__ import annotations

import csv
import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from tests.plugins.customer_service.conftest import prediction
from triptych.data.kinds import media_type, suffix
from triptych.errors import UnknownNameError
from triptych.host import Host
from triptych.routes import RouteContext
from triptych_customer_service.commands import conversations as command
from triptych_customer_service.conversations import FILE, Conversations
from triptych_customer_service.settings import Settings
from triptych_customer_service.surface import routes

LABELS = ("double_charge", "refund_status", "product_fault")
SURE = prediction(double_charge=0.9, refund_status=0.1)
TORN = prediction(double_charge=0.4, refund_status=0.35)
PNG = b"\x89PNG\r\n\x1a\n and so on"

RATER = """
import sys
from pathlib import Path
from triptych_customer_service.conversations import Conversations
from triptych_customer_service.responses import Feedback

store = Conversations(Path(sys.argv[1]))
for number in range(100_000):
    store.rate("c1", 2, Feedback(rating="down", note=f"opinion {number}"))
    print(number, flush=True)
"""


def context_in(state: Path) -> RouteContext:
    session = SimpleNamespace(labels=LABELS)
    predictor: Any = SimpleNamespace(state=state, settings=Settings(), session=session)
    return RouteContext(predictor, "local", lambda: False)


@pytest.fixture
def context(ask: Callable[..., Any]) -> RouteContext:
    return context_in(ask.state)  # type: ignore[attr-defined]


def thread(context: RouteContext, conversation: str) -> list[Any]:
    return routes.conversation(context, routes.ConversationQuery(conversation=conversation)).turns


def rate(context: RouteContext, conversation: str, number: int, rating: str, **more: Any) -> Any:
    values = {"conversation": conversation, "number": number, "rating": rating, **more}
    return routes.feedback(context, routes.FeedbackQuery.model_validate(values))


def test_a_conversation_comes_back_as_it_was_shown(ask, context):
    answer = ask("I was charged twice", SURE, read={"read_image": "TOTAL 64.90"}, image=PNG)
    said, told = thread(context, answer.conversation)
    assert (said.turn.text, said.turn.read_image, said.media) == ("I was charged twice", "TOTAL 64.90", ["image"])
    assert said.answer is None
    assert told.answer == answer
    assert (told.turn.number, told.feedback) == (answer.number, None)
    assert told.answer.attribution == {"text": 1.0}


def test_a_hand_off_is_shown_again_without_what_other_customers_wrote(ask, context):
    answer = ask("I want to talk to a person", SURE)
    (_, told) = thread(context, answer.conversation)
    assert told.answer.handoff.reference == answer.handoff.reference
    assert [one.kind for one in told.answer.handoff.evidence] == ["document"] * 3
    kept = Conversations(context.predictor.state).handoffs(answer.conversation)
    assert "example" in [one.kind for one in kept[0].evidence]


def test_a_conversation_that_does_not_exist_is_not_found_and_names_no_other(ask, context):
    ask("hello", SURE, conversation="somebody-elses")
    with pytest.raises(UnknownNameError) as told:
        thread(context, "somebody-else")
    assert "somebody-elses" not in str(told.value)


def test_the_list_has_what_was_asked_for_and_nothing_else(ask, context):
    for name in ("first", "second", "third"):
        ask(f"this is the {name}", SURE, conversation=name)
    query = routes.ConversationsQuery(ids="first,third,unheard")
    lines = routes.conversations(context, query).conversations
    assert [(line.id, line.title, line.turns) for line in lines] == [
        ("third", "this is the third", 2),
        ("first", "this is the first", 2),
    ]


@pytest.mark.parametrize("ids", ["", ",", "a,", "a b", "../x", ",".join(["a"] * 101), "a" * 65, "a\n"])
def test_ids_are_checked(ids):
    with pytest.raises(ValidationError):
        routes.ConversationsQuery(ids=ids)


def test_kept_media_come_back_with_their_type_and_missing_ones_are_told(ask, context):
    answer = ask("look", SURE, image=PNG)
    query = {"conversation": answer.conversation, "number": 1}
    found = routes.media(context, routes.MediaQuery(**query, modality="image"))
    assert (found.content, found.media_type) == (PNG, "image/png")
    with pytest.raises(UnknownNameError, match="kept audio"):
        routes.media(context, routes.MediaQuery(**query, modality="audio"))


@pytest.mark.parametrize(
    ("content", "modality", "kind", "end"),
    [
        (b"\xff\xd8\xff\xe0", "image", "image/jpeg", ".jpg"),
        (b"RIFF\0\0\0\0WEBP", "image", "image/webp", ".webp"),
        (b"RIFF\0\0\0\0WAVE", "audio", "audio/wav", ".wav"),
        (b"\x1a\x45\xdf\xa3", "audio", "audio/webm", ".webm"),
        (b"OggS", "audio", "audio/ogg", ".ogg"),
        (b"\0\0\0\x1cftypavif", "image", "image/avif", ".avif"),
        (b"\0\0\0\x1cftypM4A ", "audio", "audio/mp4", ".m4a"),
        (b"OggS", "image", "application/octet-stream", ".tiff"),
        (b"<html><script>", "image", "application/octet-stream", ".tiff"),
        (b"", "audio", "application/octet-stream", ".wav"),
    ],
)
def test_media_are_what_their_bytes_say_and_never_a_page(content, modality, kind, end):
    assert media_type(content, modality) == kind
    assert suffix(content, modality) == end


def test_the_last_opinion_on_an_answer_stands(ask, context):
    answer = ask("I was charged twice", SURE)
    rate(context, answer.conversation, 2, "up", decision="d-1")
    rate(context, answer.conversation, 2, "down", reason="wrong", note="no", intent="refund_status", decision="d-1")
    said = thread(context, answer.conversation)[1].feedback
    assert (said.rating, said.reason, said.note, said.intent, said.decision) == (
        "down", "wrong", "no", "refund_status", "d-1",
    )  # fmt: skip


def test_what_must_not_be_kept_is_taken_out_of_an_opinion(ask, context):
    answer = ask("I was charged twice", SURE)
    longer = "a@b.c " * 166
    cleaning = dataclasses.replace(context, redact=lambda text: text.replace("a@b.c", "[e-mail address]"))
    for note, kept in (("write to a@b.c", "write to [e-mail address]"), (longer, ("[e-mail address] " * 166)[:1000])):
        rate(cleaning, answer.conversation, 2, "down", note=note)
        assert thread(context, answer.conversation)[1].feedback.note == kept


def test_an_opinion_needs_an_answer_and_an_intent_that_exist(ask, context):
    answer = ask("I was charged twice", SURE)
    for conversation, number in ((answer.conversation, 1), (answer.conversation, 7), ("nobody", 2)):
        with pytest.raises(UnknownNameError, match="answer"):
            rate(context, conversation, number, "up")
    with pytest.raises(UnknownNameError, match="intent"):
        rate(context, answer.conversation, 2, "down", intent="weather")
    rate(context, answer.conversation, 2, "down", intent="out_of_scope")


def test_opinions_that_were_reported_survive_a_kill(ask, context):
    ask("I was charged twice", SURE, conversation="c1")
    state = context.predictor.state
    process = subprocess.Popen([sys.executable, "-c", RATER, str(state)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reported = -1
    for line in process.stdout:
        reported = int(line)
        if reported == 25:
            os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    kept = int(thread(context, "c1")[1].feedback.note.removeprefix("opinion "))
    assert kept in (reported, reported + 1)  # the one that was being reported may be there, too


def test_erasing_takes_media_answers_and_opinions_with_it(ask, context):
    ask("my secret is 4711", SURE, conversation="c1", image=PNG + b"4711")
    rate(context, "c1", 2, "down", note="4711, again")
    query = routes.ConversationQuery(conversation="c1")
    assert routes.erase(context, query).complete
    stored = b"".join(path.read_bytes() for path in context.predictor.state.iterdir())
    assert b"4711" not in stored
    with pytest.raises(UnknownNameError):
        routes.erase(context, query)


def test_erasing_says_when_a_reader_keeps_a_copy(ask, context, monkeypatch):
    monkeypatch.setattr("triptych_customer_service.conversations.ERASE_PATIENCE_S", 0.1)
    ask("hello", SURE, conversation="c1")
    with sqlite3.connect(context.predictor.state / FILE, isolation_level=None) as reader:
        ask("hello again", SURE, conversation="c1")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM turn").fetchone()
        erased = routes.erase(context, routes.ConversationQuery(conversation="c1"))
        assert not erased.complete
        assert "copy" in erased.message
        reader.execute("ROLLBACK")
    reader.close()


def test_a_store_of_the_first_version_goes_on(ask, context):
    ask("from before", SURE, conversation="c1")
    with sqlite3.connect(context.predictor.state / FILE) as db:  # what the first version did not have
        db.executescript("DROP TABLE answer; DROP TABLE feedback; PRAGMA user_version = 1")
    db.close()
    said, told = thread(context, "c1")
    assert (said.turn.text, told.answer) == ("from before", None)
    rate(context, "c1", 2, "up")
    ask("from now on", SURE, conversation="c1")
    assert thread(context, "c1")[3].answer is not None


def test_opinions_become_labelled_messages(ask, context, tmp_path):
    ask("I was charged twice", SURE, conversation="right")
    rate(context, "right", 2, "up", decision="d-1")
    ask("where is it", SURE, conversation="wrong", image=PNG)
    rate(context, "wrong", 2, "down", intent="refund_status")
    ask("nobody said what is right", SURE, conversation="unknown")
    rate(context, "unknown", 2, "down")
    ask("it is about money", TORN, conversation="asked")
    ask("1", TORN, conversation="asked")
    rate(context, "asked", 4, "up")
    ask("what is the weather", prediction(in_scope=False, double_charge=0.3), conversation="outside")
    rate(context, "outside", 2, "up")
    folder = tmp_path / "labels"
    state = ["--state", str(context.predictor.state)]
    result = CliRunner().invoke(command, ["labels", str(folder), *state])
    assert result.exit_code == 0, result.output
    with (folder / "messages.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["group"]: row for row in csv.DictReader(file)}
    assert {name: (row["text"], row["label"]) for name, row in rows.items()} == {
        "right": ("I was charged twice", "double_charge"),
        "wrong": ("where is it", "refund_status"),
        "asked": ("it is about money", "double_charge"),
        "outside": ("what is the weather", "out_of_scope"),
    }
    assert rows["right"]["decision"] == "d-1"
    assert (folder / rows["wrong"]["image"]).read_bytes() == PNG
    again = CliRunner().invoke(command, ["labels", str(folder), *state])
    assert "is there already" in str(again.exception)


def test_what_was_read_stands_for_media_that_were_not_kept(ask, context, tmp_path):
    settings = Settings(keep_media=False)
    ask(None, SURE, conversation="c1", audio=b"OggS", read={"read_audio": "charged twice"}, settings=settings)
    rate(context, "c1", 2, "up")
    CliRunner().invoke(command, ["labels", str(tmp_path / "out"), "--state", str(context.predictor.state)])
    assert ",charged twice,,,double_charge," in (tmp_path / "out" / "messages.csv").read_text()


def test_intents_are_told_in_words(context):
    found = routes.intents(context).intents
    assert [one.intent for one in found] == list(LABELS)
    assert found[0].title == "a payment that was taken twice"
    assert "charged twice" in found[0].example


def test_every_route_of_the_plugin_can_be_loaded():
    host = Host()
    specs = host.routes("customer-service")
    assert len(specs) == 6
    for spec in specs:
        assert callable(host.load_route(spec))
    page = host.page("customer-service")
    assert page is not None
    assert page.package == "triptych_customer_service.surface.page"
