"""The body of a call to a request of the vertical: JSON, or a form with files."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import python_multipart  # noqa: F401 - Starlette would miss it only at the first form
import starlette.requests
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from triptych.vertical import Request
from triptych_apps.server.headers import header
from triptych_apps.server.media import check_picture, check_sound
from triptych_apps.server.parsing import check_numbers, parse_json
from triptych_apps.server.problems import Problem
from triptych_apps.server.settings import Settings
from triptych_apps.server.shapes import Shape

Fields = dict[str, Any]
T = TypeVar("T")
_LARGE = 50_000  # bytes whose parsing would hold up other clients for about a millisecond
_LONGEST_REASON = 2_000  # characters: names that a client made up are in it


class _Form(MultiPartParser):
    """Keeps files in memory, which the limit of a body bounds: what a client sends is never written to a disk."""

    spool_max_size = 1 << 40


async def read_one(call: starlette.requests.Request, shape: Shape, settings: Settings) -> Request:
    """The request in a call. Raises `Problem`."""
    kind = _content_type(call)
    if kind == "application/json":
        body = await _body(call)
        large = len(body) > _LARGE
        fields = await _apart(large, lambda: _object(body, settings))
    elif kind == "multipart/form-data":
        large, fields = False, await _form(call, shape, settings)
    else:
        raise Problem(415, "send application/json or multipart/form-data, and name it in the header Content-Type")
    is_json = kind == "application/json"  # where files are base64
    elsewhere = large or bool(shape.files & fields.keys())  # a small file may hold a long sound
    return await _apart(elsewhere, lambda: _request(fields, shape, settings, base64_files=is_json))


async def read_many(call: starlette.requests.Request, shape: Shape, settings: Settings) -> list[Request | Problem]:
    """The requests in a call of the batch endpoint; one that is not valid has its `Problem` in its place.

    Raises `Problem` for a call that is not valid as a whole.
    """
    if _content_type(call) != "application/json":
        raise Problem(415, "send application/json, and name it in the header Content-Type")
    body = await _body(call)
    return await asyncio.to_thread(_requests, body, shape, settings)


async def read_object(call: starlette.requests.Request, settings: Settings) -> Fields:
    """The JSON object in a call. Raises `Problem`."""
    if _content_type(call) != "application/json":
        raise Problem(415, "send application/json, and name it in the header Content-Type")
    body = await _body(call)
    return await _apart(len(body) > _LARGE, lambda: _object(body, settings))


def invalid(error: ValidationError) -> Problem:
    """What a client is told of fields that are wrong."""
    return Problem(422, _problems(error.errors(include_url=False, include_input=False)))


async def _body(call: starlette.requests.Request) -> bytes:
    """All of it: the edge bounds its size and its time, and ends a call whose client has gone."""
    message = await call.receive()
    pieces = [message.get("body", b"")]
    while message.get("more_body", False):
        message = await call.receive()
        pieces.append(message.get("body", b""))
    return b"".join(pieces)


def _content_type(call: starlette.requests.Request) -> str:
    if header(call.scope, b"content-encoding", "identity").strip().lower() != "identity":
        raise Problem(415, "send the body as it is, without Content-Encoding")
    return header(call.scope, b"content-type", "").partition(";")[0].strip().lower()


async def _apart(elsewhere: bool, work: Callable[[], T]) -> T:
    """What takes long goes to a thread, for the event loop belongs to all clients."""
    return await asyncio.to_thread(work) if elsewhere else work()


def _requests(body: bytes, shape: Shape, settings: Settings) -> list[Request | Problem]:
    items = _object(body, settings)
    requests = items.get("requests")
    if not isinstance(requests, list) or len(items) != 1:
        raise Problem(422, 'send one object with the list "requests", and nothing else')
    if not 1 <= len(requests) <= settings.max_items:
        raise Problem(
            422, f"requests: 1 to {settings.max_items} are allowed in one call, and there are {len(requests)}"
        )
    found: list[Request | Problem] = []
    for item in requests:
        try:
            if not isinstance(item, dict):
                raise Problem(422, "a request is an object")
            found.append(_request(item, shape, settings, base64_files=True))
        except Problem as problem:
            found.append(problem)
    return found


def _object(body: bytes, settings: Settings) -> Fields:
    content = parse_json(body, settings.max_values)
    if not isinstance(content, dict):
        raise Problem(422, "the body must be a JSON object")
    return content


async def _form(call: starlette.requests.Request, shape: Shape, settings: Settings) -> Fields:
    if "charset" in call.headers["content-type"].lower():  # some of Python's decoders take very long
        raise Problem(415, "a form is UTF-8; send its Content-Type without charset")
    most = 4 * settings.max_text  # bytes of a field that is no file
    parser = _Form(call.headers, call.stream(), max_files=len(shape.files), max_fields=200, max_part_size=most)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(400, f"the form cannot be read: {error.message}") from error
    except (KeyError, ValueError, AssertionError) as error:  # a boundary that is missing or no boundary
        raise Problem(400, "the form cannot be read: its boundary or a part of it is damaged") from error
    fields: Fields = {}
    try:
        for name, value in form.multi_items():
            await _add(fields, name, value, shape, settings)
    finally:
        await form.close()
    return fields


async def _add(fields: Fields, name: str, value: UploadFile | str, shape: Shape, settings: Settings) -> None:
    if isinstance(value, UploadFile) != (name in shape.files):
        raise Problem(422, f"{name}: " + ("send it as a file" if name in shape.files else "this field is not a file"))
    if name in shape.repeated:
        fields.setdefault(name, []).append(value)
        return
    if name in fields:
        raise Problem(422, f"{name}: given more than once")
    if isinstance(value, UploadFile):
        fields[name] = await value.read()
    elif name in shape.encoded:
        try:
            fields[name] = parse_json(value.encode(), settings.max_values)
        except Problem as problem:
            raise Problem(422, f"{name}: this field is JSON: {problem.message}") from problem
    else:
        fields[name] = value


def _request(fields: Mapping[str, Any], shape: Shape, settings: Settings, *, base64_files: bool = False) -> Request:
    given = dict(fields)
    for name in shape.files & given.keys():
        if given[name] is not None:
            given[name] = _file(name, given[name], settings, is_base64=base64_files)
    text = given.get("text")
    if isinstance(text, str) and len(text) > settings.max_text:
        raise Problem(413, f"text: {len(text):,} characters; {settings.max_text:,} are allowed")
    try:
        request = shape.request_type.model_validate(given)
    except ValidationError as error:
        raise invalid(error) from error
    if shape.numbers:
        check_numbers(request)
    return request


def _file(name: str, value: Any, settings: Settings, *, is_base64: bool) -> bytes:
    content = value
    if is_base64:
        try:
            content = base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise Problem(422, f"{name}: this is not base64") from error
    if not content:
        raise Problem(422, f"{name}: the file is empty")
    if name == "image":
        check_picture(content, settings.max_pixels)
    elif name == "audio":
        check_sound(content, settings.max_audio_seconds)
    return bytes(content)


def _problems(errors: Sequence[Mapping[str, Any]]) -> str:
    shown = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'request'}: {e['msg']}" for e in errors[:10])
    return shown if len(shown) <= _LONGEST_REASON else shown[:_LONGEST_REASON] + " ..."
