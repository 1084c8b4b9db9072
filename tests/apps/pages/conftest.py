"""A real browser, and real servers for it to look at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.apps.conftest import ROOT, START
from tests.apps.server.conftest import Process

FLAGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def chromium() -> str | None:
    """The browser that is installed beside Playwright, which brings none of its own here."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window, with a microphone that beeps.

    One for each module: while Playwright is there, this thread has a running event loop, which other tests must not
    meet.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    program = chromium()
    if program is None:
        pytest.skip("no chromium is installed (apt-get install chromium); or name one in the variable CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Start `triptych serve` on bundles, in a process of its own: gives its address when it is ready.

    `plugins` are modules that count as installed plugins there, by their names; `home` is its TRIPTYCH_HOME, else a
    fresh one; `options` go to the command, `variables` into its environment.
    """
    running: list[Process] = []

    def serving(
        *bundles: Path | str,
        plugins: Mapping[str, str] = {},
        home: Path | None = None,
        options: tuple[str, ...] = (),
        variables: Mapping[str, str] = {},
    ) -> str:
        installed = install(tmp_path_factory.mktemp("installed"), plugins)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)]),
            "TRIPTYCH_HOME": str(home or tmp_path_factory.mktemp("home")),
            **variables,
        }
        command = [sys.executable, "-c", START.format(program="triptych"), "serve", *map(str, bundles), "--port", "0"]
        process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
        running.append(Process(process))
        return running[-1].ready()

    yield serving
    for process in running:
        process.process.kill()
        process.end()
        assert process.process.stderr is not None
        process.process.stderr.close()


def install(folder: Path, plugins: Mapping[str, str]) -> Path:
    """A folder that makes modules installed plugins to a Python that has it in its path."""
    info = folder / "pages_plugins-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pages-plugins\nVersion: 0.1\n")
    lines = "".join(f"{name} = {module}\n" for name, module in plugins.items())
    (info / "entry_points.txt").write_text(f"[triptych]\n{lines}")
    return folder
