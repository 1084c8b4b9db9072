"""Customer service for Triptych: a message, picture or voice note in; an answer from the knowledge base out."""

from __future__ import annotations

from triptych import hookimpl
from triptych.types import CommandSpec, PageSpec, RouteSpec, VerticalSpec

_ROUTES = "triptych_customer_service.surface.routes"
_THREAD = "conversations/{conversation}"


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


@hookimpl
def triptych_routes() -> list[RouteSpec]:
    """Conversations with their media and feedback, and the intents."""
    name = "customer-service"
    return [
        RouteSpec(name, "conversations", f"{_ROUTES}:conversations", "Conversations by their ids, a line each."),
        RouteSpec(name, _THREAD, f"{_ROUTES}:conversation", "One conversation with all that was shown in it."),
        RouteSpec(name, _THREAD, f"{_ROUTES}:erase", "Erase a conversation with all that belongs to it.", "DELETE"),
        RouteSpec(
            name, f"{_THREAD}/media/{{number}}/{{modality}}", f"{_ROUTES}:media", "A kept picture or voice note."
        ),
        RouteSpec(
            name, f"{_THREAD}/feedback", f"{_ROUTES}:feedback", "Say what you think of an answer; it is kept.", "POST"
        ),
        RouteSpec(name, "intents", f"{_ROUTES}:intents", "What a message can be about."),
    ]


@hookimpl
def triptych_pages() -> list[PageSpec]:
    """The chat."""
    return [
        PageSpec(
            "customer-service",
            "Customer service",
            "triptych_customer_service.surface.page",
            "Ask in words, with a picture or by voice; see how sure the answer is and what it rests on.",
        )
    ]
