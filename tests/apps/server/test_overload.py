"""More than it can answer: only 503 and 429, a cheaper variant before that, and recovery at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.apps.server.conftest import Running, error_kind, run, wait
from triptych_apps.server.settings import Settings

SETTINGS = Settings(threads=1, max_batch=4, max_queue=16, drain_seconds=0)


@pytest.fixture(scope="module")
def small(desk_bundle: Path) -> Iterator[Running]:
    with run(desk_bundle, SETTINGS) as running:
        yield running


def burst(running: Running, count: int, text: str) -> list[httpx.Response]:
    """So many calls at the same time."""

    async def main() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(base_url=running.url, timeout=30, limits=limits) as client:
            calls = [client.post("/v1/desk/answer", json={"text": text}) for _ in range(count)]
            return list(await asyncio.gather(*calls))

    return asyncio.run(main())


def test_three_times_too_much_is_refused_in_part_and_never_fails(small: Running):
    responses = burst(small, 3 * (SETTINGS.max_queue + SETTINGS.max_batch), "sleep 10 red")
    statuses = Counter(response.status_code for response in responses)
    assert set(statuses) == {200, 503}
    assert statuses[200] >= SETTINGS.max_queue
    for response in responses:
        if response.status_code == 503:
            assert error_kind(response) == "overloaded"
            assert int(response.headers["retry-after"]) >= 1
        else:
            assert response.json()["answer"] == "It is red"


def test_under_load_the_cheaper_variant_answers_and_says_so(small: Running):
    responses = burst(small, SETTINGS.max_queue, "sleep 10 green")
    answered = [response for response in responses if response.status_code == 200]
    variants = Counter(response.json()["variant"] for response in answered)
    assert set(variants) == {"small", "large"}
    for response in answered:
        fell_back = response.headers.get("triptych-fallback") == "overload"
        assert fell_back == (response.json()["variant"] == "small")
        assert response.headers["triptych-variant"] == response.json()["variant"]
    value = small.site.metrics.registry.get_sample_value
    release = small.site.services[0].releases[0].version
    labels = {"vertical": "desk", "release": release, "variant": "small", "mode": "fallback"}
    assert (value("triptych_answers_total", labels) or 0) >= variants["small"]


def test_it_recovers_at_once(small: Running):
    burst(small, 80, "sleep 5 blue")
    with small.client() as client:
        response = client.post("/v1/desk/answer", json={"text": "blue"})
        assert response.status_code == 200
        assert (response.json()["variant"], response.headers.get("triptych-fallback")) == ("large", None)
        assert client.get("/health/ready").status_code == 200


def test_a_batch_that_finds_no_room_is_refused_as_a_whole(small: Running):
    with small.client() as client:
        response = client.post("/v1/desk/answers", json={"requests": [{"text": "red"}] * 17})
        assert (response.status_code, error_kind(response)) == (503, "overloaded")


def test_too_many_open_calls_are_turned_away_unread(desk_bundle: Path):
    with run(desk_bundle, Settings(max_open=2, drain_seconds=0)) as running:
        statuses = Counter(response.status_code for response in burst(running, 20, "sleep 50 red"))
        assert set(statuses) == {200, 503}
        with running.client() as client:
            assert client.post("/v1/desk/answer", json={"text": "red"}).status_code == 200
        wait(lambda: running.site.edge.open == 0)
        assert running.site.edge.held == 0


def test_a_full_queue_is_not_ready(desk_bundle: Path):
    with run(desk_bundle, Settings(threads=1, max_batch=1, max_queue=1, drain_seconds=0)) as running:
        release = running.site.services[0].release
        assert release is not None

        async def main() -> tuple[httpx.Response, httpx.Response]:
            async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
                first = asyncio.create_task(client.post("/v1/desk/answer", json={"text": "sleep 500 red"}))
                while not (release.busy and release.depth == 0):
                    await asyncio.sleep(0.01)
                second = asyncio.create_task(client.post("/v1/desk/answer", json={"text": "red"}))
                while release.depth == 0:
                    await asyncio.sleep(0.01)
                probes = await client.get("/health/ready"), await client.get("/health/live")
                await asyncio.gather(first, second)
                return probes

        ready, live = asyncio.run(main())
        assert (ready.status_code, error_kind(ready)) == (503, "not_ready")
        assert live.status_code == 200
