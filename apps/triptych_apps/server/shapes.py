"""What a vertical's request looks like on the wire: which fields are files, which may be repeated, and the schema.

A field that a program fills with a path or with bytes is a file here: base64 in JSON, or a file of a form. Nothing
that a client sends is ever taken for a path.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from triptych.errors import ConfigError
from triptych.vertical import Request, Vertical

_PATHS = ("path", "file-path", "directory-path")
_SIMPLE = ("string", "number", "integer", "boolean")
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """The request of one vertical. `json_schema` and `form_schema` refer to `definitions` by their names."""

    request_type: type[Request]
    name: str
    files: frozenset[str]  # fields that hold a file's content
    repeated: frozenset[str]  # fields that a form may give several times
    encoded: frozenset[str]  # fields that a form gives as JSON
    numbers: bool  # whether a field is a number with a fraction, which may be called NaN by a text
    json_schema: Schema
    form_schema: Schema
    definitions: dict[str, Schema]


def shape_of(vertical: Vertical[Any, Any]) -> Shape:
    """Raises `ConfigError` for a request type with a path that bytes cannot stand for: it would reach the disk."""
    name = "".join(map(str.capitalize, re.split(r"\W+", vertical.name))) + "Request"
    refer = f"#/components/schemas/{name}_{{model}}"
    schema = vertical.request_type.model_json_schema(ref_template=refer)
    definitions = {f"{name}_{key}": value for key, value in schema.pop("$defs", {}).items()}
    properties: dict[str, Schema] = schema["properties"]
    files = frozenset(key for key, value in properties.items() if _is_file(value))
    others = [*(value for key, value in properties.items() if key not in files), *definitions.values()]
    if any(_mentions_path(value) for value in others):
        raise ConfigError(
            f"the vertical {vertical.name!r} cannot be served: {vertical.request_type.__name__} has a field that takes "
            "a path, and only a field of the type `Path | bytes | None` can be sent as a file"
        )
    repeated = frozenset(key for key, value in properties.items() if _is_list(value))
    encoded = frozenset(key for key, value in properties.items() if not _is_simple(value)) - files - repeated
    schema["title"] = name
    as_json, as_form = copy.deepcopy(schema), copy.deepcopy(schema)
    for key in files:
        about = {"title": key.capitalize(), "description": f"The content of a file ({key})."}
        as_json["properties"][key] = {
            "anyOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "null"}],
            **about,
        }
        as_json["properties"][key]["default"] = None
        as_form["properties"][key] = {"type": "string", "contentMediaType": "application/octet-stream", **about}
    for key in encoded:
        about = {"description": (properties[key].get("description", "") + " As JSON.").strip()}
        as_form["properties"][key] = {"type": "string", "contentMediaType": "application/json", **about}
    numbers = any(part.get("type") == "number" for part in _parts([*properties.values(), *definitions.values()]))
    return Shape(vertical.request_type, name, files, repeated, encoded, numbers, as_json, as_form, definitions)


def _members(schema: Schema) -> list[Schema]:
    """The types that a value may have, without null."""
    return [member for member in schema.get("anyOf", [schema]) if member.get("type") != "null"]


def _is_file(schema: Schema) -> bool:
    formats = [member.get("format") for member in _members(schema)]
    return "binary" in formats and set(formats) <= {"binary", "path"}


def _is_list(schema: Schema) -> bool:
    members = _members(schema)
    return len(members) == 1 and members[0].get("type") == "array" and _is_simple(members[0].get("items", {}))


def _is_simple(schema: Schema) -> bool:
    return all(member.get("type") in _SIMPLE for member in _members(schema))


def _mentions_path(schema: Any) -> bool:
    return any(part.get("format") in _PATHS for part in _parts(schema))


def _parts(schema: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, Mapping):
        yield schema
        for value in schema.values():
            yield from _parts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _parts(value)
