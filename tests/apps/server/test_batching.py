"""Requests of many clients are answered together, and no one's failure or haste is another one's."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.apps.server import desk
from tests.apps.server.conftest import QUICK, Running, error_kind, run
from triptych_apps.server.batching import Batcher
from triptych_apps.server.cache import Cache, content_key
from triptych_apps.server.problems import Problem
from triptych_apps.server.settings import Settings


class Recorder:
    """Doubles numbers, fails for 13, and waits at the gate."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, contents: list[int], behind: int) -> list[int | Exception]:
        self.gate.wait(10)
        self.batches.append(contents)
        if 99 in contents:
            raise RuntimeError("all of them")
        return [ValueError("unlucky") if content == 13 else 2 * content for content in contents]


def batched(work: Callable[[Recorder, Batcher[int, int]], Any], **options: int) -> Recorder:
    recorder = Recorder()

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(recorder, **{"max_batch": 4, "max_queue": 8, **options}, name="test")  # type: ignore[arg-type]
        try:
            await work(recorder, batcher)
        finally:
            recorder.gate.set()
            await batcher.close()
            assert not batcher.alive

    asyncio.run(main())
    return recorder


def test_a_lone_request_waits_for_nobody():
    async def work(recorder: Recorder, batcher: Batcher[int, int]) -> None:
        assert await batcher.submit([1])[0] == 2
        assert await batcher.submit([2])[0] == 4

    assert batched(work).batches == [[1], [2]]


def test_what_waits_meanwhile_is_one_batch_in_its_order():
    async def work(recorder: Recorder, batcher: Batcher[int, int]) -> None:
        recorder.gate.clear()
        first = batcher.submit([0])
        while batcher.depth:
            await asyncio.sleep(0.001)
        rest = [batcher.submit([n])[0] for n in range(1, 7)]
        recorder.gate.set()
        assert await asyncio.gather(*first, *rest) == [0, 2, 4, 6, 8, 10, 12]

    assert batched(work).batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_a_failure_belongs_to_one_and_a_bug_to_its_batch():
    async def work(recorder: Recorder, batcher: Batcher[int, int]) -> None:
        found = await asyncio.gather(*batcher.submit([1, 13, 2]), return_exceptions=True)
        assert [type(f) if isinstance(f, Exception) else f for f in found] == [2, ValueError, 4]
        with pytest.raises(RuntimeError):
            await batcher.submit([99])[0]
        assert await batcher.submit([5])[0] == 10  # it goes on

    batched(work)


def test_a_full_queue_says_when_to_come_again_and_takes_all_or_nothing():
    async def work(recorder: Recorder, batcher: Batcher[int, int]) -> None:
        recorder.gate.clear()
        first = batcher.submit([0])
        while batcher.depth:
            await asyncio.sleep(0.001)
        waiting = batcher.submit(list(range(1, 7)))
        with pytest.raises(Problem) as refused:
            batcher.submit([7, 8, 9])
        assert (refused.value.status, refused.value.kind) == (503, "overloaded")
        assert int(refused.value.headers["Retry-After"]) >= 1
        waiting += batcher.submit([7, 8])
        recorder.gate.set()
        assert await asyncio.gather(*first, *waiting) == [2 * n for n in range(9)]

    batched(work)


def test_who_gave_up_is_not_answered():
    async def work(recorder: Recorder, batcher: Batcher[int, int]) -> None:
        recorder.gate.clear()
        first = batcher.submit([0])
        while batcher.depth:
            await asyncio.sleep(0.001)
        gone, stays = batcher.submit([1, 2])
        gone.cancel()
        recorder.gate.set()
        assert await stays == 4
        await asyncio.gather(*first)

    assert batched(work).batches == [[0], [2]]


def test_closing_answers_all_that_was_taken():
    async def work(recorder: Recorder, batcher: Batcher[int, int]) -> None:
        futures = batcher.submit([1, 2, 3, 4, 5])
        await batcher.close()
        assert await asyncio.gather(*futures) == [2, 4, 6, 8, 10]
        with pytest.raises(Problem, match="stopping"):
            batcher.submit([6])

    batched(work)


def test_clients_are_answered_together_and_each_gets_its_own(served: Running):
    before = _batches(served)
    with served.client() as client, ThreadPoolExecutor(12) as pool:
        colours = ["red", "green", "blue", "boom"] * 15

        def one(colour: str) -> tuple[str, str]:
            response = client.post("/v1/desk/answer", json={"text": f"sleep 3 {colour}"})
            return colour, error_kind(response) if response.status_code != 200 else response.json()["answer"]

        found = list(pool.map(one, colours))
    assert found == [(c, "internal" if c == "boom" else f"It is {c}") for c in colours]
    calls, answers = (after - start for after, start in zip(_batches(served), before, strict=True))
    assert answers == 60
    assert calls < 60


def _batches(served: Running) -> tuple[float, float]:
    """How many batches there were, and how many requests were in them."""
    value = served.site.metrics.registry.get_sample_value
    labels = {"vertical": "desk"}
    return (value("triptych_batch_size_count", labels) or 0, value("triptych_batch_size_sum", labels) or 0)


