"""What is known of whoever asks: a history, an idea of his taste in content, and the moment's query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.data.tables import first_few
from triptych.errors import DataError
from triptych_recommendation.content.profile import unit
from triptych_recommendation.data.interactions import History
from triptych_recommendation.serving.answers import Context
from triptych_recommendation.serving.live import Live
from triptych_recommendation.serving.state import UserState

Floats = NDArray[np.float32]
LOOKING = "looking"
"""The kind of an event that is none: an item of the request's context."""


@dataclass(frozen=True, slots=True, eq=False)
class Taste:
    """`history` with the items of the context behind it; `kinds` of its events; `query` a unit vector or None."""

    history: History
    kinds: tuple[str, ...]
    seen: NDArray[np.int32]
    query: Floats | None
    known: bool  # whether the user ever did anything
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to go by."""
        return not len(self.history) and self.query is None


def taste_of(live: Live, state: UserState, context: Context | None, now: int) -> Taste:
    """A user's state and the moment as one. Items that nobody knows are passed over, with a note.

    Raises `DataError` for a query that is no vector of the bundle's encoder.
    """
    if context is None:
        return Taste(state.history, state.kinds, state.seen, None, state.known)
    names = list(dict.fromkeys(context.items))
    rows = np.array([live.shelf.rows[name] for name in names if name in live.shelf.rows], dtype=np.int32)
    unknown = [name for name in names if name not in live.shelf.rows]
    notes = (f"{len(unknown)} items of the context are unknown: {first_few(unknown)}",) if unknown else ()
    past = state.history
    history = History(
        np.concatenate([past.items, rows]),
        np.concatenate([past.times, np.full(len(rows), now, dtype=np.int64)]),
        np.concatenate([past.weights, np.ones(len(rows), dtype=np.float32)]),
    )
    seen = np.union1d(state.seen, rows).astype(np.int32)
    kinds = (*state.kinds, *[LOOKING] * len(rows))
    return Taste(history, kinds, seen, _query(context, live.vectors.dim), state.known, notes)


def leaving_out(history: History, groups: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """Bool [groups, events]: of a history what is left without all events with the rows of each group."""
    kept = np.ones((len(groups), len(history)), dtype=np.bool_)
    for group, part in zip(groups, kept, strict=True):
        for row in group:
            part &= history.items != row
    return kept


def _query(context: Context, dim: int) -> Floats | None:
    if context.query is None:
        return None
    query = np.asarray(context.query, dtype=np.float32).reshape(-1)
    if len(query) != dim or not np.isfinite(query).all():
        raise DataError(f"the query must be {dim} finite numbers, as the bundle's encoder gives, not {len(query)}")
    return unit(query) if query.any() else None
