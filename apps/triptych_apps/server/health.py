"""What machines ask about the server: whether it is alive, started and ready, and how it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import Response

from triptych_apps.server import openapi
from triptych_apps.server.problems import MEANINGS, ErrorBody, Problem

if TYPE_CHECKING:
    from triptych_apps.server.site import Site


class Health(BaseModel):
    """All is well."""

    status: Literal["live", "ready", "started"]


def add_health(api: FastAPI, site: Site) -> None:
    """Three probes and the measurements. The probes ask for no key; the measurements for one that allows everything."""

    async def live(call: Request) -> Response:
        broken = [service.name for service in site.services if service.state == "broken"]
        if broken or site.failure is not None:
            raise _not(f"{', '.join(broken)} does not answer any more" if broken else "a bundle cannot be opened")
        return _ok("live")

    async def startup(call: Request) -> Response:
        starting = [service.name for service in site.services if service.state == "starting"]
        if starting:
            raise _not(f"starting: {', '.join(starting)}")
        return _ok("started")

    async def ready(call: Request) -> Response:
        if site.draining:
            raise _not("the server is stopping")
        others = [f"{service.name} is {service.state}" for service in site.services if service.state != "ready"]
        if others:
            raise _not("; ".join(others))
        return _ok("ready")

    async def metrics(call: Request) -> Response:
        site.gate.check(call, None)
        return Response(site.metrics.text(), media_type="text/plain; version=0.0.4")

    for name, probe in (("live", live), ("startup", startup), ("ready", ready)):
        api.get(
            f"/health/{name}",
            operation_id=f"health-{name}",
            summary=f"Is the server {name}?",
            responses=openapi.responses(Health, (503,)),
        )(probe)
    text: dict[int | str, dict[str, Any]] = {
        200: {"description": "In the format of Prometheus.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    }
    text[403] = {"model": ErrorBody, "description": MEANINGS[403]}
    api.get("/metrics", operation_id="metrics", summary="Measurements", responses=text)(metrics)


def _ok(status: Literal["live", "ready", "started"]) -> Response:
    return Response(Health(status=status).model_dump_json(), media_type="application/json")


def _not(reason: str) -> Problem:
    return Problem(503, reason, kind="not_ready", retry_after=1)