def test_a_mixed_batch_of_modalities(served: Running):
    from tests.apps.server.test_answers import picture, text64

    requests = [{"text": "red"}, {"image": text64(picture())}, {"text": "green", "image": text64(picture("lime"))}]
    with served.client() as client:
        answers = client.post("/v1/desk/answers", json={"requests": requests}).json()["answers"]
    assert [a["answer"] for a in answers] == ["It is red", "It is blue", "It is green"]
    assert [sorted(a["attribution"]) for a in answers] == [["text"], ["image"], ["image", "text"]]


def test_a_picture_that_only_decoding_shows_to_be_damaged_fails_alone(served: Running):
    from tests.apps.server.test_answers import picture, text64

    damaged = picture(size=(64, 64))[:-40]
    requests = [{"text": "red"}, {"image": text64(damaged)}, {"text": "blue"}]
    with served.client() as client:
        answers = client.post("/v1/desk/answers", json={"requests": requests}).json()["answers"]
    assert [a.get("answer") or a["error"]["kind"] for a in answers] == ["It is red", "invalid", "It is blue"]


def test_the_event_loop_answers_probes_while_a_long_answer_is_computed(served: Running):
    with served.client() as client, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.post, "/v1/desk/answer", json={"text": "sleep 600 red"})
        time.sleep(0.1)
        with served.client() as other:
            assert other.get("/health/ready").status_code == 200
        assert not slow.done()
        assert slow.result().status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(desk_bundle: Path):
    settings = Settings(answer_seconds=0.2, drain_seconds=0)
    with run(desk_bundle, settings) as running, running.client() as client:
        response = client.post("/v1/desk/answer", json={"text": "sleep 500 red"})
        assert (response.status_code, error_kind(response)) == (503, "timeout")
        assert response.headers["retry-after"].isdecimal()
        time.sleep(0.4)
        assert client.post("/v1/desk/answer", json={"text": "red"}).status_code == 200


def test_answers_are_remembered_where_that_was_asked_for(desk_bundle: Path):
    with run(desk_bundle, Settings(cache=2, drain_seconds=0)) as running, running.client() as client:
        assert client.get("/v1/desk").json()["cached"] is True

        def ask(text: str) -> tuple[str, bool]:
            response = client.post("/v1/desk/answer", json={"text": text})
            return response.json().get("answer", ""), "triptych-cached" in response.headers

        assert [ask("red"), ask("red"), ask("blue")] == [
            ("It is red", False),
            ("It is red", True),
            ("It is blue", False),
        ]
        assert [ask("green"), ask("red")] == [("It is green", False), ("It is red", False)]  # the oldest went
        assert [ask("boom"), ask("boom")] == [("", False), ("", False)]
        both = client.post(
            "/v1/desk/answers", json={"requests": [{"text": "blue"}, {"text": "green"}, {"text": "red"}]}
        )
        assert [a["answer"] for a in both.json()["answers"]] == ["It is blue", "It is green", "It is red"]


@pytest.mark.parametrize("cause", ["state", "hook"])
def test_answers_that_leave_a_trace_are_not_remembered(desk_bundle: Path, monkeypatch: pytest.MonkeyPatch, cause: str):
    from triptych.hookspecs import hookimpl

    if cause == "state":
        monkeypatch.setattr(desk.Desk, "answers_depend_on_state", True)
    else:
        monkeypatch.setattr(desk, "triptych_after_answer", hookimpl(lambda vertical, response: None), raising=False)
        desk.triptych_after_answer.__name__ = "triptych_after_answer"
    with run(desk_bundle, Settings(cache=9, drain_seconds=0)) as running, running.client() as client:
        assert client.get("/v1/desk").json()["cached"] is False


def test_nothing_is_remembered_unless_it_was_asked_for(served: Running):
    with served.client() as client:
        responses = [client.post("/v1/desk/answer", json={"text": "red"}) for _ in range(2)]
    assert not any("triptych-cached" in response.headers for response in responses)
    assert QUICK.cache == 0


def test_the_content_of_every_field_counts():
    requests = [
        desk.DeskRequest(text="a"), desk.DeskRequest(text="b"), desk.DeskRequest(text="a", image=b"x"),
        desk.DeskRequest(text="a", audio=b"x"), desk.DeskRequest(text="a", tags=["x"]),
        desk.DeskRequest(text="a", count=2),
        desk.DeskRequest(paper=b'"a"'), desk.DeskRequest(text="a", image=b"xx"),
    ]  # fmt: skip
    assert len({content_key(request) for request in requests}) == len(requests)
    assert content_key(desk.DeskRequest(text="a")) == content_key(desk.DeskRequest(text="a", count=1))


def test_the_cache_is_bounded():
    cache: Cache[int] = Cache(3)
    for number in range(10):
        cache.put(bytes([number]), number)
        cache.get(b"\0")
    assert len(cache) == 3
    assert cache.get(bytes([9])) == 9
    assert cache.get(b"\0") == 0
