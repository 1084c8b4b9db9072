"""Speed, memory and size of something that answers requests.

Several variants are measured in turns, round after round, in an order that changes: whatever slows the machine for a
while slows all of them, and the spread between rounds says how far a figure can be trusted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from triptych.errors import ConfigError, DataError

Answer = Callable[[list[Any]], Any]
"""Requests to their answers, which are complete when the call returns."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of rounds, and the least and greatest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """From one value for each round."""
        return cls(float(np.median(values)), float(min(values)), float(max(values)))


@dataclass(frozen=True, slots=True)
class Measurement:
    """How fast one variant answers. Milliseconds are of single requests, wall clock, over all rounds.

    `cpu_ms` is the CPU time of a single request and `batch_cpu_ms` of one in a batch, all threads of the process
    together; `throughput_per_s` is of batches, wall clock. `resident_mb` is the whole process's memory (after the
    variant's rounds, the most of them); what a variant takes alone, `measure_in_fresh_process` tells.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    p50_ms_rounds: Spread
    cpu_ms: float
    batch_cpu_ms: float
    throughput_per_s: float
    throughput_rounds: Spread
    resident_mb: float
    requests: int  # single ones that were timed
    batch_size: int
    rounds: int

    def to_json(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)


def measure(answer: Answer, requests: Sequence[Any], **options: Any) -> Measurement:
    """Measure one variant; the options are those of `measure_all`."""
    return measure_all({"": answer}, requests, **options)[""]


def measure_all(
    variants: Mapping[str, Answer],
    requests: Sequence[Any],
    *,
    batch_size: int = 32,
    rounds: int = 3,
    single_requests: int = 34,
    batches: int = 2,
    round_seconds: float = 2.0,
    warm_up: int = 3,
) -> dict[str, Measurement]:
    """Measure several variants in turns on the same requests.

    Each round times up to `single_requests` single requests and `batches` batches of each variant, one of each at
    least, and stops each of the two after `round_seconds`. `warm_up` single requests and one batch run untimed
    first. The defaults take seconds and suit a report; a p99 worth publishing needs thousands of requests. Raises
    `DataError` without requests.
    """
    if not requests:
        raise DataError("there are no requests to measure with; give at least one")
    items = list(requests)
    sizes = _batches(items, batch_size, batches)
    for answer in variants.values():
        for number in range(warm_up):
            answer([items[number % len(items)]])
        answer(sizes[0])
    timings = {name: _Timings() for name in variants}
    names = list(variants)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            offset = number * single_requests
            singles = [[items[(offset + i) % len(items)]] for i in range(single_requests)]
            timings[name].add(
                _timed(variants[name], singles, round_seconds), _timed(variants[name], sizes, round_seconds)
            )
    return {name: timing.summary(len(sizes[0])) for name, timing in timings.items()}


@dataclass(frozen=True, slots=True)
class FreshProcess:
    """What a process took that did one thing only; `value` is what the function returned, where JSON can hold it.

    `resident_mb` is the growth of the memory from a bare interpreter on, imported modules included, while what the
    function returned was alive; `cpu_seconds` is of the whole process, from its first instruction.
    """

    value: Any
    seconds: float
    cpu_seconds: float
    resident_mb: float


# Nothing of ours is imported here: what the target needs is what is measured. Its prints go to standard error.
_CHILD = """
import json, os, sys, time
import psutil
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
module, _, name = sys.argv[1].partition(":")
process = psutil.Process()
before, start = process.memory_info().rss, time.perf_counter()
import importlib
value = getattr(importlib.import_module(module), name)(*sys.argv[2:])
found = {
    "seconds": time.perf_counter() - start,
    "cpu_seconds": time.process_time(),
    "resident_mb": max(0, process.memory_info().rss - before) / 1e6,
}
try:
    json.dumps(value)
except (TypeError, ValueError):
    value = None
json.dump(found | {"value": value}, out)
"""


def measure_in_fresh_process(target: str, arguments: Sequence[str] = (), *, timeout_s: float = 300.0) -> FreshProcess:
    """Call "module:function" with strings in a Python process of its own, and say what that took.

    The function loads what it is told to and answers a request; what it returns is kept until the memory has been
    read, so it should return what it loaded, or hold it in its module. Raises `ConfigError` for a target that is
    spelt otherwise, and `DataError` with the last lines of the traceback where the function fails or takes longer
    than `timeout_s`.
    """
    module, colon, name = target.partition(":")
    if not (module and colon and name.isidentifier()):
        raise ConfigError(f"{target!r} is no target; write module:function")
    command = [sys.executable, "-c", _CHILD, target, *arguments]
    paths = os.pathsep.join(path for path in sys.path if path)  # what is importable here is importable there
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout_s, check=False, env=os.environ | {"PYTHONPATH": paths}
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{target} did not answer within {timeout_s:g} s") from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise DataError(f"{target} failed in a process of its own (exit code {done.returncode}): {' '.join(last)}")
    return FreshProcess(**json.loads(done.stdout))


def resident_mb() -> float:
    """The memory of this process that lies in RAM, in millions of bytes."""
    return float(psutil.Process().memory_info().rss) / 1e6


def size_mb(path: Path) -> float:
    """The size of a file, or of all files below a directory, in millions of bytes."""
    if path.is_file():
        return path.stat().st_size / 1e6
    return sum(os.path.getsize(os.path.join(d, name)) for d, _, names in os.walk(path) for name in names) / 1e6


@dataclass(frozen=True, slots=True)
class _Round:
    """One call after another: wall seconds of each, CPU seconds and requests of all."""

    seconds: list[float]
    cpu_seconds: float
    requests: int


class _Timings:
    """The rounds of one variant."""

    def __init__(self) -> None:
        self.singles: list[_Round] = []
        self.batches: list[_Round] = []
        self.resident_mb = 0.0

    def add(self, singles: _Round, batches: _Round) -> None:
        self.singles.append(singles)
        self.batches.append(batches)
        self.resident_mb = max(self.resident_mb, resident_mb())

    def summary(self, batch_size: int) -> Measurement:
        milliseconds = np.concatenate([r.seconds for r in self.singles]) * 1e3
        p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99]).tolist()
        throughput = Spread.of([r.requests / sum(r.seconds) for r in self.batches])
        return Measurement(
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            p50_ms_rounds=Spread.of([float(np.median(r.seconds)) * 1e3 for r in self.singles]),
            cpu_ms=_cpu_ms(self.singles),
            batch_cpu_ms=_cpu_ms(self.batches),
            throughput_per_s=throughput.median,
            throughput_rounds=throughput,
            resident_mb=self.resident_mb,
            requests=len(milliseconds),
            batch_size=batch_size,
            rounds=len(self.singles),
        )


def _cpu_ms(rounds: Sequence[_Round]) -> float:
    """CPU milliseconds for each request: the median of the rounds."""
    return float(np.median([r.cpu_seconds / r.requests for r in rounds])) * 1e3


def _batches(items: list[Any], batch_size: int, count: int) -> list[list[Any]]:
    """Batches of one size that go through all requests, again from the start where they are few."""
    size = min(batch_size, len(items))
    return [[items[(number * size + i) % len(items)] for i in range(size)] for number in range(count)]


def _timed(answer: Answer, calls: Sequence[list[Any]], limit_s: float) -> _Round:
    seconds: list[float] = []
    requests = 0
    cpu = time.process_time()
    start = last = time.perf_counter()
    for call in calls:
        answer(call)
        now = time.perf_counter()
        seconds.append(now - last)
        requests += len(call)
        last = now
        if now - start > limit_s:
            break
    return _Round(seconds, time.process_time() - cpu, requests)
