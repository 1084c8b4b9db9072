"""Syndicated copies: which texts say what an earlier one said, so that a story counts once.

Two texts are one where their words are equal after normalisation, or where their vectors are near and their facts
agree (see `facts`). What is found depends on the items and their order alone, not on how they are cut into calls, and
is the same after `restore`: vectors are compared as the float16 that the store keeps, and the sum in float64 of
products of two of those is exact in any order, as terms are multiples of 2^-48 and sums stay below 2^5.

Only texts with the same marks can be one, so each is held against those alone, and first by an upper bound: of unit
vectors in two orthogonal parts, x*y <= x1*y1 + |x2||y2| (Cauchy and Schwarz), so 97 numbers of each vector find every
one that can be near, and little else.
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
from triptych_finance.signal.clock import HOUR, micros
from triptych_finance.signal.facts import Facts, read
from triptych_finance.signal.settings import DuplicateSettings

Halves = NDArray[np.float16]
Places = NDArray[np.int64]

_CHUNK = 256  # texts that are looked for in one go
_GONE = 0.2  # share of rows whose time is over at which they are forgotten
_PART = 96  # directions of the first part
_SLACK = 1e-4  # more than float32 is wrong by
_PAIRS = 4096  # whose cosines are computed in one go
_AT_ONCE = 8192  # rows of equal marks that are bounded in one go
_LONGEST = 1.01  # of what passes for a unit vector


@dataclass(slots=True, eq=False)
class _Row:
    """One text. `root` is the key of the first of its kind."""

    root: str
    time: int
    digest: bytes
    facts: Facts


class _Rows:
    """Rows in the order of arrival with their vectors, and by their marks."""

    def __init__(self, dim: int) -> None:
        self.rows: list[_Row] = []
        self.vectors: Halves = np.empty((0, dim), dtype=np.float16)
        self._parts: NDArray[np.float32] = np.empty((0, min(dim, _PART) + 1), dtype=np.float32)
        self._codes = np.empty((0, 3), dtype=np.int64)
        self._alike: dict[frozenset[str], list[int]] = {}  # marks to places

    def add(self, rows: Sequence[_Row], vectors: Halves) -> None:
        start, end = len(self.rows), len(self.rows) + len(rows)
        if end > len(self.vectors):
            room = ((0, max(end, 2 * start) - len(self.vectors)), (0, 0))
            self.vectors, self._parts = np.pad(self.vectors, room), np.pad(self._parts, room)
            self._codes = np.pad(self._codes, room)
        self.vectors[start:end], self._parts[start:end] = vectors, _parts(vectors)
        self._codes[start:end] = _codes(rows)
        for place, row in enumerate(rows, start):
            self._alike.setdefault(row.facts.marks, []).append(place)
        self.rows += rows

    def near(self, start: int, threshold: float) -> list[list[tuple[float, _Row]]]:
        """For each row from `start` on the cosine of every row before it that is near and may have the same facts."""
        found: list[list[tuple[float, _Row]]] = [[] for _ in self.rows[start:]]
        later, earlier = self._proposed(start, threshold - _SLACK)
        may = _may_agree(self._codes[later], self._codes[earlier])
        later, earlier = later[may], earlier[may]
        for first in range(0, len(later), _PAIRS):
            some = slice(first, first + _PAIRS)
            cosines = _cosines(self.vectors[later[some]], self.vectors[earlier[some]])
            for number in np.flatnonzero(cosines >= threshold).tolist():
                pair = first + number
                found[later[pair] - start].append((float(cosines[number]), self.rows[earlier[pair]]))
        return found

    def before(self, time: int) -> Places:
        """The places of rows that are older."""
        return np.flatnonzero(self._codes[: len(self.rows), 2] < time)

    def without(self, gone: Places) -> _Rows:
        """The same rows but for some."""
        kept = np.delete(np.arange(len(self.rows)), gone)
        left = _Rows(self.vectors.shape[1])
        left.add([self.rows[place] for place in kept.tolist()], self.vectors[kept])
        return left

    def _proposed(self, start: int, least: float) -> tuple[Places, Places]:
        """All pairs of a row from `start` on and one before it, of equal marks, whose cosine may be `least` or more."""
        fresh: dict[frozenset[str], list[int]] = {}
        for place in range(start, len(self.rows)):
            fresh.setdefault(self.rows[place].facts.marks, []).append(place)
        nobody = np.empty(0, dtype=np.int64)
        pairs = [(nobody, nobody)]
        for marks, places in fresh.items():
            queries, known = np.array(places), np.array(self._alike[marks])
            for first in range(0, len(known), _AT_ONCE) if len(known) > 1 else ():
                some = known[first : first + _AT_ONCE]
                bounds = self._parts[queries] @ self._parts[some].T
                one, other = np.nonzero((bounds >= least) & (queries[:, None] > some))
                pairs.append((queries[one], some[other]))
        later, earlier = zip(*pairs, strict=True)
        return np.concatenate(later), np.concatenate(earlier)


class Duplicates:
    """The texts of the window. An instance belongs to one thread."""

    def __init__(self, settings: DuplicateSettings) -> None:
        self._threshold = settings.threshold
        self._window = settings.window_hours * HOUR
        self._newest: int | None = None
        self._remembered: _Rows | None = None
        self._standing: dict[bytes, _Row] = {}  # of rows with equal words, the latest one stands for all

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
            known = self._known(part)
            known.add(rows, part)
            neighbours = known.near(len(known.rows) - len(rows), self._threshold)
            for key, row, near in zip(keys[start:], rows, neighbours, strict=False):
                self._newest = row.time if self._newest is None else max(self._newest, row.time)
                root = self._equal(row) or self._nearest(row, near)
                found.append(root)
                self._stand(row, root or key)
            self._forget()
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
            self._known(part).add(rows, part)
            for key, row, original in zip(keys[start:], rows, originals[start:], strict=False):
                self._newest = row.time if self._newest is None else max(self._newest, row.time)
                self._stand(row, original or key)
            self._forget()

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
        known = self._remembered
        if len(keys) and known is not None and known.vectors.shape[1] != table.shape[1]:
            dims = f"{table.shape[1]} dimensions, those before have {known.vectors.shape[1]}"
            raise DataError(f"vectors have {dims}; another encoder needs a new store")
        return table

    def _known(self, vectors: Halves) -> _Rows:
        if self._remembered is None:
            self._remembered = _Rows(vectors.shape[1])
        return self._remembered

    def _over(self, row: _Row) -> bool:
        """Whether a row is older than the window."""
        assert self._newest is not None
        return row.time < self._newest - self._window

    def _equal(self, row: _Row) -> str | None:
        other = self._standing.get(row.digest)
        return None if other is None or self._over(other) else other.root

    def _nearest(self, row: _Row, neighbours: Sequence[tuple[float, _Row]]) -> str | None:
        best: tuple[float, str] | None = None
        for cosine, other in neighbours:
            stands = self._standing.get(other.digest) is other and not self._over(other)
            if stands and row.facts.agree(other.facts):
                best = (-cosine, other.root) if best is None else min(best, (-cosine, other.root))
        return None if best is None else best[1]

    def _stand(self, row: _Row, root: str) -> None:
        row.root = root
        before = self._standing.get(row.digest)
        if before is None or before.time <= row.time:
            self._standing[row.digest] = row

    def _forget(self) -> None:
        """Forget rows whose time is over, once there are enough of them."""
        known = self._remembered
        if known is None or self._newest is None:
            return
        gone = known.before(self._newest - self._window)
        if len(gone) <= _GONE * len(known.rows):
            return
        for place in gone.tolist():
            row = known.rows[place]
            digest = row.digest
            if self._standing.get(digest) is row:
                del self._standing[digest]
        self._remembered = known.without(gone)


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


def _codes(rows: Sequence[_Row]) -> Places:
    """What decides quickly whether two rows of equal marks may agree, for this process alone; and their times."""
    codes = [(hash(row.facts.numbers), row.facts.lenient, row.time) for row in rows]
    return np.array(codes, dtype=np.int64).reshape(-1, 3)


def _may_agree(one: Places, other: Places) -> NDArray[np.bool_]:
    lenient = (one[:, 1] | other[:, 1]).astype(bool)
    same: NDArray[np.bool_] = lenient | (one[:, 0] == other[:, 0])
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
    """What bounds the cosines of each vector, made a unit: its first part, and the length of the second."""
    units = vectors.astype(np.float64)
    units /= _lengths(units)[:, None]
    first = units @ _directions(units.shape[1])
    rest = np.maximum(0.0, (units * units).sum(axis=1) - (first * first).sum(axis=1))
    return np.concatenate([first, np.sqrt(rest)[:, None]], axis=1).astype(np.float32)
