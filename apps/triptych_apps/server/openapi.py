"""The description of the API: FastAPI's, with the bodies that are read by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from triptych_apps.server.problems import MEANINGS, ErrorBody
from triptych_apps.server.shapes import Shape

_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_TEXT = {"type": "string"}
EVENTS = {  # a stream of server-sent events
    "schema": {
        "type": "object",
        "description": "An event. Its `data` is one line of JSON.",
        "properties": {"event": _TEXT, "data": _TEXT, "id": _TEXT},
    }
}
ANSWERED = {
    "Triptych-Variant": {"description": "The variant that answered.", "schema": {"type": "string"}},
    "Triptych-Release": {"description": "The version of the bundle that answered.", "schema": {"type": "string"}},
    "Triptych-Decision": {
        "description": "Only where answers are written down: the id of each, in the order of the answers.",
        "schema": {"type": "string"},
    },
    "Triptych-Fallback": {
        "description": 'Only where a cheaper variant answered: "overload".',
        "schema": {"type": "string"},
    },
    "Triptych-Cached": {"description": 'Only where the answer was remembered: "true".', "schema": {"type": "string"}},
}


def responses(
    model: type[BaseModel], statuses: Sequence[int], *, headers: Mapping[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """What a route may answer: the model, with these headers, or an error with one of these statuses."""
    found: dict[int | str, dict[str, Any]] = {200: {"model": model, "description": "The answer."}}
    if headers is not None:
        found[200]["headers"] = headers
    for status in statuses:
        found[status] = {"model": ErrorBody, "description": MEANINGS[status]}
        if status in (429, 503):
            found[status]["headers"] = _RETRY
    return found


def one_body(shape: Shape) -> dict[str, Any]:
    """The body of a call that asks one request."""
    content = {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{shape.name}"}},
        "multipart/form-data": {"schema": {"$ref": f"#/components/schemas/{shape.name}Form"}},
    }
    return {"requestBody": {"required": True, "content": content}}


def many_body(shape: Shape, most: int) -> dict[str, Any]:
    """The body of a call that asks several."""
    items = {"$ref": f"#/components/schemas/{shape.name}"}
    schema = {
        "type": "object",
        "properties": {"requests": {"type": "array", "items": items, "minItems": 1, "maxItems": most}},
        "required": ["requests"],
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def install(api: FastAPI, shapes: Sequence[Shape], more: Mapping[str, Any], *, with_keys: bool) -> None:
    """Have `api` describe itself with the requests of these shapes, more schemas, and keys where it asks for them."""

    def describe() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = get_openapi(title=api.title, version=api.version, routes=api.routes)
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas |= more
            for shape in shapes:
                schemas |= {shape.name: shape.json_schema, f"{shape.name}Form": shape.form_schema, **shape.definitions}
            if with_keys:
                _add_keys(document)
            api.openapi_schema = document
        return api.openapi_schema

    api.openapi = describe  # type: ignore[method-assign]


def _add_keys(document: dict[str, Any]) -> None:
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    for path, operations in document["paths"].items():
        if not path.startswith("/health/"):
            for operation in operations.values():
                operation["security"] = [{"key": []}]
                operation["responses"]["401"] = {"description": MEANINGS[401], "content": error}
