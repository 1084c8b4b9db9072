"""Customer service for Triptych: a message, picture or voice note in; an answer from the knowledge base out."""

from __future__ import annotations

from triptych import hookimpl
from triptych.types import CommandSpec, VerticalSpec


@hookimpl
def triptych_verticals() -> list[VerticalSpec]:
    """The vertical `customer-service`."""
    return [
        VerticalSpec(
            "customer-service",
            "triptych_customer_service.vertical:CustomerService",
            "Answers customers' messages, pictures and voice notes from a knowledge base.",
        )
    ]


@hookimpl
def triptych_commands() -> list[CommandSpec]:
    """The command group `triptych conversations`."""
    return [
        CommandSpec(
            "conversations",
            "triptych_customer_service.commands:conversations",
            "List, show, export or erase the conversations that customer service keeps.",
        )
    ]
