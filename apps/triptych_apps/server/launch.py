"""Start a server, keep it, and stop it so that every request that it took is answered."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import time
from collections.abc import Sequence
from types import FrameType

import uvicorn

from triptych.errors import ConfigError, MissingError
from triptych.host import default_host
from triptych_apps.bundles import vertical_of
from triptych_apps.server import logs, tracing
from triptych_apps.server.access import Access, is_loopback
from triptych_apps.server.decisions import Recorder
from triptych_apps.server.garbage import Garbage
from triptych_apps.server.keys import KeyStore
from triptych_apps.server.logs import log
from triptych_apps.server.protocol import Protocol
from triptych_apps.server.redaction import Redactor
from triptych_apps.server.service import Service
from triptych_apps.server.settings import Settings
from triptych_apps.server.site import Site


def serve(
    bundles: Sequence[str],
    settings: Settings,
    *,
    host: str,
    port: int,
    device: str = "auto",
    no_auth: bool = False,
    proxies: Sequence[str] = (),
    recorder: Recorder | None = None,
    redactor: Redactor | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises `TriptychError` for what keeps it from serving."""
    services = [
        Service(bundle, default_host().vertical(vertical_of(bundle)), settings, device=device) for bundle in bundles
    ]
    for service in services:
        service.recorder, service.redactor = recorder, redactor
    _check_proxies(proxies)
    access = None if no_auth else _access(host, behind_proxy=bool(proxies))
    local = access is None and not no_auth
    listener = _listen(host, port)
    with listener:
        site = Site(services, settings, access=access, local=local)
        server = _Server(site, proxies, Garbage(services))
        before = {sig: signal.signal(sig, server.handle_exit) for sig in (signal.SIGTERM, signal.SIGINT)}
        logs.set_up()
        tracing.set_up()
        address = f"[{host}]" if ":" in host else host
        fields = {"url": f"http://{address}:{listener.getsockname()[1]}", "keys": access is not None}
        log.info("listening", extra={"fields": {**fields, "verticals": [service.name for service in services]}})
        try:
            server.run(sockets=[listener])
        finally:
            tracing.close()
            for sig, handler in before.items():
                signal.signal(sig, handler)
    if site.failure is not None:
        raise site.failure


class _Server(uvicorn.Server):
    """At the first signal, `drain_seconds` begin: probes say that it stops, and every answer ends its connection.

    Then no connection is taken any more, and what was taken is answered. A second signal ends it at once. `garbage` is
    looked after where the whole process is the server's.
    """

    def __init__(self, site: Site, proxies: Sequence[str], garbage: Garbage | None = None) -> None:
        settings = site.settings
        clocks = {"header_seconds": settings.header_seconds, "write_seconds": settings.write_seconds}
        longest = settings.body_seconds + settings.answer_seconds + settings.write_seconds
        config = uvicorn.Config(
            site.asgi,
            http=type("Protocol", (Protocol,), clocks),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_keep_alive=settings.idle_seconds,
            timeout_graceful_shutdown=int(longest) + 1,
        )
        super().__init__(config)
        self._site, self._garbage = site, garbage
        self._drain_until: float | None = None
        self._to_tell: str | None = None  # the signal: a handler must not write, for it may have interrupted a write
        site.on_failure = self._end

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came. The second one ends the process whatever its threads do."""
        if self._drain_until is not None:
            os._exit(128 + sig)
        self._site.draining = True
        self._drain_until = time.monotonic() + self._site.settings.drain_seconds
        self._to_tell = signal.Signals(sig).name

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if self._garbage is not None:
            self._garbage.look()
        if self._to_tell is not None:
            log.info("stopping", extra={"fields": {"signal": self._to_tell}})
            self._to_tell = None
        if self._drain_until is not None and time.monotonic() >= self._drain_until:
            self.should_exit = True
        return await super().on_tick(counter)

    def _end(self) -> None:
        self._site.draining = self.should_exit = True


def _check_proxies(proxies: Sequence[str]) -> None:
    """Raises `ConfigError` for what is no address: it would be believed of nobody, silently."""
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise ConfigError(f"--proxy {proxy}: {error}; give an address or a network such as 10.0.0.0/8") from error


def _access(host: str, *, behind_proxy: bool) -> Access | None:
    """Keys are asked for as soon as one was made. Raises `ConfigError` for an open door to the network."""
    store = KeyStore()
    if store.all():  # revoked ones too: to revoke the last one must not open the door
        return Access(store)
    store.close()
    if behind_proxy or not is_loopback(host):
        who = "the proxy" if behind_proxy else host
        raise ConfigError(
            f"without keys, anybody who reaches {who} could ask; make one with `triptych keys add NAME`, or say "
            "--no-auth where something else guards the server"
        )
    return None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise MissingError(
            f"{host}, port {port}, cannot be served on: {reason}; give another --host or --port"
        ) from error
    return listener
