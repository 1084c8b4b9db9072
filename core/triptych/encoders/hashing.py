"""Text as hashed n-grams: no vocabulary, no language, the same numbers on every machine.

Character n-grams carry Chinese as well as English; whole words and pairs of words add order. Hashing is plain integer
arithmetic on code points, for all n-grams of many texts at once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError

Codes = NDArray[np.uint64]

LONGEST = 4_000
"""Characters kept of a text."""
LONGEST_GRAM = 4
AT_ONCE = 32
"""Texts that are hashed together: their n-grams stay in the cache."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: spreads neighbouring sums far apart
WORD, PAIR = np.uint64(101), np.uint64(102)  # seeds that keep words and pairs apart from n-grams


@dataclass(frozen=True, slots=True, eq=False)
class Grams:
    """The n-grams of texts behind one another: those of text `i` end at `ends[i]` and begin where the last one's ended.

    `buckets` int64, of each text each once and sorted; `counts` float32: 1 + log of how often each occurs, for a word
    said ten times is not ten times as telling; `rows` int64, the text that each belongs to; `ends` int64 [texts].
    """

    buckets: NDArray[np.int64]
    counts: NDArray[np.float32]
    rows: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each text begins; it has one n-gram at least, for even an empty one has blanks at its ends."""
        return np.concatenate([[0], self.ends[:-1]])

    def weights(self, rarity: NDArray[np.float32]) -> NDArray[np.float32]:
        """TF-IDF with `rarity` [buckets], float32 [n-grams], of length one over each text."""
        weights = self.counts * rarity[self.buckets]
        lengths = np.sqrt(np.add.reduceat(weights * weights, self.starts))
        weights /= np.maximum(lengths, 1e-12)[self.rows]
        return weights


def grams_of(values: Sequence[Any], buckets: int) -> Grams:
    """The n-grams of texts, hashed together. Raises `DataError` for what is not a text."""
    hashes, rows = _hashes([as_text(value)[:LONGEST] for value in values])
    keys = rows * buckets + (hashes % np.uint64(buckets)).astype(np.int64)
    found, counts = np.unique(keys, return_counts=True)
    rows = found // buckets
    ends = np.searchsorted(rows, np.arange(len(values)), side="right")
    return Grams(found - rows * buckets, (1 + np.log(counts)).astype(np.float32), rows, ends)


def hashed_grams(value: Any, buckets: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The buckets and counts of a single text, as `Grams` has them. Raises `DataError` for what is not a text."""
    grams = grams_of([value], buckets)
    return grams.buckets, grams.counts


def padded_grams(values: Sequence[Any], buckets: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """`hashed_grams` of several texts, int64 and float32 [texts, most n-grams]; counts are zero beyond the end."""
    grams = grams_of(values, buckets)
    lengths = np.diff(grams.ends, prepend=0)
    columns = np.arange(len(grams.rows)) - (grams.ends - lengths)[grams.rows]
    indices = np.zeros((len(values), max(lengths, default=1)), dtype=np.int64)
    counts = np.zeros(indices.shape, dtype=np.float32)
    indices[grams.rows, columns] = grams.buckets
    counts[grams.rows, columns] = grams.counts
    return indices, counts


def rarities(values: Sequence[Any], buckets: int) -> NDArray[np.float32]:
    """Inverse document frequency of every bucket, float32 [buckets]: log((1 + n) / (1 + df)) + 1."""
    frequency = np.zeros(buckets)
    for start in range(0, len(values), AT_ONCE):
        frequency += np.bincount(grams_of(values[start : start + AT_ONCE], buckets).buckets, minlength=buckets)
    return (np.log((1 + len(values)) / (1 + frequency)) + 1).astype(np.float32)


def as_text(value: Any) -> str:
    """The value, which must be a text. Raises `DataError`."""
    if not isinstance(value, str):
        raise DataError(f"a text is wanted, not {type(value).__name__}: {str(value)[:60]!r}")
    return value


def _hashes(texts: Sequence[str]) -> tuple[Codes, NDArray[np.int64]]:
    """Hashes of all character 1- to 4-grams, words and pairs of words, and the text that each is of.

    Blanks stand at both ends of a text.
    """
    plain = [f" {' '.join(unicodedata.normalize('NFKC', text).casefold().split())} " for text in texts]
    codes = np.frombuffer("".join(plain).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    lengths = np.fromiter(map(len, plain), dtype=np.int64, count=len(plain))
    ends = np.cumsum(lengths)
    rows = np.repeat(np.arange(len(plain)), lengths)
    left = ends[rows] - np.arange(len(codes))  # characters from here to the end of the text
    found, of = [], []
    rolling = np.zeros(len(codes), dtype=np.uint64)
    for length in range(1, min(LONGEST_GRAM, len(codes)) + 1):
        rolling = rolling[: len(codes) - length + 1] * MULTIPLIER + codes[length - 1 :]
        whole = left[: len(rolling)] >= length  # not half of one text and half of the next
        found.append(_mix(rolling[whole] + np.uint64(length)))
        of.append(rows[: len(rolling)][whole])
    words, row = _words(codes, rows, left)
    found.append(_mix(words + WORD))
    of.append(row)
    pairs = row[:-1] == row[1:]
    found.append(_mix((words[:-1] * MULTIPLIER + words[1:] + PAIR)[pairs]))
    of.append(row[1:][pairs])
    return np.concatenate(found), np.concatenate(of)


def _words(codes: Codes, rows: NDArray[np.int64], left: NDArray[np.int64]) -> tuple[Codes, NDArray[np.int64]]:
    """One hash for each run of characters between blanks, a polynomial of its code points, and its text."""
    blank = codes == ord(" ")
    starts = np.flatnonzero(blank & (left > 1)) + 1
    if not len(starts):
        return codes[:0], rows[:0]
    # behind the first blank everything lies in a word or is a blank, which counts for nothing
    place = np.arange(starts[0], len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    powers = np.cumprod(np.full(place.max() + 1, MULTIPLIER))
    terms = np.where(blank[starts[0] :], np.uint64(0), codes[starts[0] :] * powers[place])
    return np.add.reduceat(terms, starts - starts[0]), rows[starts]


def _mix(values: Codes) -> Codes:
    """Spread every bit over all (a multiply and two shifted exclusive ors): the low bits choose the bucket."""
    values = (values ^ (values >> np.uint64(31))) * MULTIPLIER
    return values ^ (values >> np.uint64(29))
