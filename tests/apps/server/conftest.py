"""A bundle of the desk, and a real server on loopback around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apps.conftest import ROOT, START
from tests.apps.server import desk
from tests.core.runtime.bundles import write_exported, write_space
from triptych.bundle import BundleWriter, Manifest
from triptych.host import Host
from triptych.predictor import Predictor, load
from triptych.runtime.open import variant_path
from triptych.trace import Trace
from triptych_apps.server.decisions import Recorder
from triptych_apps.server.launch import _listen, _Server
from triptych_apps.server.redaction import answer_clean
from triptych_apps.server.service import Service
from triptych_apps.server.settings import Settings
from triptych_apps.server.site import Site

CASCADE = {"format": 1, "stages": ["small", "large"], "thresholds": [0.9999]}
PRICES = {"small": 1.0, "small>large": 10.0, "large": 40.0}  # of a million answers


QUICK = Settings(threads=1, drain_seconds=0)


def desk_host() -> Host:
    """A host with the desk and nothing that happens to be installed."""
    return Host({"desk": desk}, installed=False)


def write_desk(output: Path, workspace: Path) -> Path:
    """A bundle that answers with a cascade of two exported models, with prices."""
    with BundleWriter(output, workspace) as writer:
        for name, sharpness in (("small", 8.0), ("large", 40.0)):
            write_exported(variant_path(writer.path, name), variant=name, sharpness=sharpness)
            write_space(variant_path(writer.path, name))
        variant_path(writer.path, "small>large").mkdir()
        (variant_path(writer.path, "small>large") / "cascade.json").write_text(json.dumps(CASCADE))
        rows = [{"name": name, "cost_per_million": price, "currency": "EUR"} for name, price in PRICES.items()]
        ledger = {"chosen": "small>large", "variants": rows}
        writer.commit(Manifest(vertical="desk", config={"vertical": {}}, ledger=ledger))
    return output


@pytest.fixture(scope="session")
def desk_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    return write_desk(folder / "bundle", folder / "work")


def write_untrained(folder: Path, vertical: str, settings: dict[str, Any]) -> Path:
    """A bundle with a model that was trained on nothing: what it answers is of no account."""
    with BundleWriter(folder / "bundle", folder / "work") as writer:
        write_exported(variant_path(writer.path, "tiny"), variant="tiny")
        writer.commit(Manifest(vertical=vertical, config={"vertical": settings}, ledger={"chosen": "tiny"}))
    return folder / "bundle"


@pytest.fixture(scope="session")
def customer_service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    readers = {"ocr": "off", "asr": "off"}
    return write_untrained(tmp_path_factory.mktemp("customer-service"), "customer-service", {"readers": readers})


@pytest.fixture(scope="module")
def predictor(desk_bundle: Path) -> Predictor:
    return load(desk_bundle, host=desk_host())


@pytest.fixture
def recorder(triptych_home: Path) -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.close()


def keep(
    recorder: Recorder, predictor: Predictor, requests: Sequence[Any], cost: float | None = None
) -> tuple[list[Any], list[str | None]]:
    """Answer what was redacted and write it down, as a release does it: results and ids."""
    traces = [Trace() for _ in requests]
    results = answer_clean(predictor, requests, traces)
    return results, recorder.record(predictor, requests, results, traces, fallback=False, cost=cost)


@dataclass
class Running:
    """A server in a thread of this process."""

    url: str
    site: Site
    server: Any

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, **options)


@contextmanager
def run(bundle: Path, settings: Settings = QUICK, *, host: Host | None = None, **options: Any) -> Iterator[Running]:
    """Serve the desk until the block ends."""
    service = Service(str(bundle), desk.Desk(), settings, host=host or desk_host())
    site = Site([service], settings, **options)
    with _listen("127.0.0.1", 0) as listener:
        server = _Server(site, [])
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
        thread.start()
        running = Running(f"http://127.0.0.1:{listener.getsockname()[1]}", site, server)
        try:
            wait(lambda: server.started and (service.state != "starting" or site.failure is not None))
            yield running
        finally:
            site.draining = server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def wait(until: Callable[[], bool], seconds: float = 30) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def served(desk_bundle: Path) -> Iterator[Running]:
    """One server for the tests of a module."""
    with run(desk_bundle, local=True) as running:
        yield running


@pytest.fixture
def ask(served: Running) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


def error_kind(response: httpx.Response) -> str:
    """The kind of an error, whose shape is checked."""
    body = response.json()
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"kind", "message"}
    assert "Traceback" not in response.text
    return str(body["error"]["kind"])


@pytest.fixture(scope="session")
def desk_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that makes the desk an installed plugin."""
    info = tmp_path_factory.mktemp("plugin") / "desk-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: desk\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[triptych]\ndesk = tests.apps.server.desk\n")
    return info.parent


class Process:
    """`triptych serve` with its log."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.raw.append(line)
            if line.startswith("{"):
                self.lines.append(json.loads(line))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    @property
    def url(self) -> str:
        wait(lambda: bool(self.events("listening")) or self.process.poll() is not None, 60)
        assert self.events("listening"), self.raw
        return str(self.events("listening")[0]["url"])

    def wait_for(self, event: str, count: int = 1) -> None:
        wait(lambda: len(self.events(event)) >= count or self.process.poll() is not None, 60)
        assert len(self.events(event)) >= count, self.raw

    def ready(self) -> str:
        self.wait_for("ready")
        return self.url

    def end(self) -> int:
        code = self.process.wait(60)
        self._reader.join(10)
        return code


@pytest.fixture
def start(desk_plugin: Path, desk_bundle: Path, triptych_home: Path) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def start(*args: str, code: str = START.format(program="triptych"), bundle: Path = desk_bundle) -> Process:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(desk_plugin), str(ROOT)]),
            "TRIPTYCH_HOME": str(triptych_home),
        }
        command = [sys.executable, "-c", code, "serve", str(bundle), "--port", "0", *args]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
        running.append(Process(process))
        return running[-1]

    yield start
    for process in running:
        process.process.kill()
        process.end()
        assert process.process.stderr is not None
        process.process.stderr.close()
