"""Histories as the token stream that a sequence model is trained on: rows of one length, without any padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import History, Interactions

MOST_HELD = 500  # users whose last event tells training when to end


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some rows of the stream, all full. A history may end and another begin within a row, or be cut by its edge."""

    inputs: NDArray[np.int32]  # [rows, length]: the token read; the number of items stands for a history's start
    targets: NDArray[np.int32]  # [rows, length]: the item that came next
    starts: NDArray[np.int64]  # [rows, length]: the place in the row at which the history of a token begins


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """What is learnt from, and for some users the last item, which is not."""

    tokens: NDArray[np.int32]  # [events]: items in order, user after user
    ends: NDArray[np.int64]  # [users + 1]: the events of user u are ends[u] to ends[u + 1]
    items: int
    held_histories: list[NDArray[np.int32]]
    held_items: NDArray[np.int32]

    @classmethod
    def of(cls, interactions: Interactions, rng: np.random.Generator) -> Corpus:
        """Take the last event of at most 500 users, and of at most half of all, who have three events or more."""
        keep = without_repeats(interactions.item, interactions.user)
        user, tokens = interactions.user[keep], interactions.item[keep]
        ends = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(interactions.users)))]).astype(np.int64)
        able = np.flatnonzero(np.diff(ends) >= 3)
        held = np.sort(rng.permutation(able)[: min(MOST_HELD, len(able) // 2)])
        histories = [tokens[ends[u] : ends[u + 1] - 1] for u in held]
        last = ends[held + 1] - 1
        sizes = np.diff(ends)
        sizes[held] -= 1
        return cls(
            np.delete(tokens, last),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            len(interactions.items),
            histories,
            tokens[last],
        )

    def epoch(self, length: int, batch: int, rng: np.random.Generator) -> Iterator[Rows]:
        """All events once, users in random order, about `batch` events at a time.

        The stream is cut into rows of `length`; what does not fill the last row is left out, other events each time.
        """
        sizes = np.diff(self.ends)
        users = rng.permutation(np.flatnonzero(sizes))
        sizes = sizes[users]
        begins = np.cumsum(sizes) - sizes
        inside = np.arange(len(self.tokens)) - np.repeat(begins, sizes)  # the place of an event in its history
        targets = self.tokens[np.repeat(self.ends[users], sizes) + inside]
        inputs = np.concatenate([targets[:1], targets[:-1]])
        inputs[begins] = self.items
        width = min(length, len(targets))
        n = len(targets) // width
        starts = np.maximum(np.arange(width) - inside[: n * width].reshape(n, width), 0)
        inputs, targets = inputs[: n * width].reshape(n, width), targets[: n * width].reshape(n, width)
        for part in np.array_split(rng.permutation(n), min(n, max(1, round(n * width / batch)))):
            yield Rows(inputs[part], targets[part], starts[part])


def without_repeats(items: NDArray[np.int32], users: NDArray[np.int32] | None = None) -> NDArray[np.bool_]:
    """Marks [events] that are not of the very item of the event before (of the same user): one act, told twice."""
    keep = np.ones(len(items), dtype=np.bool_)
    keep[1:] = items[1:] != items[:-1]
    if users is not None:
        keep[1:] |= users[1:] != users[:-1]
    return keep


def tokens_of_parts(
    history: NDArray[np.int32], kept: NDArray[np.bool_], items: int, length: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """What `read_tokens` gives for parts of a history; bool [parts, events] says which events each has.

    Int32 [1 + events], the start and the items, and bool [parts, 1 + events], which of them are a part's tokens.
    """
    events = len(history)
    tokens = np.concatenate([np.array([items], np.int32), history])
    there = np.zeros((len(kept), 1 + events), dtype=np.bool_)
    there[:, 1:] = kept & (history >= 0) & (history < items)
    before = np.maximum.accumulate(there * np.arange(1 + events), axis=1)[:, :-1]  # the place of the token before
    there[:, 1:] &= (before == 0) | (tokens[before] != tokens[1:])
    left = np.cumsum(there[:, ::-1], axis=1)[:, ::-1]  # tokens from a place on
    there &= left <= length
    there[:, 0] = left[:, 0] < length
    return tokens, there


def read_tokens(history: History | NDArray[np.int32], items: int, length: int) -> NDArray[np.int32]:
    """The newest `length` tokens of a history, the start included; items that the model does not know are left out."""
    rows = history.items if isinstance(history, History) else history
    rows = rows[(rows >= 0) & (rows < items)]
    rows = rows[without_repeats(rows)][-length:]
    return rows if len(rows) == length else np.concatenate([np.array([items], np.int32), rows])
