"""The three endpoints of a vertical: one answer, several answers, and what it is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from pydantic import BaseModel, create_model
from starlette.responses import Response

from triptych.errors import ConfigError
from triptych.types import Modality
from triptych.vertical import Request as Question
from triptych_apps.server import openapi, streams
from triptych_apps.server.access import Access, check_local
from triptych_apps.server.keys import Key
from triptych_apps.server.logs import tell
from triptych_apps.server.metrics import Metrics
from triptych_apps.server.problems import ErrorBody, Problem, is_own, problem_of
from triptych_apps.server.reading import read_many, read_one
from triptych_apps.server.service import Answered, Service
from triptych_apps.server.settings import Settings

ENDS = ("answer", "answers")
"""The last part of the paths that ask a vertical."""


class About(BaseModel):
    """What a vertical is, and what answers in it."""

    vertical: str
    title: str
    version: str  # of the vertical
    bundle: str  # the version of the bundle
    created: str
    modalities: list[Modality]  # that the model understands
    variant: str
    fallback: str | None  # the variant that answers when too many requests wait
    max_batch: int  # requests that are answered together
    threads: int  # batches that are answered at once
    cached: bool  # whether answers are remembered
    price_per_million: float | None  # of answers by `variant`, by the ledger
    currency: str


class Waiting(BaseModel):
    """The first event of an answer that comes as events: how many requests are answered before it."""

    before: int


class Gate:
    """Who may come in. Without `access` no key is asked for; with `local`, no foreign page is answered then."""

    def __init__(self, access: Access | None, *, local: bool) -> None:
        self.access, self.local = access, local

    def check(self, call: Request, vertical: str | None) -> Key | None:
        """The key of a call, None where none is needed. `vertical` None asks for a key that allows all of them.

        Raises `Problem`.
        """
        if self.access is None:
            if self.local:
                check_local(call.scope)
            return None
        key = self.access.key(call.headers)
        note(call, key=key.id)
        if (vertical is None and key.verticals) or (vertical is not None and not key.allows(vertical)):
            raise Problem(403, "this key does not allow that")
        return key

    def admit(self, key: Key | None, requests: int, service: Service) -> None:
        """Raises `Problem` while the service is starting, and where the key may not ask so many requests now."""
        service.check_open()  # before that, its price is not known
        if self.access is not None and key is not None:
            self.access.admit(key, requests, priced=service.price(service.variant) is not None)

    def charge(self, key: Key | None, answered: Answered) -> None:
        """Count what an answer cost."""
        if self.access is not None and key is not None and answered.cost:
            self.access.charge(key, answered.cost)


def note(call: Request, **fields: Any) -> None:
    """Have something told in the log's line of this call."""
    call.scope["triptych"].update(fields)


