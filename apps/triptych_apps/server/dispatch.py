"""The short way to an endpoint, for the calls that a server exists for.

FastAPI finds a route by trying their patterns one after the other, within layers of middleware that nothing here needs:
of a call whose model takes a fraction of a millisecond that is a large share. A POST to one of the paths named goes
straight to its endpoint; everything else goes through FastAPI.
"""

from __future__ import annotations

from collections.abc import Container

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send


class Dispatch:
    """ASGI application. What an endpoint raises reaches the caller, which tells the client."""

    def __init__(self, api: FastAPI, paths: Container[str]) -> None:
        self._api = api
        routes = (route for route in api.routes if isinstance(route, APIRoute) and route.methods == {"POST"})
        self._routes = {route.path: route for route in routes if route.path in paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._api(scope, receive, send)
            return
        scope["route"] = route
        response = await route.endpoint(Request(scope, receive))
        await response(scope, receive, send)
