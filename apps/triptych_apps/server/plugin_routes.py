"""Endpoints of plugins: what a `RouteSpec` names, with keys and limits around it and a description in OpenAPI."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from triptych.errors import ConfigError
from triptych.routes import RouteContext
from triptych.types import Media, RouteSpec
from triptych_apps.server import openapi, own
from triptych_apps.server.parsing import check_numbers
from triptych_apps.server.problems import ErrorBody, Problem, is_own, problem_of
from triptych_apps.server.query import Query
from triptych_apps.server.reading import invalid, read_object
from triptych_apps.server.streams import MEDIA_TYPE, Streams

if TYPE_CHECKING:
    from fastapi import FastAPI

    from triptych_apps.server.service import Service
    from triptych_apps.server.site import Site

_THREADS = 16
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # a picture may be an SVG, and be opened by itself
_ERRORS = (400, 403, 404, 422, 429, 500, 503)


@dataclass(frozen=True, slots=True)
class _Function:
    """The function behind a route, and what its annotations say."""

    spec: RouteSpec
    call: Callable[..., Any]
    query: Query | None
    returned: type[BaseModel] | None  # None for a `Media`
    streams: bool


class PluginRoutes:
    """The routes of all verticals that a site serves, and of the server's own."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._streams = Streams(lambda: site.draining)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="route")

    def add(self, api: FastAPI) -> dict[str, Any]:
        """Add them to `api`, after all others; the schemas that their descriptions refer to.

        Raises `PluginError` for a function that cannot be imported and `ConfigError` for one that no route can be.
        """
        schemas: dict[str, Any] = {}
        for service in self._site.services:
            for spec in service.host.routes(service.name):
                self._add(api, _function(spec, service.host.load_route(spec)), service, schemas)
        for spec in own.ROUTES:
            self._add(api, _function(spec, pkgutil.resolve_name(spec.target)), None, schemas)
        return schemas

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _add(self, api: FastAPI, function: _Function, service: Service | None, schemas: dict[str, Any]) -> None:
        spec = function.spec
        path = spec.name.partition(" ")[2]
        same = re.sub(r"\{\w+\}", "{}", path)
        for route in api.routes:
            taken = re.sub(r"\{\w+\}", "{}", getattr(route, "path", ""))
            if taken == same and spec.method in (getattr(route, "methods", None) or ()):
                raise ConfigError(
                    f"the route {spec.name} of {spec.target} cannot be served: the server has one already"
                )
        identity = re.sub(r"\W+", "-", f"{spec.method.lower()}-{path.removeprefix('/v1/')}").strip("-")
        extra: dict[str, Any] = {}
        if function.query is not None:
            extra = function.query.describe(schemas)

        async def endpoint(call: Request) -> Response:
            try:
                return await self._answer(function, service, call)
            except Exception as error:
                if is_own(error):
                    raise  # the edge tells and logs it
                raise problem_of(error) from error

        statuses = tuple(sorted({*_ERRORS, *((408, 413, 415) if spec.method == "POST" else ())}))
        api.add_api_route(
            path,
            endpoint,
            methods=[spec.method],
            operation_id=identity,
            summary=spec.help,
            responses=_responses(function, statuses),
            response_class=Response if function.streams or function.returned is None else JSONResponse,
            openapi_extra=extra,
        )

    async def _answer(self, function: _Function, service: Service | None, call: Request) -> Response:
        site = self._site
        key = site.gate.check(call, None if service is None else service.name)
        if site.access is not None and key is not None:
            site.access.admit(key, 1, priced=True)
        if service is not None:
            service.check_open()
        arguments = [] if function.query is None else [await self._query(function.query, function.spec, call)]
        caller = "local" if key is None else key.id
        loop = asyncio.get_running_loop()

        def context(stopping: Callable[[], bool]) -> RouteContext | own.ServerContext:
            if service is None:
                return own.ServerContext(site, caller, stopping, loop)
            assert service.predictor is not None
            return RouteContext(service.predictor, caller, stopping, service.redact)

        if function.streams:
            return await self._streams.of(lambda stopping: function.call(context(stopping), *arguments))
        work = loop.run_in_executor(self._threads, self._content, function, context(lambda: site.draining), arguments)
        try:
            async with asyncio.timeout(site.settings.answer_seconds) as clock:
                content, media_type = await work
        except TimeoutError as error:
            if not clock.expired():  # the function's own
                raise
            seconds = site.settings.answer_seconds
            raise Problem(503, f"no answer within {seconds:g} seconds", kind="timeout", retry_after=1) from error
        if function.returned is None:
            return _file(call, content, media_type)
        return Response(content, headers={"Cache-Control": "no-store"}, media_type=media_type)

    async def _query(self, query: Query, spec: RouteSpec, call: Request) -> BaseModel:
        if spec.method == "POST":
            fields = await read_object(call, self._site.settings)
            twice = sorted(fields.keys() & call.path_params.keys())
            if twice:
                raise Problem(422, f"{twice[0]}: it is in the path, and must not be in the body")
            fields = {**fields, **call.path_params}
        else:
            fields = query.of_url(call)
        try:
            asked = query.model.model_validate(fields)
        except ValidationError as error:
            raise invalid(error) from error
        check_numbers(asked)
        return asked

    @staticmethod
    def _content(function: _Function, context: Any, arguments: list[BaseModel]) -> tuple[bytes, str]:
        """In a thread: what the function returns, as bytes with their media type."""
        result = function.call(context, *arguments)
        if isinstance(result, Media):
            return result.content, result.media_type
        if not isinstance(result, BaseModel):
            raise TypeError(f"{function.spec.target} returned a {type(result).__name__}")
        return result.model_dump_json().encode(), "application/json"


