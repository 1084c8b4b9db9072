"""Recommendation for Triptych: what an item says, shows and sounds like, together with what people do."""

from __future__ import annotations

from triptych import Part, hookimpl
from triptych.types import CommandSpec, PageSpec, RouteSpec, VerticalSpec


@hookimpl
def triptych_verticals() -> list[VerticalSpec]:
    """The vertical `recommendation`."""
    return [
        VerticalSpec(
            "recommendation",
            "triptych_recommendation.vertical:Recommendation",
            "Recommends items to people, from their first second and from their first click.",
        )
    ]


@hookimpl
def triptych_commands() -> list[CommandSpec]:
    """The command group `triptych recommendation`."""
    return [
        CommandSpec(
            "recommendation",
            "triptych_recommendation.surface.commands:recommendation",
            "Recommend, find similar items, keep items and events, report experiments.",
        )
    ]


@hookimpl
def triptych_parts() -> list[Part]:
    """A strategy that learns from what is consumed together."""
    return [
        Part(
            "strategy",
            "co-consumption",
            "triptych_recommendation.content.strategy:CoConsumption",
            "Encoders as they are; a head learns by regression who chooses an item.",
        )
    ]


@hookimpl
def triptych_routes() -> list[RouteSpec]:
    """What the page of recommendations asks."""
    found = (
        ("shop", "routes:shop", "GET", "What the filters of the page are made from."),
        ("people", "routes:people", "GET", "Names of people who did something, by a part of them."),
        ("history", "routes_events:history", "GET", "What somebody did of late, and does not want to see."),
        ("cards", "routes:item_cards", "POST", "Items by their ids."),
        ("item", "routes:item", "GET", "An item, and how many people did what with it."),
        ("similar", "routes:similar", "GET", "Items like one, and by what they are alike."),
        ("picture", "routes:picture", "GET", "The picture of an item, made small."),
        ("sound", "routes:sound", "GET", "The first half minute of the sound of an item."),
        ("varied", "routes:varied", "POST", "A list with another weight of variety than the shop's."),
        ("events", "routes_events:add_event", "POST", "Store what somebody did with an item just now."),
        ("events", "routes_events:undo_event", "DELETE", "Take back what somebody did."),
        ("items", "routes_items:add_item", "POST", "Add an item, or put it in place of the one with its id."),
        ("items", "routes_items:remove_item", "DELETE", "Remove an item from all lists."),
        ("experiments", "routes_experiments:experiments", "GET", "The experiments that run, with their intervals."),
    )
    package = "triptych_recommendation.surface"
    return [
        RouteSpec("recommendation", path, f"{package}.{target}", summary, method)
        for path, target, method, summary in found
    ]


@hookimpl
def triptych_pages() -> list[PageSpec]:
    """The gallery of recommendations."""
    return [
        PageSpec(
            "recommendation",
            "Recommendations",
            "triptych_recommendation.surface.page",
            "Lists for anybody with their reasons, feedback that counts at once, search, new items, experiments.",
        )
    ]
