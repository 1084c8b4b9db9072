"""A plugin that is found like any installed one, and the command line called inside or beside this process."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from triptych.host import default_host
from triptych_apps import errors
from triptych_apps.cli import group

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = """
    import click
    from triptych import hookimpl
    from triptych.types import CommandSpec, VerticalSpec

    @hookimpl
    def triptych_verticals():
        return [VerticalSpec("shop", "tests.apps.shop:Shop", "Sells colours.")]

    @hookimpl
    def triptych_commands():
        return [
            CommandSpec("paint", "triptych_shop_commands:paint", "Paint the shop."),
            CommandSpec("gone", "triptych_shop_nowhere:gone", "Leads nowhere."),
            CommandSpec("odd", "triptych_shop_commands:ODD", "Is no command."),
            CommandSpec("run", "triptych_shop_commands:paint", "Would take the place of run."),
        ]
"""
COMMANDS = """
    import click

    ODD = 7

    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def paint(as_json):
        \"\"\"Paint the shop.\"\"\"
        click.echo("painted")
"""


@dataclass(frozen=True)
class Done:
    """What a call of the command line left."""

    code: int
    out: str
    err: str


Call = Callable[..., Done]


@dataclass(frozen=True)
class Built:
    """What `triptych run shop --json` printed, and the home with the bundle it left."""

    home: Path
    out: str
    err: str


def write_plugin(folder: Path) -> Path:
    """A folder that is an installed distribution to Python, with plugins that work and one that does not."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "triptych_shop.py").write_text(textwrap.dedent(PLUGIN))
    (folder / "triptych_shop_commands.py").write_text(textwrap.dedent(COMMANDS))
    (folder / "triptych_broken.py").write_text("raise RuntimeError('the shop is shut')\n")
    info = folder / "triptych_shop-0.3.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: triptych-shop\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[triptych]\nshop = triptych_shop\nbroken = triptych_broken\n")
    return folder


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder to put on `sys.path`."""
    return write_plugin(tmp_path_factory.mktemp("plugins"))


@pytest.fixture(scope="session")
def built(plugin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A bundle of the shop, built once by the command line in a process of its own. Nobody may change it."""
    home = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-c", START.format(program="triptych"), "run", "shop", "--json"]
    environment = child_environment(plugin_folder, home)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return Built(home, done.stdout, done.stderr)


@pytest.fixture
def call(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Call `triptych` in this process: no start-up, and the same code as the console script runs."""
    monkeypatch.syspath_prepend(str(plugin_folder))
    default_host.cache_clear()
    logger = logging.getLogger("triptych")
    before = (logger.handlers[:], logger.propagate, logger.level)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TRIPTYCH__COMPRESSION__ENABLED", "false")  # tests of compression switch it on
    monkeypatch.setenv("TRIPTYCH__COMPRESSION__MEMORY", "false")

    def call(*args: object, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = errors.run(group("triptych"), "triptych", [str(arg) for arg in args])
        return Done(code, *capsys.readouterr())

    yield call
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])
    default_host.cache_clear()


@pytest.fixture
def spawn(plugin_folder: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `triptych` in a process of its own; `home` is where its bundles go."""

    def spawn(*args: object, home: Path = tmp_path / "home", program: str = "triptych") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", START.format(program=program), *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=child_environment(plugin_folder, home),
        )

    return spawn


START = """
import sys
from triptych_apps import cli
sys.argv[0] = {program!r}
cli.main() if {program!r} == "triptych" else cli.vertical_main()
"""


def child_environment(plugin_folder: Path, home: Path) -> dict[str, str]:
    """Variables for a process that finds the plugin and writes into `home`."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(plugin_folder), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "TRIPTYCH_HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "TRIPTYCH__COMPRESSION__ENABLED": "false",  # tests of compression switch it on
        "TRIPTYCH__COMPRESSION__MEMORY": "false",
        "PYTHONUNBUFFERED": "1",
    }
