"""The hooks: where a plugin meets the suite. Implement any of them at the top level of the plugin's module.

    from triptych import hookimpl
    from triptych.types import Part

    @hookimpl
    def triptych_parts():
        return [Part("encoder", "shout", "my_plugin.shout:Shout", "Counts capital letters.")]

and name the module in `pyproject.toml`:

    [project.entry-points.triptych]
    my_plugin = "my_plugin"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from triptych.types import CommandSpec, PageSpec, Part, RouteSpec, VerticalSpec

if TYPE_CHECKING:
    from triptych.vertical import Request, Response

hookspec = pluggy.HookspecMarker("triptych")
hookimpl = pluggy.HookimplMarker("triptych")


@hookspec
def triptych_parts() -> Iterable[Part]:  # type: ignore[empty-body]
    """Offer encoders, fusions, strategies and readers. Called once, when plugins are loaded.

    Return records, not classes: the named code is imported when somebody uses it. A name that another plugin already
    gave to a part of the same kind is an error that names both plugins.

        return [Part("fusion", "first", "my_plugin.first:First", "Takes the first modality that is present.")]
    """


@hookspec
def triptych_verticals() -> Iterable[VerticalSpec]:  # type: ignore[empty-body]
    """Offer domain applications. Called once, when plugins are loaded.

    return [VerticalSpec("florist", "my_plugin.florist:Florist", "Answers questions about flowers.")]
    """


@hookspec
def triptych_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
    """Add commands to `triptych`; each target is a `click.Command` or a `click.Group`. Called once.

    return [CommandSpec("florist", "my_plugin.commands:florist", "Tend the florist's catalogue.")]
    """


@hookspec
def triptych_routes() -> Iterable[RouteSpec]:  # type: ignore[empty-body]
    """Add endpoints to verticals that are served; each target is a function, see `triptych.routes`. Called once.

    The server checks keys and limits, runs the function in a thread and describes it in OpenAPI by its annotations.
    A route that another plugin already added, or one of the server's own, is an error that names both.

        return [RouteSpec("florist", "prices", "my_plugin.routes:prices", "What flowers cost today.")]
    """


@hookspec
def triptych_pages() -> Iterable[PageSpec]:  # type: ignore[empty-body]
    """Add a web page to verticals that are served, one to each vertical. Called once.

    Return where its files lie; what it shows it fetches from routes. A vertical whose page two plugins add is an
    error that names both.

        return [PageSpec("florist", "The shop", "my_plugin.shop", "Flowers and what they cost.")]
    """


@hookspec
def triptych_redact(vertical: str, request: Request) -> Request | None:
    """Take out of a request what must not be kept; called by the server before it is answered and stored.

    Called for every request, plugin after plugin, and before `triptych_before_answer`. What it returns is what is
    answered and what is stored, so that a kept decision can be answered again. Return None to leave the request. An
    exception refuses it, for what could not be cleaned must not be stored. Notes that come over HTTP with feedback or a
    verdict are cleaned by it too, as the text of a request whose other fields have their defaults, or are missing.

        return request.model_copy(update={"text": without_names(request.text)}) if request.text else None
    """


@hookspec
def triptych_before_answer(vertical: str, request: Request) -> Request | None:
    """Change or refuse a request before anything is encoded; called for every request, plugin after plugin.

    Return a changed request (each plugin sees what the one before returned) or None to leave it. Raise
    `triptych.errors.RefusedError` to refuse it: the user sees its message. Any other exception refuses the request
    as well, for a guardrail that has failed must not let everything pass.

        return request.model_copy(update={"text": mask_card_numbers(request.text)}) if request.text else None
    """


@hookspec
def triptych_after_answer(vertical: str, request: Request, response: Response) -> Response | None:
    """Annotate or replace a response, or send it to review; called for every answer, plugin after plugin.

    Return a changed response or None to leave it. An exception here is logged and the answer stands.

        audit_log.write(vertical, response.confidence)
    """
