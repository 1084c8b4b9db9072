"""What the server offers of itself, beside its verticals: routes under `/v1/_server/`, a page at `/pages/_operator/`.

Both need a key that allows every vertical. Targets are imported when the server starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from triptych.types import PageSpec, RouteSpec

if TYPE_CHECKING:
    from triptych_apps.server.site import Site

T = TypeVar("T")
_OPERATOR = "triptych_apps.operator"
ROUTES: list[RouteSpec] = [
    RouteSpec("", "overview", f"{_OPERATOR}.overview:overview", "How the server and its verticals do"),
    RouteSpec("", "keys", f"{_OPERATOR}.overview:keys", "Keys with what they spent, without secrets"),
    RouteSpec("", "ledger", f"{_OPERATOR}.overview:ledger", "The ledger of an opened release"),
    RouteSpec("", "versions", f"{_OPERATOR}.changes:versions", "The versions of a bundle, and which of them answer"),
    RouteSpec("", "versions", f"{_OPERATOR}.changes:change", "Decide which version answers", method="POST"),
    RouteSpec("", "queue", f"{_OPERATOR}.review:queue", "What to review next"),
    RouteSpec("", "decisions", f"{_OPERATOR}.review:newest", "The newest decisions"),
    RouteSpec("", "decisions/{id}", f"{_OPERATOR}.review:decision", "One decision"),
    RouteSpec("", "decisions/{id}/media/{field}", f"{_OPERATOR}.review:media", "A picture or a sound of a decision"),
    RouteSpec(
        "", "decisions/{id}/verdict", f"{_OPERATOR}.review:verdict", "Say what is right of a decision", method="POST"
    ),
]
PAGES: list[PageSpec] = [
    PageSpec("", "Operator", f"{_OPERATOR}.page", "Health, cost and quality of what is served, releases and review."),
]


@dataclass(frozen=True, slots=True, eq=False)
class ServerContext:
    """What a route of the server's own works with; `caller` and `stopping` as in `triptych.routes.RouteContext`.

    Routes run in threads, and most of the site belongs to the event loop's: what is more than a glance at a number
    goes through `in_loop`.
    """

    site: Site
    caller: str
    stopping: Callable[[], bool]
    loop: asyncio.AbstractEventLoop

    def in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """What the event loop makes of a coroutine, waited for. Raises what it raises."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()
