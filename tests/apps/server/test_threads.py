"""How many batches are answered at once, what each thread takes, and what is tried before the first client comes."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.apps.server.conftest import desk_host, run
from tests.apps.server.test_batching import Recorder
from triptych.predictor import load
from triptych.runtime.cascade import CascadeSettings
from triptych.runtime.open import needs_torch, variant_path
from triptych.types import Sample
from triptych_apps.server import probing
from triptych_apps.server.batching import Batcher
from triptych_apps.server.release import Release
from triptych_apps.server.settings import MOST_THREADS, Settings, cores_of_a_thread, threads_of_this_machine


def test_several_threads_answer_several_batches_at_once():
    both = threading.Barrier(2)  # nobody gets through it alone

    def answer(contents: list[int], behind: int) -> list[int | Exception]:
        both.wait(10)
        return [2 * content for content in contents]

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(answer, max_batch=1, max_queue=8, name="test", threads=2)
        assert await asyncio.gather(*batcher.submit([1, 2, 3, 4])) == [2, 4, 6, 8]
        await batcher.close()
        assert not batcher.alive
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("answers-test")]

    asyncio.run(main())


def test_closing_waits_for_every_thread():
    recorder = Recorder()

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(recorder, max_batch=2, max_queue=8, name="test", threads=3)
        recorder.gate.clear()
        futures = batcher.submit([1, 2, 3, 4, 5, 6, 7])
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        recorder.gate.set()
        assert await asyncio.gather(*futures) == [2, 4, 6, 8, 10, 12, 14]
        await closing
        assert not batcher.alive

    asyncio.run(main())


def test_what_has_the_same_key_is_answered_one_after_the_other_and_the_rest_passes():
    lock, order, together = threading.Lock(), [], set()
    inside: list[str] = []

    def answer(contents: list[str], behind: int) -> list[str | Exception]:
        with lock:
            together.update((one, other[0]) for one in inside for other in contents)
            inside.extend(content[0] for content in contents)
            order.extend(contents)
        time.sleep(0.002)
        with lock:
            for content in contents:
                inside.remove(content[0])
        return list(contents)

    async def main() -> None:
        batcher: Batcher[str, str] = Batcher(
            answer, max_batch=2, max_queue=99, name="test", threads=3, key=lambda content: content[0]
        )
        asked = [f"{name}{turn}" for turn in range(8) for name in "abca"]
        assert await asyncio.gather(*batcher.submit(asked)) == asked
        await batcher.close()
        assert not batcher.alive
        for name in "abc":
            turns = [content for content in order if content[0] == name]
            assert turns == [content for content in asked if content[0] == name]
            assert (name, name) not in together
        assert together  # others were answered meanwhile

    asyncio.run(main())


def test_closing_answers_what_waits_for_its_key():
    gate = threading.Event()

    def answer(contents: list[int], behind: int) -> list[int | Exception]:
        gate.wait(10)
        return list(contents)

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(
            answer, max_batch=1, max_queue=9, name="test", threads=2, key=lambda content: "all of them"
        )
        futures = batcher.submit([1, 2, 3])
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.01)
        gate.set()
        assert await asyncio.gather(*futures) == [1, 2, 3]
        await closing
        assert not batcher.alive

    asyncio.run(main())


def test_a_server_with_several_threads_answers_all_and_counts_all(desk_bundle: Path):
    with run(desk_bundle, Settings(threads=3, drain_seconds=0)) as running, ThreadPoolExecutor(12) as pool:
        release = running.site.services[0].release
        assert release is not None
        assert release.threads == 3
        colours = ["red", "green", "blue", "boom"] * 30
        with running.client() as client:
            statuses = list(pool.map(lambda c: client.post("/v1/desk/answer", json={"text": c}).status_code, colours))
        assert statuses == [500 if colour == "boom" else 200 for colour in colours]
        assert (release.tally.answered, release.tally.failed) == (90, 30)
        assert not release.busy


def test_a_torch_model_is_asked_by_one_thread(desk_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    predictor = load(desk_bundle, host=desk_host(), state=tmp_path)
    assert Release(predictor, Settings(threads=3)).threads == 3
    monkeypatch.setattr(predictor.session, "variant", "full")  # of which the bundle holds no export
    assert Release(predictor, Settings(threads=3)).threads == 1


def test_so_is_a_cascade_that_ends_with_one(tmp_path: Path):
    variant_path(tmp_path, "small>torch").mkdir(parents=True)
    CascadeSettings(stages=["small", "torch"], thresholds=[0.5]).write(variant_path(tmp_path, "small>torch"))
    assert needs_torch(tmp_path, "small>torch")
    CascadeSettings(stages=["small", "large"], thresholds=[0.5]).write(variant_path(tmp_path, "small>torch"))
    assert not needs_torch(tmp_path, "small>torch")
    assert needs_torch(tmp_path, "full")


@pytest.mark.parametrize(("told", "threads", "each"), [("1", 1, 0), ("3", 3, 1), ("9", MOST_THREADS, 3)])
def test_threads_share_the_cores(monkeypatch: pytest.MonkeyPatch, told: str, threads: int, each: int):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert threads_of_this_machine() == threads
    assert cores_of_a_thread(threads) == each


def test_more_threads_than_cores_use_one_each(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= threads_of_this_machine() <= MOST_THREADS
    assert cores_of_a_thread(1_000) == 1


@pytest.mark.parametrize(("each", "together", "expected"), [(0.002, 0.0, 32), (0.0005, 0.002, 1)])
def test_batches_that_do_not_pay_are_not_made(
    desk_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: float, together: float, expected: int
):
    predictor = load(desk_bundle, host=desk_host(), state=tmp_path)

    def predict(samples: list[Sample]) -> list[Any]:
        time.sleep(each + together * (len(samples) - 1) * 2)
        return []

    monkeypatch.setattr(predictor, "predict", predict)
    assert probing.try_batches(predictor, 32) == (expected, math.inf)  # how long pictures take is not known
    monkeypatch.setattr(predictor.session, "modalities", ("text",))
    found = probing.try_batches(predictor, 32)
    assert found.batch == expected
    assert each / expected <= found.seconds < 100 * each / expected
    assert probing.try_batches(predictor, 1).seconds >= each


def test_a_quick_model_is_asked_by_one_thread_unless_more_are_asked_for(
    desk_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    predictor = load(desk_bundle, host=desk_host(), state=tmp_path)
    for seconds, asked, expected in ((0.0001, 0, 1), (0.0001, 2, 2), (0.002, 0, 3), (0.002, 1, 1)):
        tried = probing.Tried(8, seconds)
        monkeypatch.setattr("triptych_apps.server.release.try_batches", lambda predictor, most, tried=tried: tried)
        release = Release(predictor, Settings(threads=asked))
        assert (release.threads, release.max_batch) == (expected, 8)


def test_threads_share_what_waits():
    sizes: list[int] = []
    gate = threading.Event()

    def answer(contents: list[int], behind: int) -> list[int]:
        sizes.append(len(contents))
        gate.wait(10)
        return contents

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(answer, max_batch=32, max_queue=99, name="test", threads=2)
        futures = batcher.submit(list(range(8)))
        while len(sizes) < 2:
            await asyncio.sleep(0.001)
        gate.set()
        assert await asyncio.gather(*futures) == list(range(8))
        await batcher.close()

    asyncio.run(main())
    assert sizes == [4, 2, 1, 1]
