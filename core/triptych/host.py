"""The host: finds plugins, isolates their failures, looks parts and verticals up by name."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from triptych import builtin, hookspecs
from triptych.errors import PluginError, RefusedError, UnknownNameError
from triptych.types import CommandSpec, PageSpec, Part, RouteSpec, VerticalSpec

if TYPE_CHECKING:
    from triptych.vertical import Request, Response, Vertical

ENTRY_POINT_GROUP = "triptych"
BUILTIN = "triptych"
_LISTS: dict[str, type] = {
    "triptych_parts": Part,
    "triptych_verticals": VerticalSpec,
    "triptych_commands": CommandSpec,
    "triptych_routes": RouteSpec,
    "triptych_pages": PageSpec,
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One plugin as `triptych plugins` lists it; `error` says why it is not in use, None where it is."""

    name: str
    version: str
    parts: tuple[Part, ...] = ()
    verticals: tuple[VerticalSpec, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    pages: tuple[PageSpec, ...] = ()
    hooks: tuple[str, ...] = ()
    error: str | None = None


class Host:
    """All plugins of a process. `plugins` (name to module or object) come on top of the installed ones.

    A plugin that cannot be imported, misspells a hook or returns the wrong records is listed with its reason and
    left out; the rest goes on. A name that two plugins claim cannot be used until one of them is gone.
    """

    def __init__(self, plugins: Mapping[str, object] | None = None, *, installed: bool = True) -> None:
        self._manager = pluggy.PluginManager("triptych")
        self._manager.add_hookspecs(hookspecs)
        self._infos: list[PluginInfo] = []
        self._claims: dict[tuple[str, str], list[tuple[str, Any]]] = {}
        self._add(BUILTIN, _version_of("triptych"), lambda: builtin)
        if installed:
            entry_points = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
            for point in sorted(entry_points, key=lambda point: point.name):
                self._add(point.name, point.dist.version if point.dist else "unknown", point.load)
        for name, plugin in (plugins or {}).items():
            self._add(name, "in memory", functools.partial(_same, plugin))

    def plugins(self) -> list[PluginInfo]:
        """Every plugin that was found, working or not."""
        return list(self._infos)

    def parts(self, kind: str | None = None) -> list[Part]:
        """All parts, or those of one kind, in the order of their names."""
        found = [p for info in self._infos for p in info.parts if kind in (None, p.kind)]
        return sorted(found, key=lambda part: (part.kind, part.name))

    def verticals(self) -> list[VerticalSpec]:
        """All domain applications, in the order of their names."""
        return sorted((v for info in self._infos for v in info.verticals), key=lambda spec: spec.name)

    def commands(self) -> list[CommandSpec]:
        """The commands that plugins add, in the order of their names."""
        return sorted((c for info in self._infos for c in info.commands), key=lambda spec: spec.name)

    def routes(self, vertical: str) -> list[RouteSpec]:
        """The endpoints of one vertical, in the order of their names. Raises `PluginError` where two claim one."""
        found = [r for info in self._infos for r in info.routes if r.vertical == vertical]
        for route in found:
            self._claimed("route", _without_names(route.name))
        return sorted(found, key=lambda route: route.name)

    def page(self, vertical: str) -> PageSpec | None:
        """The web page of a vertical, None where it has none. Raises `PluginError` where two plugins claim it."""
        found: PageSpec | None = self._claimed("page", f"/pages/{vertical}/")
        return found

    def load_route(self, route: RouteSpec) -> Callable[..., Any]:
        """The function behind a route of `routes`. Raises `PluginError` when its code cannot be imported."""
        loaded: Callable[..., Any] = self._load("route", _without_names(route.name), route)
        return loaded

    def part(self, kind: str, name: str) -> Part:
        """A part by its name. Raises `UnknownNameError`, or `PluginError` where two plugins claim the name."""
        found = self._claimed(kind, name)
        if found is None:
            raise UnknownNameError(kind, name, [p.name for p in self.parts(kind)])
        part: Part = found
        return part

    def load_part(self, kind: str, name: str) -> Any:
        """The class behind a part. Raises `PluginError` when its code cannot be imported."""
        part = self.part(kind, name)
        return self._load(kind, name, part)

    def load_family(self, kind: str, name: str) -> tuple[Any, str]:
        """For names of the form "family:model": the class and the model behind the colon.

        The full name wins over the family: "compact:text" is a part of its own, "timm:resnet18" is not.
        """
        family, _, model = name.partition(":")
        if self._claimed(kind, name) is not None:
            return self.load_part(kind, name), ""
        if self._claimed(kind, family) is not None:
            return self.load_part(kind, family), model
        raise UnknownNameError(kind, name, [p.name for p in self.parts(kind)])

    def vertical(self, name: str) -> Vertical[Any, Any]:
        """A new instance of a domain application. Raises `UnknownNameError` or `PluginError`."""
        spec = self._claimed("vertical", name)
        if spec is None:
            raise UnknownNameError("vertical", name, [v.name for v in self.verticals()])
        loaded: Vertical[Any, Any] = self._load("vertical", name, spec)()
        return loaded

    def redact(self, vertical: str, request: Request) -> Request:
        """The request without what plugins do not want kept. Raises `RefusedError` where one of them fails."""
        return self._guarded(self._manager.hook.triptych_redact, vertical, request)

    def before_answer(self, vertical: str, request: Request) -> Request:
        """The request as the plugins leave it. Raises `RefusedError` where one of them refuses or fails."""
        return self._guarded(self._manager.hook.triptych_before_answer, vertical, request)

    def _guarded(self, caller: pluggy.HookCaller, vertical: str, request: Request) -> Request:
        for implementation in _in_turn(caller):
            try:
                request = _call(implementation, vertical=vertical, request=request) or request
            except RefusedError as error:
                error.plugin = error.plugin or implementation.plugin_name
                raise
            except Exception as error:  # its words go to the log alone: a client is shown the message
                name, kind = implementation.plugin_name, type(error).__name__
                log.exception("plugin %r failed before an answer; the request was refused", name)
                raise RefusedError(
                    f"the request was refused, for the plugin {name!r} failed ({kind})", plugin=name
                ) from error
        return request

    def after_answer(self, vertical: str, request: Request, response: Response) -> Response:
        """The response as the plugins leave it; one that fails is logged and passed over."""
        for implementation in _in_turn(self._manager.hook.triptych_after_answer):
            try:
                response = _call(implementation, vertical=vertical, request=request, response=response) or response
            except Exception:
                log.exception("plugin %r failed after an answer; the answer stands", implementation.plugin_name)
        return response

    def _add(self, name: str, version: str, load: Any) -> None:
        try:
            plugin = load()
            self._manager.register(plugin, name=name)
        except Exception as error:  # whatever a plugin does at import is its own failure
            self._infos.append(PluginInfo(name, version, error=f"{type(error).__name__}: {error}"))
            return
        try:
            records = self._collect(name)
        except Exception as error:
            self._manager.unregister(name=name)
            self._infos.append(PluginInfo(name, version, error=f"{type(error).__name__}: {error}"))
            return
        for kind, key, record in _claims(records):
            self._claims.setdefault((kind, key), []).append((name, record))
        hooks = tuple(sorted(caller.name for caller in self._manager.get_hookcallers(plugin) or ()))
        self._infos.append(
            PluginInfo(
                name,
                version,
                parts=tuple(records["triptych_parts"]),
                verticals=tuple(records["triptych_verticals"]),
                commands=tuple(records["triptych_commands"]),
                routes=tuple(records["triptych_routes"]),
                pages=tuple(records["triptych_pages"]),
                hooks=hooks,
            )
        )

    def _collect(self, name: str) -> dict[str, list[Any]]:
        """What one plugin offers. Raises whatever is wrong with it."""
        plugin = self._manager.get_plugin(name)
        for caller in self._manager.get_hookcallers(plugin) or ():
            if not caller.has_spec():
                raise UnknownNameError("hook", caller.name, [h for h in vars(hookspecs) if h.startswith("triptych_")])
            if any(i.wrapper or i.hookwrapper for i in caller.get_hookimpls() if i.plugin_name == name):
                raise TypeError(f"{caller.name} cannot be a wrapper: each plugin is called on its own")
        records: dict[str, list[Any]] = {}
        for hook, record_type in _LISTS.items():
            records[hook] = []
            for implementation in getattr(self._manager.hook, hook).get_hookimpls():
                if implementation.plugin_name == name:
                    records[hook] += _checked(hook, record_type, implementation.function())
        return records

    def _claimed(self, kind: str, name: str) -> Any:
        claims = self._claims.get((kind, name), [])
        if len(claims) > 1:
            plugins = [plugin for plugin, _ in claims]
            raise PluginError(plugins[-1], f"the {kind} {name!r} is claimed by {' and '.join(plugins)}; remove one")
        return claims[0][1] if claims else None

    def _load(self, kind: str, name: str, record: Part | VerticalSpec | RouteSpec) -> Any:
        plugin = self._claims[kind, name][0][0]
        try:
            return pkgutil.resolve_name(record.target)
        except Exception as error:
            raise PluginError(plugin, f"the {kind} {name!r} ({record.target}) cannot be imported: {error}") from error


@functools.lru_cache(maxsize=1)
def default_host() -> Host:
    """The host with the installed plugins, found once per process."""
    return Host()


def _claims(records: dict[str, list[Any]]) -> Iterable[tuple[str, str, Any]]:
    """Kind, name and record of everything that no other plugin may offer."""
    yield from ((part.kind, part.name, part) for part in records["triptych_parts"])
    yield from (("vertical", spec.name, spec) for spec in records["triptych_verticals"])
    yield from (("command", spec.name, spec) for spec in records["triptych_commands"])
    yield from (("route", _without_names(spec.name), spec) for spec in records["triptych_routes"])
    yield from (("page", spec.name, spec) for spec in records["triptych_pages"])


def _without_names(route: str) -> str:
    """Paths that differ only in the names of their parameters are one route."""
    return re.sub(r"\{\w+\}", "{}", route)


def _checked(hook: str, record_type: type, values: Iterable[Any]) -> list[Any]:
    records = list(values)
    for record in records:
        if not isinstance(record, record_type):
            raise TypeError(f"{hook} must return {record_type.__name__} records, got {record!r}")
        if isinstance(record, RouteSpec | PageSpec) and not record.vertical:
            raise ValueError(f"{hook}: {record.name} names no vertical")
    return records


def _in_turn(caller: pluggy.HookCaller) -> list[pluggy.HookImpl]:
    """The implementations in the order in which pluggy would call them: `tryfirst` first, else the latest plugin."""
    return list(reversed(caller.get_hookimpls()))


def _call(implementation: Any, **arguments: Any) -> Any:
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _same(plugin: object) -> object:
    return plugin


def _version_of(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
