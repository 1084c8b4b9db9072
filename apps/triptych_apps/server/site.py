"""The application behind the server: services, access, measurements, and the routes that FastAPI makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import starlette.exceptions
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp

import triptych
from triptych.errors import ConfigError
from triptych_apps.server import openapi
from triptych_apps.server.access import Access
from triptych_apps.server.dispatch import Dispatch
from triptych_apps.server.edge import Edge
from triptych_apps.server.health import add_health
from triptych_apps.server.logs import log
from triptych_apps.server.metrics import Metrics
from triptych_apps.server.pages import Pages
from triptych_apps.server.plugin_routes import PluginRoutes
from triptych_apps.server.problems import Problem, problem_of
from triptych_apps.server.routes import ENDS, Gate, add_vertical
from triptych_apps.server.service import Service
from triptych_apps.server.settings import Settings
from triptych_apps.server.tracing import traced


class Site:
    """Everything that one server answers with; `asgi` is what a server program runs.

    `access` is None where no key is asked for; with `local` the server then answers programs of this machine alone.
    `on_failure` is called when a bundle cannot be opened: the server has to end.
    """

    def __init__(
        self,
        services: Sequence[Service],
        settings: Settings,
        *,
        access: Access | None = None,
        local: bool = False,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        names = [service.name for service in services]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"two bundles of the vertical {twice!r} were given; serve each with a server of its own")
        self.services, self.settings, self.access = list(services), settings, access
        self.metrics = Metrics()
        self.metrics.watch(self.services)
        for service in self.services:
            service.on_batch = self.metrics.batch
        self.draining = False
        self.failure: Exception | None = None
        self.on_failure = on_failure
        self.gate = Gate(access, local=local)
        self.pages = Pages(self.services, keys=access is not None)
        self.plugin_routes = PluginRoutes(self)
        self.api = self._make_api()
        dispatch = Dispatch(self.api, {f"/v1/{service.name}/{end}" for service in self.services for end in ENDS})
        self.edge = Edge(dispatch, settings, self.metrics, lambda: self.draining)
        self.asgi: ASGIApp = traced(self.edge)

    def _make_api(self) -> FastAPI:
        api = FastAPI(
            title="Triptych",
            version=triptych.__version__,
            docs_url=None,  # its page would load scripts from elsewhere
            redoc_url=None,
            lifespan=self._lifespan,
        )
        api.router.route_class = _Direct
        for service in self.services:
            add_vertical(api, service, self.settings, self.gate, self.metrics)
        add_health(api, self)
        self.pages.add(api)
        schemas = self.plugin_routes.add(api)
        for kind in (Problem, starlette.exceptions.HTTPException, Exception):
            api.add_exception_handler(kind, _tell)
        shapes = [service.shape for service in self.services]
        openapi.install(api, shapes, schemas, with_keys=self.access is not None)
        return api

    @asynccontextmanager
    async def _lifespan(self, _api: FastAPI) -> AsyncIterator[None]:
        """The server listens while bundles are opened, so that its probes can say so."""
        if self.access is not None:
            self.access.start()
        opening = asyncio.create_task(self._open())
        try:
            yield
        finally:
            self.draining = True
            await opening
            self.plugin_routes.close()
            await asyncio.gather(*(service.close() for service in self.services))
            if self.access is not None:
                await self.access.close()

    async def _open(self) -> None:
        try:
            for service in self.services:
                if self.draining:
                    return  # a bundle that is being opened is waited for, and no further one is begun
                await service.open()
                fields = {
                    "vertical": service.name,
                    "variant": service.variant,
                    "fallback": service.fallback,
                    "max_batch": service.max_batch,
                    "threads": service.threads,
                    "cache": service.caches,
                }
                log.info("ready", extra={"fields": fields})
        except Exception as error:
            self.failure = error
            self.on_failure()


class _Direct(APIRoute):
    """Endpoints here take the call and give a response: what FastAPI would do around them is time that clients pay."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself."""
        return self.endpoint


async def _tell(_call: Request, error: Exception) -> Response:
    if isinstance(error, starlette.exceptions.HTTPException):
        error = Problem(error.status_code, error.detail, headers=error.headers or {})
    problem = problem_of(error)
    return Response(problem.json(), problem.status, problem.headers, "application/json")
