"""Recommendation for Triptych: what an item says, shows and sounds like, together with what people do."""

from __future__ import annotations

from triptych import Part, hookimpl
from triptych.types import CommandSpec, VerticalSpec


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
