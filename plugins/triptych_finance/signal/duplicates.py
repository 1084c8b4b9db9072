"""Syndicated copies: which texts say what an earlier one said, so that a story counts once.

Two texts are one where their words are equal after normalisation, or where their vectors are near and their facts
agree (see `facts`). What is found depends on the items and their order alone, not on how they are cut into calls, and
is the same after `restore`: vectors are compared as the float16 that the store keeps, and the sum in float64 of
products of two of those is exact in any order, as terms are multiples of 2^-48 and sums stay below 2^5.

FAISS proposes, by an upper bound. Of unit vectors in two orthogonal parts, x*y <= x1*y1 + |x2||y2| (Cauchy and
Schwarz); so a search among 97 numbers of each vector finds every one that can be near, and little else.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych.retrieval.index import VectorIndex
from triptych_finance.signal.clock import HOUR, micros
from triptych_finance.signal.facts import Facts, read
from triptych_finance.signal.settings import DuplicateSettings

Halves = NDArray[np.float16]
Rows = NDArray[np.int64]

_CHUNK = 256  # texts that are searched for in one go
_SEGMENTS = 4  # of a window; one whose time is over is forgotten whole
_FIRST = 8  # proposals of one search; more where these may not be all
_PART = 96  # directions of the first part
_SLACK = 1e-4  # more than float32 is wrong by
_PAIRS = 4096  # whose cosines are computed in one go
_LONGEST = 1.01  # of what passes for a unit vector


@dataclass(slots=True)
class _Row:
    """One text. `root` is the key of the first of its kind."""

    root: str
    time: int
    digest: bytes
    facts: Facts


class _Segment:
    """Rows that arrived one after the other: their vectors, and an index that proposes neighbours."""

    def __init__(self, first: int, began: int, dim: int) -> None:
        self.first, self.began = first, began
        self.latest = began
        self.rows: list[_Row] = []
        self.table: Halves = np.empty((0, dim), dtype=np.float16)
        self.codes = np.empty((0, 3), dtype=np.int64)
        self._index = VectorIndex(min(dim, _PART) + 1, metric="dot", flat_below=2**62)  # exact, however many

    def add(self, rows: Sequence[_Row], vectors: Halves) -> None:
        start, end = len(self.rows), len(self.rows) + len(rows)
        if end > len(self.table):
            room = max(end, 2 * start) - len(self.table)
            self.table = np.pad(self.table, ((0, room), (0, 0)))
            self.codes = np.pad(self.codes, ((0, room), (0, 0)))
        self.table[start:end], self.codes[start:end] = vectors, _codes(rows)
        self._index.add([str(number) for number in range(start, end)], _parts(vectors))
        self.rows += rows
        self.latest = max(self.latest, *(row.time for row in rows))

    def propose(self, parts: NDArray[np.float32], least: float) -> tuple[Rows, Rows]:
        """All pairs of a query and a row whose cosine may be `least` or more: numbers of queries, and of rows."""
        k, left = _FIRST, np.arange(len(parts) if self.rows else 0)
        queries, found = [left[:0]], [left[:0]]
        while len(left):
            results = self._index.search(parts[left], k)
            near = results.scores >= least
            more = near[:, -1].copy() if k < len(self.rows) else np.zeros(len(left), dtype=bool)
            near[more] = False  # they come again, with more rows
            queries.append(np.repeat(left, near.sum(axis=1)))
            found.append(results.positions[near])
            left = left[more]
            k *= 8
        return np.concatenate(queries), np.concatenate(found)


class Duplicates:
    """The texts of the window. An instance belongs to one thread."""

    def __init__(self, settings: DuplicateSettings) -> None:
        self._threshold = settings.threshold
        self._window = settings.window_hours * HOUR
        self._newest: int | None = None
        self._count = 0  # rows so far; a row's number is its place in the order of arrival
        self._rows: dict[int, _Row] = {}
        self._fresh: list[_Row] = []  # rows that are in no segment yet
        self._segments: list[_Segment] = []
        self._standing: dict[bytes, int] = {}  # of rows with equal words, the latest one stands for all

    def __len__(self) -> int:
        """How many different texts are remembered."""
        return len(self._standing)

    def collapse(
        self,
        keys: Sequence[str],
        texts: Sequence[str],
        vectors: NDArray[np.floating],
        times: Sequence[datetime],
        entities: Sequence[Collection[str]] | None = None,
    ) -> list[str | None]:
        """For each item, in order of arrival, the key of the first one of its kind; None where it is the first.

        `vectors` is float [items, dim]; `times` are event times, of which those older than the window, seen from the
        newest so far, are forgotten. `entities` are those that each item is about: copies are about the same. Equal
        words come first, then the nearest vector; a copy of a copy is one of the first. Raises `DataError`, and
        remembers nothing, where lengths or vectors do not fit.
        """
        table = self._check(keys, texts, vectors, times, entities)
        found: list[str | None] = []
        for start in range(0, len(keys), _CHUNK):
            part = table[start : start + _CHUNK]
            rows = _rows(texts, times, entities, start, len(part))
            for key, row, neighbours in zip(keys[start:], rows, self._neighbours(part, rows), strict=False):
                self._newest = row.time if self._newest is None else max(self._newest, row.time)
                root = self._equal(row) or self._nearest(row, neighbours)
                found.append(root)
                self._stand(row, root or key)
            self._keep(part)
        return found

    def restore(
        self,
        keys: Sequence[str],
        texts: Sequence[str],
        vectors: NDArray[np.floating],
        times: Sequence[datetime],
        originals: Sequence[str | None],
        entities: Sequence[Collection[str]] | None = None,
    ) -> None:
        """Remember what the store has of the window, in order of arrival, with what `collapse` found for each.

        Afterwards it finds what it would have found without the restart. Raises `DataError` as `collapse` does.
        """
        table = self._check(keys, texts, vectors, times, entities)
        for start in range(0, len(keys), _CHUNK):
            part = table[start : start + _CHUNK]
            rows = _rows(texts, times, entities, start, len(part))
            for key, row, original in zip(keys[start:], rows, originals[start:], strict=False):
                self._newest = row.time if self._newest is None else max(self._newest, row.time)
                self._stand(row, original or key)
            self._keep(part)

    def _check(
        self,
        keys: Sequence[str],
        texts: Sequence[str],
        vectors: NDArray[np.floating],
        times: Sequence[datetime],
        entities: Sequence[Collection[str]] | None,
    ) -> Halves:
        table: Halves = np.asarray(vectors).astype(np.float16)
        lengths = [len(keys), len(texts), len(table), len(times), len(keys if entities is None else entities)]
        if len(set(lengths)) > 1:
            raise DataError(f"keys, texts, vectors, times and entities differ in length: {lengths}")
        for time in times:
            micros(time)
        fit = table.ndim == 2 and np.isfinite(table).all() and (_lengths(table.astype(np.float64)) <= _LONGEST).all()
        if len(keys) and not fit:
            raise DataError("vectors must be [items, dim], of unit length and without NaN")
        if len(keys) and self._segments and self._segments[-1].table.shape[1] != table.shape[1]:
            dims = f"{table.shape[1]} dimensions, those before have {self._segments[-1].table.shape[1]}"
            raise DataError(f"vectors have {dims}; another encoder needs a new store")
        return table

    def _neighbours(self, part: Halves, fresh: Sequence[_Row]) -> list[list[tuple[float, int]]]:
        """For each vector the cosine and the number of every row before it that is near and may have the same facts.

        `part` and `fresh` come next, and so are rows for each other.
        """
        found: list[list[tuple[float, int]]] = [[] for _ in part]
        parts, codes = _parts(part), _codes(fresh)
        for segment in [*self._segments, None]:
            if segment is None:
                queries, rows = np.tril_indices(len(part), -1)
                table, known, first = part, codes, self._count
            else:
                queries, rows = segment.propose(parts, self._threshold - _SLACK)
                table, known, first = segment.table, segment.codes, segment.first
            same = _may_agree(codes[queries], known[rows])
            queries, rows = queries[same], rows[same]
            for start in range(0, len(rows), _PAIRS):
                some = slice(start, start + _PAIRS)
                cosines = _cosines(part[queries[some]], table[rows[some]])
                for number in np.flatnonzero(cosines >= self._threshold) + start:
                    found[queries[number]].append((float(cosines[number - start]), first + int(rows[number])))
        return found

    def _stands(self, number: int) -> bool:
        """Whether a row is in the window and no later one has equal words."""
        row = self._rows[number]
        assert self._newest is not None
        return row.time >= self._newest - self._window and self._standing.get(row.digest) == number

    def _equal(self, row: _Row) -> str | None:
        number = self._standing.get(row.digest)
        return self._rows[number].root if number is not None and self._stands(number) else None

    def _nearest(self, row: _Row, neighbours: Sequence[tuple[float, int]]) -> str | None:
        best: tuple[float, str] | None = None
        for cosine, number in neighbours:
            other = self._rows[number]
            if self._stands(number) and row.facts.agree(other.facts):
                best = (-cosine, other.root) if best is None else min(best, (-cosine, other.root))
        return None if best is None else best[1]

    def _stand(self, row: _Row, root: str) -> None:
        row.root = root
        number = self._count + len(self._fresh)
        self._fresh.append(row)
        self._rows[number] = row
        before = self._standing.get(row.digest)
        if before is None or self._rows[before].time <= row.time:
            self._standing[row.digest] = number

    def _keep(self, part: Halves) -> None:
        """Put what was seen last into its segment, and forget segments whose time is over."""
        assert self._newest is not None
        if not self._segments or self._newest - self._segments[-1].began >= self._window // _SEGMENTS:
            self._segments.append(_Segment(self._count, self._newest, part.shape[1]))
        self._segments[-1].add(self._fresh, part)
        self._count += len(self._fresh)
        self._fresh = []
        while self._segments[0].latest < self._newest - self._window:
            gone = self._segments.pop(0)
            for number, row in enumerate(gone.rows, gone.first):
                del self._rows[number]
                if self._standing.get(row.digest) == number:
                    del self._standing[row.digest]


def _rows(
    texts: Sequence[str],
    times: Sequence[datetime],
    entities: Sequence[Collection[str]] | None,
    start: int,
    count: int,
) -> list[_Row]:
    found = []
    for number in range(start, start + count):
        words, facts = read(texts[number], () if entities is None else entities[number])
        told = "\x1f".join([words, *sorted(facts.marks)])
        digest = hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found.append(_Row("", micros(times[number]), digest, facts))
    return found


def _codes(rows: Sequence[_Row]) -> Rows:
    """Of each row's facts what decides quickly whether two may agree; the numbers mean nothing beyond this process."""
    codes = [(hash(row.facts.marks), hash(row.facts.numbers), row.facts.lenient) for row in rows]
    return np.array(codes, dtype=np.int64).reshape(-1, 3)


