"""Limits of time end what takes too long, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from triptych_apps.server.deadlines import Limit

LONG_S = 30.0


async def limited(seconds: float, work: float) -> str:
    with Limit(asyncio.get_running_loop().time() + seconds):
        await asyncio.sleep(work)
    return "done"


def test_what_is_done_in_time_goes_on():
    assert asyncio.run(limited(LONG_S, 0.0)) == "done"


def test_what_takes_too_long_is_ended_and_the_task_goes_on():
    async def run() -> str:
        with pytest.raises(TimeoutError):
            await limited(0.0, LONG_S)
        await asyncio.sleep(0)
        return await limited(LONG_S, 0.0)

    assert asyncio.run(run()) == "done"


def test_only_the_one_that_is_late_ends():
    async def run() -> list[str | BaseException]:
        return await asyncio.gather(limited(0.0, LONG_S), limited(LONG_S, 0.3), return_exceptions=True)

    late, other = asyncio.run(run())
    assert isinstance(late, TimeoutError)
    assert other == "done"


def test_a_task_that_somebody_else_cancels_is_cancelled():
    async def run() -> None:
        task = asyncio.create_task(limited(LONG_S, LONG_S))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_a_failure_within_is_not_covered_up():
    async def run() -> None:
        with Limit(asyncio.get_running_loop().time() + LONG_S):
            raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        asyncio.run(run())


def test_loops_after_each_other_have_limits_of_their_own():
    for _ in range(3):
        with pytest.raises(TimeoutError):
            asyncio.run(limited(0.0, LONG_S))
