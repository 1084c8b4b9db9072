"""Measured figures are those of what was measured, and money follows from them."""

from __future__ import annotations

import json
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from triptych.compression.measure import (
    measure,
    measure_all,
    measure_in_fresh_process,
    size_mb,
)
from triptych.compression.prices import Prices
from triptych.errors import ConfigError, DataError


def sleeper(seconds: float) -> Any:
    def answer(requests: list[Any]) -> list[Any]:
        time.sleep(seconds)
        return requests

    return answer


def test_latency_and_throughput_are_those_of_the_answer() -> None:
    found = measure(sleeper(0.002), range(10), batch_size=5, rounds=3, single_requests=5, batches=2)
    assert 2 <= found.p50_ms <= found.p95_ms <= found.p99_ms
    assert found.p50_ms < 50
    assert 50 < found.throughput_per_s <= 5 / 0.002
    assert found.p50_ms_rounds.low <= found.p50_ms_rounds.median <= found.p50_ms_rounds.high
    assert found.throughput_rounds.median == found.throughput_per_s
    assert (found.requests, found.batch_size, found.rounds) == (15, 5, 3)
    assert found.cpu_ms < found.p50_ms  # it sleeps
    assert found.resident_mb > 10
    assert json.loads(json.dumps(found.to_json()))["p50_ms_rounds"]["median"] > 2


def test_cpu_time_is_that_of_a_request() -> None:
    def busy(requests: list[Any]) -> None:
        end = time.process_time() + 0.003 * len(requests)
        while time.process_time() < end:
            pass

    found = measure(busy, range(4), rounds=2, single_requests=4, batches=2)
    assert found.cpu_ms == pytest.approx(3, rel=0.4)
    assert found.batch_cpu_ms == pytest.approx(3, rel=0.4)


def test_variants_take_turns_and_each_goes_first_once() -> None:
    calls: list[str] = []
    names = ["a", "b", "c"]
    variants = {name: lambda requests, name=name: calls.append(name) for name in names}
    measure_all(variants, [1], rounds=3, single_requests=1, batches=1, warm_up=0)
    rounds = calls[3:]  # the untimed batch of each comes before
    assert rounds == list("aabbccbbccaaccaabb")


def test_every_request_is_used_and_batches_are_full() -> None:
    sizes: list[int] = []
    seen: set[int] = set()

    def answer(requests: list[int]) -> None:
        sizes.append(len(requests))
        seen.update(requests)

    found = measure(answer, range(7), batch_size=4, rounds=2, single_requests=4, batches=2, warm_up=0)
    assert set(sizes) == {1, 4}
    assert seen == set(range(7))
    assert measure(answer, range(3), batch_size=8, rounds=1).batch_size == 3
    assert found.batch_size == 4


def test_a_slow_variant_stops_at_the_limit() -> None:
    found = measure(sleeper(0.02), [1], rounds=2, single_requests=1000, batches=1000, round_seconds=0.05, warm_up=0)
    assert found.requests < 20


def test_nothing_to_measure_with_is_refused() -> None:
    with pytest.raises(DataError, match="no requests"):
        measure(sleeper(0), [])


def write_target(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    import sys, time
    kept = None

    def numbers(count, name):
        global kept
        import numpy
        kept = numpy.ones(int(count), dtype=numpy.float32)
        print("this is no result")
        return {"name": name, "mean": float(kept.mean()), "torch": "torch" in sys.modules}

    def array():
        import numpy
        return numpy.ones(30_000_000, dtype=numpy.float32)

    def busy():
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass

    def broken():
        raise ValueError("no such model")

    def slow():
        time.sleep(60)

    def leaves():
        sys.exit(3)
    """
    (folder / "fresh_target.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(folder))


def test_a_process_of_its_own_tells_what_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_target(tmp_path, monkeypatch)
    few = measure_in_fresh_process("fresh_target:numbers", ["10", "ä b"])
    many = measure_in_fresh_process("fresh_target:numbers", ["20000000", "x"])
    assert few.value == {"name": "ä b", "mean": 1.0, "torch": False}
    assert many.resident_mb - few.resident_mb == pytest.approx(80, rel=0.2)
    assert few.resident_mb > 5  # importing numpy is part of it
    assert measure_in_fresh_process("fresh_target:busy").cpu_seconds >= 0.3


def test_what_the_function_returns_is_alive_while_memory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_target(tmp_path, monkeypatch)
    found = measure_in_fresh_process("fresh_target:array")
    assert found.value is None  # JSON cannot hold it
    assert found.resident_mb > 120


def test_a_process_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_target(tmp_path, monkeypatch)
    with pytest.raises(DataError, match="ValueError: no such model"):
        measure_in_fresh_process("fresh_target:broken")
    with pytest.raises(DataError, match="No module named"):
        measure_in_fresh_process("no_such_module_at_all:load")
    with pytest.raises(DataError, match="exit code 3"):
        measure_in_fresh_process("fresh_target:leaves")
    with pytest.raises(DataError, match=r"within 0\.5 s"):
        measure_in_fresh_process("fresh_target:slow", timeout_s=0.5)
    for target in ("fresh_target", ":load", "fresh_target:", "fresh_target:a b"):
        with pytest.raises(ConfigError, match="write module:function"):
            measure_in_fresh_process(target)


def test_sizes_count_every_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(bytes(1_000_000))
    (tmp_path / "sub" / "b").write_bytes(bytes(500_000))
    assert size_mb(tmp_path) == 1.5
    assert size_mb(tmp_path / "a") == 1.0


# Money


def test_the_packaged_prices_are_whole_and_say_that_they_are_assumed() -> None:
    prices = Prices.load()
    assert prices.currency == "USD"
    assert prices.describe().startswith("Assumed prices: ")
    assert prices.apis["hosted_classification"] > 0


def test_money_follows_from_seconds(tmp_path: Path) -> None:
    text = """
    currency = "EUR"
    cpu_core_hour = 0.036
    gpu_hour = 3.6
    kwh = 0.5
    cpu_core_watts = 10
    gpu_watts = 400
    """
    (tmp_path / "own.toml").write_text(text)
    prices = Prices.load(tmp_path / "own.toml")
    million = prices.per_million(0.01)  # 10,000 core-seconds
    assert million.amount == pytest.approx(0.1)
    assert million.kwh == pytest.approx(10_000 / 3600 * 0.01)
    assert million.currency == "EUR"
    run = prices.cost(cpu_seconds=100, gpu_seconds=3600)
    assert run.amount == pytest.approx(3.601)
    assert str(run) == "3.6 EUR (0.4 kWh)"
    owned = prices.model_copy(update={"electricity_included": False})
    assert owned.cost(0, 3600).amount == pytest.approx(3.6 + 0.4 * 0.5)
    assert "0.5 EUR per kWh added" in owned.describe()


def test_every_problem_of_a_price_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('currency = ""\ncpu_core_hour = -1\ngpu_hours = 2')
    with pytest.raises(ConfigError) as caught:
        Prices.load(tmp_path / "own.toml")
    text = "\n".join(caught.value.problems)
    assert all(f"own.toml: {key}" in text for key in ("currency", "cpu_core_hour", "gpu_hour", "gpu_hours", "kwh"))
    with pytest.raises(ConfigError, match="does not exist"):
        Prices.load(tmp_path / "absent.toml")
