"""Finance for Triptych: news, charts and calls in; sentiment of each sentence, article and company out, and alerts."""

from __future__ import annotations

from triptych import Part, hookimpl
from triptych.types import CommandSpec, PageSpec, RouteSpec, VerticalSpec


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


@hookimpl
def triptych_routes() -> list[RouteSpec]:
    """What the page of the monitor asks for, under /v1/finance/."""

    def route(path: str, target: str, summary: str, method: str = "GET") -> RouteSpec:
        return RouteSpec("finance", path, f"triptych_finance.surface.{target}", summary, method)

    return [
        route("state", "routes_health:state", "Whether there is a store of a monitor to look at."),
        route("health", "routes_health:health", "Sources, lag, drift, and what alarms cost."),
        route("overview", "routes:overview", "Where all companies or sectors stand."),
        route("series", "routes:series", "The index of a company or sector over time, with its alerts."),
        route("items", "routes:items", "What was said of a company or sector, copies as one."),
        route("alerts", "routes_alerts:alerts", "Alerts in a state, the latest first."),
        route("alerts/{id}", "routes_alerts:alert", "An alert with its evidence."),
        route("alerts/{id}/verdict", "routes_alerts:verdict", "Confirm or dismiss an alert.", "POST"),
        route("silences", "routes_alerts:silences", "The silences that are not over."),
        route("silences", "routes_alerts:silence", "Silence alerts from now on.", "POST"),
        route("silences/{id}", "routes_alerts:expire", "End a silence.", "DELETE"),
        route("live", "routes_live:live", "New and changed alerts, buckets and items, as they are stored."),
    ]


@hookimpl
def triptych_pages() -> list[PageSpec]:
    """The page of the monitor."""
    summary = "Sentiment by company and sector, alerts with their evidence, and what an analyst says of them."
    return [PageSpec("finance", "Market sentiment", "triptych_finance.surface.page", summary)]
