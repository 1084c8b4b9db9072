"""Who had to do with what, when and how much: events as sorted arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MOST_KINDS = int(np.iinfo(np.int8).max)
"""Kinds of events that there can be: their places are kept as int8."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What one user did, the oldest first: item rows, microseconds since 1970 (UTC), and weights above 0."""

    items: NDArray[np.int32]
    times: NDArray[np.int64]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, items: ArrayLike, times: ArrayLike | None = None, weights: ArrayLike | None = None) -> Self:
        """A history of item rows in order; without times they are a microsecond apart, without weights all weigh 1.

        Raises `ValueError` where the lengths differ.
        """
        rows = np.asarray(items, dtype=np.int32).reshape(-1)
        moments = np.arange(len(rows), dtype=np.int64) if times is None else np.asarray(times, dtype=np.int64)
        heavy = np.ones(len(rows), dtype=np.float32) if weights is None else np.asarray(weights, dtype=np.float32)
        if moments.shape != rows.shape or heavy.shape != rows.shape:
            raise ValueError(f"{len(rows)} items, but times of shape {moments.shape} and weights of {heavy.shape}")
        return cls(rows, moments, heavy)

    def __len__(self) -> int:
        return len(self.items)

    def where(self, kept: NDArray[np.bool_]) -> History:
        """The events that bool [events] marks."""
        return History(self.items[kept], self.times[kept], self.weights[kept])


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """Events of `users` with `items`, sorted by user, then time, then the order in which they were given.

    The place of a name in `users` or `items` is its number, its row. There may be users and items without any event.
    Made by `of` or `of_rows`; the constructor takes what is sorted already.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    user: NDArray[np.int32]  # [events]
    item: NDArray[np.int32]  # [events]
    time: NDArray[np.int64]  # [events], microseconds since 1970 (UTC)
    weight: NDArray[np.float32]  # [events], above 0
    kind: NDArray[np.int8]  # [events], the place in `kinds`
    kinds: tuple[str, ...]
    starts: NDArray[np.int64]  # [users + 1]: the events of user u are starts[u] to starts[u + 1]

    @classmethod
    def of(
        cls,
        users: Sequence[str],
        items: Sequence[str],
        times: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Self:
        """Events as names, one entry each; rows are given in the order in which names first appear.

        Without times the order given counts, without weights all weigh 1, without kinds all are "view".
        """
        names, places = _numbered(users)
        things, rows = _numbered(items)
        sorts, kind = _numbered(kinds if kinds is not None else ["view"] * len(users))
        return cls.of_rows(names, things, places, rows, times, weights, kind, sorts or ("view",))

    @classmethod
    def of_rows(
        cls,
        users: Sequence[str],
        items: Sequence[str],
        user: ArrayLike,
        item: ArrayLike,
        times: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        kind: ArrayLike | None = None,
        kinds: Sequence[str] = ("view",),
    ) -> Self:
        """Events as rows in `users`, `items` and `kinds`, in any order of users and times.

        Raises `ValueError` for arrays of different lengths, rows that do not exist, and weights that are not above 0.
        """
        who = np.asarray(user, dtype=np.int32).reshape(-1)
        n = len(who)
        what = np.asarray(item, dtype=np.int32).reshape(-1)
        when = np.arange(n, dtype=np.int64) if times is None else np.asarray(times, dtype=np.int64).reshape(-1)
        heavy = np.ones(n, np.float32) if weights is None else np.asarray(weights, dtype=np.float32).reshape(-1)
        sort = np.zeros(n, np.int8) if kind is None else np.asarray(kind, dtype=np.int8).reshape(-1)
        if not len(what) == len(when) == len(heavy) == len(sort) == n:
            raise ValueError(
                f"{n} users, {len(what)} items, {len(when)} times, {len(heavy)} weights, {len(sort)} kinds"
            )
        for rows, names, called in ((who, users, "user"), (what, items, "item"), (sort, kinds, "kind")):
            if n and not 0 <= int(rows.min()) <= int(rows.max()) < len(names):
                raise ValueError(f"a {called} row lies outside of 0 to {len(names) - 1}")
        if not np.all((heavy > 0) & np.isfinite(heavy)):
            raise ValueError("every weight must be a number above 0")
        order = np.lexsort((when, who))
        return cls(
            tuple(users), tuple(items), who[order], what[order], when[order], heavy[order], sort[order], tuple(kinds),
            _starts(who, len(users)),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.item)

    def history(self, user: int) -> History:
        """All events of the user in a row, as views."""
        part = slice(int(self.starts[user]), int(self.starts[user + 1]))
        return History(self.item[part], self.time[part], self.weight[part])

    def histories(self) -> list[History]:
        """The history of each user, in the order of `users`."""
        return [self.history(user) for user in range(len(self.users))]

    def matrix(self) -> csr_matrix:
        """Float32 [users, items], 1 where there is any event."""
        from scipy.sparse import csr_matrix

        ones = np.ones(len(self), dtype=np.float32)
        found: Any = csr_matrix((ones, self.item, self.starts), (len(self.users), len(self.items)), copy=True)
        found.sum_duplicates()  # sorts the columns too
        found.data[:] = 1
        return found

    def where(self, keep: NDArray[np.bool_]) -> Interactions:
        """The events that `keep` [events] marks; users and items, and with them all rows, stay as they are."""
        return replace(
            self,
            user=self.user[keep],
            item=self.item[keep],
            time=self.time[keep],
            weight=self.weight[keep],
            kind=self.kind[keep],
            starts=_starts(self.user[keep], len(self.users)),
        )

    def with_items(self, items: Sequence[str]) -> Interactions:
        """The same events among more items: names that are new get rows behind those that there are."""
        return replace(self, items=tuple(dict.fromkeys((*self.items, *items))))


def _numbered(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """The different names in the order of their first appearance, and the place of each one given."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return tuple(places), np.fromiter((places[name] for name in names), dtype=np.int32, count=len(names))


def _starts(user: NDArray[np.int32], users: int) -> NDArray[np.int64]:
    """Int64 [users + 1]: where the events of each user begin once they are sorted."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(user, minlength=users), dtype=np.int64)])
