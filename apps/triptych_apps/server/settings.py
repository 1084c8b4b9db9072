"""What one server allows: sizes, times and lengths, each with a default that suits a small machine."""

from __future__ import annotations

from dataclasses import dataclass

from triptych.cores import cpu_count, wanted_threads

MEGABYTE = 1_000_000
MOST_THREADS = 4
"""That answer for one bundle, unless more are asked for: Python runs one at a time, so more of them mostly wait."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one server. Seconds are wall time."""

    max_body: int = 16 * MEGABYTE  # bytes of one request
    max_bodies: int = 256 * MEGABYTE  # bytes of all requests that are being read or answered
    max_text: int = 20_000  # characters
    max_values: int = 100_000  # values in the JSON of one call
    max_pixels: int = 40_000_000
    max_audio_seconds: float = 120.0
    max_items: int = 64  # requests in one call of the batch endpoint
    max_open: int = 512  # calls that are being read or answered
    threads: int = 0  # that answer, for each version of a bundle that answers without torch; 0: as many as pay
    max_batch: int = 32
    max_queue: int = 256  # requests of one vertical that wait
    fallback_at: float = 0.5  # share of the queue from which on a cheaper variant answers
    cache: int = 0  # answers that are remembered for each vertical
    header_seconds: float = 10.0  # until the head of a request is there
    body_seconds: float = 30.0  # until its body is there
    answer_seconds: float = 30.0  # until it is answered, waiting included
    write_seconds: float = 30.0  # a client that reads nothing for so long is gone
    idle_seconds: int = 15  # between two requests on one connection
    drain_seconds: float = 1.0  # after SIGTERM, until new connections are refused


def threads_of_this_machine() -> int:
    """One that answers for each core that may be used, and not more than `MOST_THREADS`."""
    return min(_cores(), MOST_THREADS)


def cores_of_a_thread(threads: int) -> int:
    """How many cores one call of a model may use where so many threads answer; 0: those that the runtime finds."""
    return 0 if threads == 1 else -(-_cores() // threads)


def _cores() -> int:
    """`OMP_NUM_THREADS`, or those that there are."""
    return wanted_threads() or cpu_count()
