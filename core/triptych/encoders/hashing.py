"""Text as hashed n-grams: no vocabulary, no language, the same numbers on every machine.

Character n-grams carry Chinese as well as English; whole words and pairs of words add order. Hashing is plain integer
arithmetic on code points, for all n-grams of a text at once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError

Codes = NDArray[np.uint64]

LONGEST = 4_000
"""Characters kept of a text."""
LONGEST_GRAM = 4
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: spreads neighbouring sums far apart
WORD, PAIR = np.uint64(101), np.uint64(102)  # seeds that keep words and pairs apart from n-grams


def hashed_grams(value: Any, buckets: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The buckets of a text's n-grams, each once and sorted, and 1 + log of how often each occurs.

    A word said ten times is not ten times as telling. Raises `DataError` for what is not a text.
    """
    grams = _hashes(as_text(value)[:LONGEST]) % np.uint64(buckets)
    found, counts = np.unique(grams, return_counts=True)
    return found.astype(np.int64), (1 + np.log(counts)).astype(np.float32)


def padded_grams(values: Sequence[Any], buckets: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """`hashed_grams` of several texts, int64 and float32 [texts, most n-grams]; counts are zero beyond the end."""
    grams = [hashed_grams(value, buckets) for value in values]
    width = max((len(found) for found, _ in grams), default=1)
    indices = np.zeros((len(grams), width), dtype=np.int64)
    counts = np.zeros((len(grams), width), dtype=np.float32)
    for row, (found, count) in enumerate(grams):
        indices[row, : len(found)] = found
        counts[row, : len(found)] = count
    return indices, counts


def rarities(values: Sequence[Any], buckets: int) -> NDArray[np.float32]:
    """Inverse document frequency of every bucket, float32 [buckets]: log((1 + n) / (1 + df)) + 1."""
    frequency = np.zeros(buckets)
    for value in values:
        frequency[hashed_grams(value, buckets)[0]] += 1
    return (np.log((1 + len(values)) / (1 + frequency)) + 1).astype(np.float32)


def as_text(value: Any) -> str:
    """The value, which must be a text. Raises `DataError`."""
    if not isinstance(value, str):
        raise DataError(f"a text is wanted, not {type(value).__name__}: {str(value)[:60]!r}")
    return value


def _hashes(text: str) -> Codes:
    """Hashes of all character 1- to 4-grams, words and pairs of words; blanks stand at both ends."""
    text = f" {' '.join(unicodedata.normalize('NFKC', text).casefold().split())} "
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    found: list[Codes] = []
    rolling = np.zeros(len(codes), dtype=np.uint64)
    for length in range(1, LONGEST_GRAM + 1):
        if len(codes) < length:
            break
        rolling = rolling[: len(codes) - length + 1] * MULTIPLIER + codes[length - 1 :]
        found.append(_mix(rolling + np.uint64(length)))
    words = _words(codes)
    found.append(_mix(words + WORD))
    found.append(_mix(words[:-1] * MULTIPLIER + words[1:] + PAIR))
    return np.concatenate(found)


def _words(codes: Codes) -> Codes:
    """One hash for each run of characters between blanks: a polynomial of its code points."""
    blanks = np.flatnonzero(codes == ord(" "))
    hashes = []
    for start, stop in zip(blanks[:-1] + 1, blanks[1:], strict=True):
        powers = np.cumprod(np.full(stop - start, MULTIPLIER))
        hashes.append((codes[start:stop] * powers).sum(dtype=np.uint64))
    return np.array(hashes, dtype=np.uint64)


def _mix(values: Codes) -> Codes:
    """Spread every bit over all (a multiply and two shifted exclusive ors): the low bits choose the bucket."""
    values = (values ^ (values >> np.uint64(31))) * MULTIPLIER
    return values ^ (values >> np.uint64(29))
