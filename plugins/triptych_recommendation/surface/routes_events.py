"""Routes of the page for what people do: events, taking one back, and what somebody did of late."""

from __future__ import annotations

from datetime import UTC

from triptych.errors import DataError
from triptych.routes import RouteContext
from triptych_recommendation.data.times import moment_of
from triptych_recommendation.surface import views
from triptych_recommendation.surface.access import live, recommender, settings_of, store

_KEEPS_OUT = ("dislike", "block")  # nothing is learnt from them; no list has their items
_UNDONE = "undone"


def add_event(context: RouteContext, event: views.NewEvent) -> views.Act:
    """Store what somebody did with an item just now. It counts from the next list on."""
    from triptych_recommendation.catalogue.schema import EventRow
    from triptych_recommendation.serving.recommender import now_us

    recommender(context).item(event.item)  # an item that is not there is refused
    weight = 0.0 if event.kind in _KEEPS_OUT else settings_of(context).data.weights.get(event.kind, 1.0)
    row = EventRow(event.user, event.item, event.kind, now_us(), weight)
    recommender(context).add_events([row])
    return _act(row.item, row.kind, row.time, row.key)


def undo_event(context: RouteContext, query: views.UndoQuery) -> views.Undone:
    """Take back an event that came after the build, with the outcomes that it was.

    A note that it was taken back stays in the store: an event that is not learnt from, by which other processes learn
    that they have to read this user again.
    """
    from triptych_recommendation.catalogue.schema import EventRow
    from triptych_recommendation.serving.recommender import now_us

    with store(context).transaction() as tx:
        taken = tx.remove_event(query.user, query.key)
        if taken is None:
            raise DataError(f"{query.user!r} has no event with the key {query.key!r} that could be taken back")
        tx.add_events([EventRow(query.user, f"{_UNDONE} {query.key}", _UNDONE, now_us(), 0.0)])
    live(context).refresh(written=True)
    return views.Undone(act=_act(taken.item, taken.kind, taken.time, ""))


def history(context: RouteContext, query: views.HistoryQuery) -> views.History:
    """What somebody did of late, each item once, and what he does not want to see."""
    found = live(context)
    with store(context).reading() as tx:
        stored = tx.events(user=query.user)
    with found.lock.reading():
        state, items = found.users.get(query.user), found.shelf.items
        rows = [int(row) for row in state.history.items[::-1]]
        acts = list(zip(rows, reversed(state.kinds), state.history.times[::-1].tolist(), strict=True))
        names = {row: items[row].id for row in rows if found.shelf.alive[row]}
        there = {event.item for event in stored if found.shelf.rows.get(event.item, -1) >= 0}
    keys = {(event.item, event.kind, event.time): event.key for event in stored}
    recent = {}
    for row, kind, time in acts:
        name = names.get(row)
        if name is not None and name not in recent:
            recent[name] = _act(name, kind, time, keys.get((name, kind, time), ""))
    kept_out = {
        event.item: _act(event.item, event.kind, event.time, event.key)
        for event in sorted(stored, key=lambda event: event.time)
        if event.kind in _KEEPS_OUT and event.item in there
    }
    return views.History(
        known=state.known,
        events=len(acts),
        recent=list(recent.values())[: query.k],
        kept_out=list(kept_out.values())[::-1][: query.k],
    )


def _act(item: str, kind: str, time: int, key: str) -> views.Act:
    try:
        at = moment_of(time).astimezone(UTC).isoformat(timespec="seconds")
    except OverflowError:  # events without times are numbered
        at = ""
    return views.Act(item=item, kind=kind, at=at, key=key)