def add_vertical(api: FastAPI, service: Service, settings: Settings, gate: Gate, metrics: Metrics) -> None:
    """Raises `ConfigError` for a name that cannot stand in a path."""
    name = service.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(f"the vertical {name!r} cannot be served: its name cannot stand in a path")

    async def answer(call: Request) -> Response:
        key = gate.check(call, name)
        gate.admit(key, 1, service)
        request = await read_one(call, service.shape, settings)
        if streams.wanted(call):
            return await streams.EventStream.opened(told(call, key, request))
        answered = await one(call, key, request)
        return _json(answered.body, [answered])

    async def one(call: Request, key: Key | None, request: Question) -> Answered:
        (answered,) = await service.answer([request])
        if isinstance(answered, Exception):
            raise _problem(call, answered) from answered
        _count(call, gate, key, metrics, service, answered)
        return answered

    async def told(call: Request, key: Key | None, request: Question) -> AsyncIterator[bytes]:
        yield streams.event("waiting", Waiting(before=service.depth).model_dump_json().encode())
        answered = await one(call, key, request)
        yield streams.event("answer", answered.body, answered.decision)

    async def answers(call: Request) -> Response:
        key = gate.check(call, name)
        gate.admit(key, 0, service)
        requests = await read_many(call, service.shape, settings)
        gate.admit(key, len(requests), service)
        found = await service.answer([r for r in requests if not isinstance(r, Problem)])
        results = [r if isinstance(r, Problem) else found.pop(0) for r in requests]
        given = [result for result in results if isinstance(result, Answered)]
        for answered in given:
            _count(call, gate, key, metrics, service, answered)
        note(call, items=len(results), failed=len(results) - len(given))
        body = b",".join(_body(call, result) for result in results)
        return _json(b'{"answers":[' + body + b"]}", given)

    async def about(call: Request) -> Response:
        gate.check(call, name)
        return Response(_about(service).model_dump_json(), media_type="application/json")

    response = service.vertical.response_type
    several = create_model(f"{service.shape.name}Answers", answers=(list[response | ErrorBody], ...))  # type: ignore[valid-type]
    title, path = service.vertical.title, f"/v1/{name}"
    api.get(
        path,
        operation_id=f"about-{name}",
        summary=f"{title}: what answers",
        responses=openapi.responses(About, (403, 503)),
    )(about)
    body_errors = (400, 403, 408, 413, 415, 422, 429, 500, 503)
    either = openapi.responses(response, body_errors, headers=openapi.ANSWERED)
    either[200]["content"] = {streams.MEDIA_TYPE: openapi.EVENTS}
    api.post(
        f"{path}/answer",
        operation_id=f"answer-{name}",
        summary=f"{title}: one answer",
        responses=either,
        openapi_extra=openapi.one_body(service.shape),
    )(answer)
    api.post(
        f"{path}/answers",
        operation_id=f"answers-{name}",
        summary=f"{title}: several answers, each by itself",
        responses=openapi.responses(several, body_errors, headers=openapi.ANSWERED),
        openapi_extra=openapi.many_body(service.shape, settings.max_items),
    )(answers)


def _about(service: Service) -> About:
    service.check_open()
    assert service.predictor is not None
    bundle, vertical = service.predictor.bundle, service.vertical
    return About(
        vertical=service.name,
        title=vertical.title,
        version=vertical.version,
        bundle=bundle.version,
        created=bundle.manifest.created.isoformat(),
        modalities=list(service.predictor.session.modalities),
        variant=service.variant,
        fallback=service.fallback,
        max_batch=service.max_batch,
        threads=service.threads,
        cached=service.caches,
        price_per_million=service.price(service.variant),
        currency=service.currency,
    )


def _count(call: Request, gate: Gate, key: Key | None, metrics: Metrics, service: Service, answered: Answered) -> None:
    gate.charge(key, answered)
    metrics.answer(service, answered)
    note(call, release=answered.release, variant=answered.variant, **({"fallback": True} if answered.fallback else {}))


def _body(call: Request, result: Answered | Exception) -> bytes:
    return result.body if isinstance(result, Answered) else _problem(call, result).json()


def _problem(call: Request, error: Exception) -> Problem:
    """As `problem_of`; what is wrong with the server goes to the log."""
    if is_own(error):
        tell(error, **call.scope["triptych"])
    return problem_of(error)


def _json(body: bytes, given: list[Answered]) -> Response:
    """A response with what is worth telling beside the answers.

    Names come from a bundle, so whatever no header may hold is quoted.
    """
    response = Response(body, media_type="application/json")
    told = response.raw_headers
    if given:
        told.append((b"triptych-variant", b", ".join(sorted({_quoted(a.variant) for a in given}))))
        told.append((b"triptych-release", b", ".join(sorted({_quoted(a.release) for a in given}))))
    decisions = [answered.decision for answered in given if answered.decision is not None]
    if decisions:
        told.append((b"triptych-decision", ", ".join(decisions).encode()))
    if any(answered.fallback for answered in given):
        told.append((b"triptych-fallback", b"overload"))
    if given and all(answered.cached for answered in given):
        told.append((b"triptych-cached", b"true"))
    return response


@lru_cache(maxsize=256)
def _quoted(name: str) -> bytes:
    return quote(name, safe=":>+.-_").encode()
