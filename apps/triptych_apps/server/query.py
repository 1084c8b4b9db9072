"""What a route of a plugin is asked: a model that is read from path, query string and body, and described."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request

from triptych.errors import ConfigError
from triptych.types import RouteSpec
from triptych_apps.server.problems import Problem

_SIMPLE = ("string", "number", "integer", "boolean")
Schema = dict[str, Any]


class Query:
    """The second parameter of a route's function. `names` are those of the path.

    Raises `ConfigError`, which begins with `wrong`, for a model that cannot be read there.
    """

    def __init__(self, spec: RouteSpec, model: type[BaseModel], names: Sequence[str], wrong: str) -> None:
        self.model, self._spec, self._names = model, spec, names
        self.name = _camel(f"{spec.vertical or 'server'} {spec.method.lower()} {spec.path}") + "Query"
        refer = f"#/components/schemas/{self.name}_{{model}}"
        self._schema: Schema = model.model_json_schema(ref_template=refer)
        definitions = self._schema.pop("$defs", {})
        self._definitions: dict[str, Schema] = {f"{self.name}_{key}": value for key, value in definitions.items()}
        self._properties: dict[str, Schema] = self._schema.get("properties", {})
        if model.model_config.get("extra") != "forbid":
            raise ConfigError(wrong + f'has the query {model.__name__}, which must have extra="forbid"')
        missing = sorted(set(names) - self._properties.keys())
        if missing:
            raise ConfigError(wrong + f"has the query {model.__name__}, which has no field {missing[0]!r} of the path")
        in_url = names if spec.method == "POST" else list(self._properties)
        self._repeated = {name for name in in_url if self._items(name) is not None and name not in names}
        for name in in_url:
            given = self._items(name) if name in self._repeated else self._properties[name]
            if not self._is_simple(given or {}):
                raise ConfigError(wrong + f"has the query {model.__name__}, whose field {name!r} no URL can hold")

    def of_url(self, call: Request) -> dict[str, Any]:
        """The fields that path and query string give. Raises `Problem` for one that is given twice."""
        fields: dict[str, Any] = dict(call.path_params)
        for name, value in call.query_params.multi_items():
            if name in self._repeated:
                fields.setdefault(name, []).append(value)
            elif name in fields:
                raise Problem(422, f"{name}: given more than once")
            else:
                fields[name] = value
        return fields

    def describe(self, schemas: dict[str, Schema]) -> Schema:
        """Parameters and body for OpenAPI; what they refer to is added to `schemas`."""
        schemas |= self._definitions
        required = set(self._schema.get("required", ()))
        places = {name: "path" if name in self._names else "query" for name in self._properties}
        if self._spec.method == "POST":
            body = {name: value for name, value in self._properties.items() if name not in self._names}
            schema = {**self._schema, "title": self.name, "properties": body}
            schema["required"] = sorted(required & body.keys())
            schemas[self.name] = schema
            content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{self.name}"}}}
            places = {name: place for name, place in places.items() if place == "path"}
            extra: Schema = {"requestBody": {"required": True, "content": content}}
        else:
            extra = {}
        parameters = []
        for name, place in places.items():
            about = {"description": text} if (text := self._properties[name].get("description")) else {}
            needed = place == "path" or name in required
            parameters.append(
                {"name": name, "in": place, "required": needed, **about, "schema": self._properties[name]}
            )
        return {**extra, "parameters": parameters} if parameters else extra

    def _items(self, name: str) -> Schema | None:
        """Of a list: what is in it."""
        members = self._members(self._properties[name])
        if len(members) == 1 and members[0].get("type") == "array":
            items: Schema = members[0].get("items", {})
            return items
        return None

    def _members(self, schema: Mapping[str, Any]) -> list[Schema]:
        """The types that a value may have, without null."""
        members = [self._resolved(member) for member in schema.get("anyOf", [schema])]
        return [member for member in members if member.get("type") != "null"]

    def _resolved(self, schema: Mapping[str, Any]) -> Schema:
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        return self._definitions.get(name, dict(schema))

    def _is_simple(self, schema: Schema) -> bool:
        return all(member.get("type") in _SIMPLE or "const" in member for member in self._members(schema))


def _camel(words: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", words))
