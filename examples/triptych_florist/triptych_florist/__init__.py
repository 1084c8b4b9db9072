"""A flower shop: which service a message asks for, and which flowers answer it.

Every hook of Triptych is used here once. This module is imported whenever Triptych starts, so it imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from triptych import Part, hookimpl
from triptych.errors import RefusedError
from triptych.types import CommandSpec, PageSpec, RouteSpec, VerticalSpec

if TYPE_CHECKING:
    from triptych.vertical import Request, Response

CARD_NUMBER = re.compile(r"\b(?:\d[ -]?){13,16}\b")
MOST_CHARACTERS = 2000
POISONOUS = ("lily", "lilies", "tulip", "daffodil")


@hookimpl
def triptych_verticals() -> Iterable[VerticalSpec]:
    """The shop itself."""
    return [VerticalSpec("florist", "triptych_florist.florist:Florist", "Answers the customers of a flower shop.")]


@hookimpl
def triptych_parts() -> Iterable[Part]:
    """An encoder that sees nothing but colours."""
    return [Part("encoder", "palette", "triptych_florist.palette:Palette", "The colours of a picture, nothing else.")]


@hookimpl
def triptych_commands() -> Iterable[CommandSpec]:
    """`triptych catalogue`."""
    return [CommandSpec("catalogue", "triptych_florist.commands:catalogue", "List the florist's flowers.")]


@hookimpl
def triptych_routes() -> Iterable[RouteSpec]:
    """`GET /v1/florist/flowers`."""
    return [
        RouteSpec("florist", "flowers", "triptych_florist.routes:flowers", "The florist's flowers, cheapest first.")
    ]


@hookimpl
def triptych_pages() -> Iterable[PageSpec]:
    """`/pages/florist/`, which shows what the route says."""
    return [PageSpec("florist", "The shop", "triptych_florist.shop", "What flowers there are, and what they cost.")]


@hookimpl
def triptych_redact(vertical: str, request: Request) -> Request | None:
    """No card number is kept, and what is answered is what is kept."""
    return None if not request.text else request.model_copy(update={"text": CARD_NUMBER.sub("[card]", request.text)})


@hookimpl
def triptych_before_answer(vertical: str, request: Request) -> Request | None:
    """No card number reaches the model or a log, and no novel is read."""
    if vertical != "florist" or not request.text:
        return None
    if len(request.text) > MOST_CHARACTERS:
        raise RefusedError(f"Please say it in at most {MOST_CHARACTERS} characters.")
    return request.model_copy(update={"text": CARD_NUMBER.sub("[card number]", request.text)})


@hookimpl
def triptych_after_answer(vertical: str, response: Response) -> Response | None:
    """Owners of cats are warned, whatever the answer was."""
    if vertical != "florist" or not any(name in response.answer.lower() for name in POISONOUS):
        return None
    return response.model_copy(update={"answer": response.answer + " Keep it away from cats: it is poisonous to them."})
