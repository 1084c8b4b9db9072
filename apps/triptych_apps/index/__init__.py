"""`triptych index`: a searchable index of your own items; the code of a command is imported when it is used."""

from __future__ import annotations

from triptych_apps.lazy import Lazy, LazyGroup

COMMANDS = {
    "build": Lazy("triptych_apps.index.build:build", "Make an index from a table of items."),
    "add": Lazy("triptych_apps.index.add:add", "Add items, or replace those whose ids are there."),
    "delete": Lazy("triptych_apps.index.delete:delete", "Delete items; with --erase, prove that no trace is left."),
    "search": Lazy("triptych_apps.index.search:search", "Find items by words, by vectors, or by both."),
    "stats": Lazy("triptych_apps.index.look:stats", "Show what an index holds and how it is searched."),
    "verify": Lazy("triptych_apps.index.look:verify", "Check everything that is stored."),
    "compact": Lazy("triptych_apps.index.compact:compact", "Make the space of deleted items free."),
    "migrate": Lazy("triptych_apps.index.migrate:migrate", "Embed all items anew with another encoder."),
}


def _index() -> None:
    """Keep a searchable index of your own items.

    LOCATION is a directory, or the URL of a PostgreSQL database with the name of the index behind a #:
    postgresql://user@host/db#articles
    """


index = LazyGroup(
    "index",
    lazy=COMMANDS,
    callback=_index,
    help=_index.__doc__,
    short_help="Keep a searchable index of your own items: build, add, search, ...",
)