def _may_agree(one: Rows, other: Rows) -> NDArray[np.bool_]:
    lenient = (one[:, 2] | other[:, 2]).astype(bool)
    same: NDArray[np.bool_] = (one[:, 0] == other[:, 0]) & (lenient | (one[:, 1] == other[:, 1]))
    return same


def _cosines(one: Halves, other: Halves) -> NDArray[np.float64]:
    """The cosine of each pair of rows, the same to the last bit in whatever company."""
    left, right = one.astype(np.float64), other.astype(np.float64)
    products: NDArray[np.float64] = (left * right).sum(axis=1)
    return products / (_lengths(left) * _lengths(right))


def _lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.sqrt((vectors * vectors).sum(axis=1))
    return np.where(lengths > 0, lengths, 1.0)


@functools.cache
def _directions(dim: int) -> NDArray[np.float64]:
    """Orthonormal directions [dim, at most _PART]; which ones does not matter to what is found."""
    return np.linalg.qr(np.random.default_rng(0).normal(size=(dim, min(dim, _PART))))[0]


def _parts(vectors: Halves) -> NDArray[np.float32]:
    """What the index keeps of each vector, made a unit: its first part, and the length of the second."""
    units = vectors.astype(np.float64)
    units /= _lengths(units)[:, None]
    first = units @ _directions(units.shape[1])
    rest = np.maximum(0.0, (units * units).sum(axis=1) - (first * first).sum(axis=1))
    return np.concatenate([first, np.sqrt(rest)[:, None]], axis=1).astype(np.float32)
