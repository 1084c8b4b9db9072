"""A conversation, with a predictor that remembers what it was asked."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tests.apps.shop import Shop, ShopRequest, ShopResponse
from triptych.errors import RefusedError
from triptych.vertical import Evidence
from triptych_apps.chat import Chat
from triptych_apps.render import print_response


class FakePredictor:
    """Answers with the words backwards; refuses "secret"."""

    vertical = Shop()

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def answer(self, **fields: Any) -> ShopResponse:
        self.asked.append(fields)
        if fields.get("text") == "secret":
            raise RefusedError("not this")
        request = ShopRequest.model_validate(fields)
        evidence = [Evidence(id="kb-1", kind="document", title="Colours", score=0.5)]
        return ShopResponse(
            answer=(request.text or "no words")[::-1],
            confidence=0.75,
            evidence=evidence,
            conversation=request.conversation,
            attribution={"text": 1.0},
            variant="fake",
            milliseconds=12.0,
        )


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor()


@pytest.fixture
def chat(predictor) -> Chat:
    return Chat(predictor, {}, as_json=True)


def test_a_line_is_a_message(chat, predictor, capsys):
    chat.take("hello there")
    assert json.loads(capsys.readouterr().out)["answer"] == "ereht olleh"
    assert predictor.asked[0]["text"] == "hello there"


def test_all_messages_are_of_one_conversation(chat, predictor):
    chat.take("one")
    chat.take("two")
    first, second = (request["conversation"] for request in predictor.asked)
    assert first == second
    assert first


def test_another_chat_is_another_conversation(predictor):
    for _ in range(2):
        Chat(predictor, {}, as_json=True).take("hello")
    assert predictor.asked[0]["conversation"] != predictor.asked[1]["conversation"]


def test_a_conversation_that_is_given_is_continued(predictor):
    Chat(predictor, {"conversation": "c7"}, as_json=True).take("hello")
    assert predictor.asked[0]["conversation"] == "c7"


def test_a_file_goes_with_the_next_message_and_no_further(chat, predictor, tmp_path):
    picture = tmp_path / "a b.png"
    picture.touch()
    chat.take(f"/image '{picture}'")
    assert predictor.asked == []
    chat.take("look")
    chat.take("and now")
    assert predictor.asked[0]["image"] == picture
    assert predictor.asked[0]["text"] == "look"
    assert "image" not in predictor.asked[1]


def test_an_empty_line_sends_a_file_without_words(chat, predictor, tmp_path):
    (tmp_path / "a.wav").touch()
    chat.take("")
    chat.take(f"/audio {tmp_path / 'a.wav'}")
    chat.take("  ")
    assert [set(request) for request in predictor.asked] == [{"conversation", "audio"}]


def test_a_file_that_is_not_there_is_told_at_once(chat, predictor, capsys):
    chat.take("/image nowhere.png")
    assert "there is no file 'nowhere.png'" in capsys.readouterr().err
    assert chat.exit_code == 3


def test_an_error_does_not_end_the_conversation(chat, capsys):
    chat.take("secret")
    chat.take("hello")
    captured = capsys.readouterr()
    assert captured.err == "error: not this\n"
    assert json.loads(captured.out)["answer"] == "olleh"
    assert chat.exit_code == 5


def test_what_begins_with_a_slash_and_is_unknown_is_not_sent(chat, predictor, capsys):
    chat.take("/imgae a.png")
    chat.take("/help")
    assert predictor.asked == []
    assert capsys.readouterr().err.count("/audio PATH") == 2


def test_people_read_the_answer_and_one_line_of_where_it_comes_from(predictor, capsys):
    Chat(predictor, {}, as_json=False).take("hello")
    assert capsys.readouterr().out == "olleh\n  confidence 0.750, [kb-1] Colours\n\n"


def test_all_of_a_response_is_shown_by_name(predictor, capsys):
    print_response(predictor.answer(text="hello", conversation="c1"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "olleh"
    assert [line.split()[0] for line in lines[2:-1]] == [
        "confidence",
        "conversation",
        "evidence",
        "attribution",
        "answered",
    ]
    assert any("[kb-1] Colours (document, 0.50)" in line for line in lines)
    assert any("fake, 12 ms" in line for line in lines)


def test_lines_of_a_file_are_answered_one_after_the_other(call, monkeypatch, predictor, tmp_path):
    import sys

    import triptych

    (tmp_path / "a.png").touch()
    fake = SimpleNamespace(load=lambda bundle, device: predictor)
    monkeypatch.setitem(sys.modules, "triptych.predictor", fake)
    monkeypatch.setattr(triptych, "predictor", fake, raising=False)
    words = f"hello\n\nsecret\n/image {tmp_path / 'a.png'}\n"
    done = call("chat", "shop", "--json", "--limit", "9", stdin=words)
    assert [json.loads(line)["answer"] for line in done.out.splitlines()] == ["olleh", "sdrow on"]
    assert done.code == 5
    assert all(request["limit"] == 9 for request in predictor.asked)
    quit_early = call("chat", "shop", "--json", stdin="one\n/quit\ntwo\n")
    assert len(quit_early.out.splitlines()) == 1
    assert quit_early.code == 0