def _file(call: Request, content: bytes, media_type: str) -> Response:
    """A browser may keep it, and asks with its tag whether it is still the same."""
    headers = {"Cache-Control": "private, no-cache", "Content-Security-Policy": _POLICY}
    headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    if headers["ETag"] in call.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


def _function(spec: RouteSpec, call: Callable[..., Any]) -> _Function:
    """Raises `ConfigError` for a signature that is none of a route's."""
    wrong = f"the route {spec.name} cannot be served: {spec.target} "
    hints = typing.get_type_hints(call)
    parameters = list(inspect.signature(call).parameters)
    if len(parameters) not in (1, 2):
        raise ConfigError(wrong + f"has {len(parameters)} parameters, and takes a context and, if need be, a query")
    query = None
    names = re.findall(r"\{(\w+)\}", spec.path)
    if len(parameters) == 2:
        model = hints.get(parameters[1])
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise ConfigError(wrong + f"must have a pydantic model as the annotation of {parameters[1]!r}")
        query = Query(spec, model, names, wrong)
    elif names:
        raise ConfigError(wrong + f"takes no query, where {names[0]!r} of the path could go")
    returned = hints.get("return")
    streams = typing.get_origin(returned) is Iterator
    if streams:
        (returned,) = typing.get_args(returned)
    if returned is Media and not streams:
        return _Function(spec, call, query, None, streams=False)
    if not (isinstance(returned, type) and issubclass(returned, BaseModel)):
        raise ConfigError(wrong + "must be annotated to return a pydantic model, a Media or an Iterator of a model")
    return _Function(spec, call, query, returned, streams)


def _responses(function: _Function, statuses: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    found = openapi.responses(function.returned or ErrorBody, statuses)
    if function.returned is None:
        schema = {"type": "string", "format": "binary"}
        found[200] = {"description": "The file.", "content": {"*/*": {"schema": schema}}}
    elif function.streams:
        text = f"Server-sent events; the data of each message is a {function.returned.__name__}."
        found[200] = {"description": text, "content": {MEDIA_TYPE: openapi.EVENTS}}
    return found
