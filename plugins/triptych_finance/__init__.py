"""Finance for Triptych: news, charts and calls in; sentiment of each sentence, article and company out, and alerts."""

from __future__ import annotations

from triptych import Part, hookimpl
from triptych.types import CommandSpec, VerticalSpec


@hookimpl
def triptych_verticals() -> list[VerticalSpec]:
    """The vertical `finance`."""
    return [
        VerticalSpec(
            "finance",
            "triptych_finance.vertical:Finance",
            "Reads the mood of financial news, charts and calls, for each company that they name.",
        )
    ]


@hookimpl
def triptych_commands() -> list[CommandSpec]:
    """The command group `triptych finance`."""
    return [
        CommandSpec(
            "finance",
            "triptych_finance.surface.commands:finance",
            "Watch a stream of news for alerts, replay and back-test it.",
        )
    ]


@hookimpl
def triptych_parts() -> list[Part]:
    """The sources of news, each named after the scheme of its addresses, and a strategy."""
    sources = "triptych_finance.sources"
    stream = f"{sources}.streams:Stream"
    return [
        Part("source", "replay", f"{sources}.tables:Replay", "A table or JSONL file in the order of its times."),
        Part("source", "directory", f"{sources}.directory:Directory", "Files that are put into a folder."),
        Part("source", "feed", f"{sources}.feed:Feed", "An RSS or Atom feed, asked politely."),
        Part("source", "push", f"{sources}.push:Push", "Items that are posted to an address of this machine."),
        Part("source", "redis", stream, "A stream of Redis."),
        Part("source", "rediss", stream, "A stream of Redis, encrypted on its way."),
        Part("source", "valkey", stream, "A stream of Valkey."),
        Part("source", "valkeys", stream, "A stream of Valkey, encrypted on its way."),
        Part("strategy", "graded", "triptych_finance.graded:Graded", "As full, with doubtful labels taught as such."),
    ]
