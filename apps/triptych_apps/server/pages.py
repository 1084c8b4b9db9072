"""Web pages: of each vertical that is served, of the server itself, and the page of pages at `/`.

All of them are made and read when the server starts: no path of a request reaches the file system. They are the same
for everybody and hold no data, so that no key is asked for; their scripts fetch data from `/v1/` with one.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import importlib.resources
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import jinja2
from starlette.requests import Request
from starlette.responses import Response

from triptych.errors import ConfigError, MissingError
from triptych.types import PageSpec
from triptych_apps.server import own
from triptych_apps.server.problems import Problem

if TYPE_CHECKING:
    from fastapi import FastAPI

    from triptych_apps.server.service import Service

_BASE = "triptych_apps.pages"
_SHARED = "_shared"
_TYPES = {
    ".css": "text/css",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-cache",  # asked for again with its ETag
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_WORTH_PACKING = 1_000  # bytes


@dataclass(frozen=True, slots=True)
class Link:
    """One page as others show it."""

    name: str  # of its vertical, "" of the server's own
    title: str
    help: str
    url: str


class _File:
    """Something that is served as it is, packed at the first request that wants it so."""

    def __init__(self, content: bytes, media_type: str) -> None:
        self.content, self.media_type = content, media_type
        self.tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        self._packed: bytes | None = None

    async def answer(self, call: Request) -> Response:
        headers = {**_HEADERS, "ETag": self.tag, "Vary": "Accept-Encoding"}
        if self.tag in call.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = self.content
        text = self.media_type.startswith("text/") or self.media_type.endswith(("json", "xml"))
        if text and len(content) > _WORTH_PACKING and "gzip" in call.headers.get("accept-encoding", ""):
            if self._packed is None:
                self._packed = await asyncio.to_thread(gzip.compress, content, 6, mtime=0)
            content = self._packed
            headers["Content-Encoding"] = "gzip"
        return Response(content, headers=headers, media_type=self.media_type)


class Pages:
    """The pages of these services and of the server itself; `keys` says whether keys are asked for.

    Raises `PluginError` for a vertical with two pages, `ConfigError` for one whose files cannot be read, and
    `MissingError` where the package is missing that draws plots.
    """

    def __init__(self, services: Sequence[Service], *, keys: bool) -> None:
        found = [(service, service.host.page(service.name)) for service in services]
        named = [(service.vertical.title, spec) for service, spec in found if spec is not None]
        named += [("Triptych", spec) for spec in own.PAGES]
        specs = [spec for _, spec in named]
        self.links = [Link(spec.vertical, spec.title, spec.help, spec.name) for spec in specs]
        self._files: dict[tuple[str, str], _File] = {}  # by folder and name
        for name, content in _read(_BASE, "_shared").items():
            self._files[_SHARED, name] = _File(content, _type(name))
        self._files[_SHARED, "plotly.min.js"] = _File(_plotly(), _TYPES[".js"])
        base = _read(_BASE)
        for title, spec in named:
            self._add(spec, base, {"name": spec.vertical, "title": title}, keys=keys)
        pages = {link.name: link for link in self.links}
        served = [{"name": s.name, "title": s.vertical.title, "page": pages.get(s.name)} for s in services]
        about: dict[str, Any] = {"vertical": {"name": "", "title": "Triptych"}, "title": "Triptych", "api": "/v1"}
        about |= {"styled": False, "url": "/", "keys": keys, "verticals": served}
        self.index = self._rendered("index.html", base, {}, about)

    def add(self, api: FastAPI) -> None:
        """Add them to `api`, which does not describe them: they are for people."""

        async def index(call: Request) -> Response:
            return await self.index.answer(call)

        async def page(call: Request) -> Response:
            return await self._file(call.path_params["folder"], "").answer(call)

        async def asset(call: Request) -> Response:
            return await self._file(call.path_params["folder"], call.path_params["name"]).answer(call)

        for path, endpoint in (("/", index), ("/pages/{folder}/", page), ("/pages/{folder}/{name}", asset)):
            api.get(path, include_in_schema=False)(endpoint)

    def _file(self, folder: str, name: str) -> _File:
        try:
            return self._files[folder, name]
        except KeyError:
            raise Problem(404, "there is no such page") from None

    def _add(self, spec: PageSpec, base: dict[str, bytes], vertical: dict[str, str], *, keys: bool) -> None:
        try:
            files = _read(spec.package)
        except (ImportError, OSError, TypeError) as error:
            raise ConfigError(f"the page {spec.name} cannot be read from {spec.package}: {error}") from error
        if "page.html" not in files:
            raise ConfigError(f"the page {spec.name} cannot be made: {spec.package} has no page.html")
        folder = PurePosixPath(spec.name).name
        for name, content in files.items():
            if not name.endswith(".html"):
                self._files[folder, name] = _File(content, _type(name))
        variables = {"vertical": vertical, "title": spec.title, "styled": "page.css" in files, "url": spec.name}
        api = f"/v1/{spec.vertical or '_server'}"
        self._files[folder, ""] = self._rendered("page.html", base, files, {**variables, "api": api, "keys": keys})

    def _rendered(self, name: str, base: dict[str, bytes], files: dict[str, bytes], variables: dict[str, Any]) -> _File:
        sources = {key: value.decode() for key, value in {**files, **base}.items() if key.endswith(".html")}
        environment = jinja2.Environment(
            loader=jinja2.DictLoader(sources), autoescape=True, undefined=jinja2.StrictUndefined
        )
        try:
            text = environment.get_template(name).render(**variables, pages=self.links)
        except jinja2.TemplateError as error:
            raise ConfigError(f"the page {variables['url']} cannot be made: {error}") from error
        return _File(text.encode(), "text/html")


def _read(package: str, folder: str = "") -> dict[str, bytes]:
    """The files of a package, or of one folder in it, that may be served or are templates; by their names."""
    place = importlib.resources.files(package)
    entries = (place / folder if folder else place).iterdir()
    kept = [e for e in entries if e.is_file() and PurePosixPath(e.name).suffix in {*_TYPES, ".html"}]
    return {entry.name: entry.read_bytes() for entry in kept}


def _plotly() -> bytes:
    """The script that draws plots, out of its Python package, which is not imported."""
    found = importlib.util.find_spec("plotly")
    if found is None or found.origin is None:
        raise MissingError("pages need the package plotly: pip install 'triptych[serve]'")
    return (Path(found.origin).parent / "package_data" / "plotly.min.js").read_bytes()


def _type(name: str) -> str:
    return _TYPES[PurePosixPath(name).suffix]
