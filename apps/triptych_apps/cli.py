"""The console scripts: `triptych`, and one for each vertical, as `triptych-customer-service`.

Nothing heavy is imported here: a command's code is loaded when the command is used.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

import triptych
from triptych_apps import errors
from triptych_apps.lazy import Lazy, LazyGroup

COMMANDS = {
    "run": Lazy("triptych_apps.run:run", "Build an application: from data (yours, or a sample) to a bundle."),
    "train": Lazy("triptych_apps.run:train", "Fine-tune on your own data and build a bundle."),
    "evaluate": Lazy("triptych_apps.evaluate:evaluate", "Measure a bundle on labelled data."),
    "compress": Lazy(
        "triptych_apps.compress:compress", "Find the cheapest variant of a bundle that keeps the quality asked for."
    ),
    "export": Lazy("triptych_apps.export:export", "Copy what answering needs, and nothing else."),
    "ask": Lazy("triptych_apps.ask:ask", "Ask a bundle one question, in words, a picture or a voice note."),
    "chat": Lazy("triptych_apps.chat:chat", "Talk with a bundle."),
    "serve": Lazy("triptych_apps.serve:serve", "Answer over HTTP."),
    "keys": Lazy("triptych_apps.keys:keys", "Make, list and revoke the keys of `triptych serve`."),
    "replay": Lazy("triptych_apps.replay:replay", "Answer once more what a server answered, and compare."),
    "review": Lazy("triptych_apps.review:review", "Review what a server answered: list, show, label, export."),
    "release": Lazy(
        "triptych_apps.release:release",
        "Canary, promote, roll back and shadow versions of a bundle that is served.",
    ),
    "info": Lazy("triptych_apps.info:info", "Show what a bundle holds and how good it is."),
    "rollback": Lazy("triptych_apps.rollback:rollback", "Go back to the bundle before the newest one."),
    "index": Lazy("triptych_apps.index:index", "Keep a searchable index of your own items: build, add, search, ..."),
    "plugins": Lazy("triptych_apps.plugins:plugins", "List plugins and what they offer."),
    "doctor": Lazy("triptych_apps.doctor:doctor", "Check this machine: packages, weights, devices, disk."),
}
_OF_A_VERTICAL = ("run", "train", "evaluate", "compress", "export", "ask", "chat", "info", "rollback")


def _start(ctx: click.Context, verbose: bool) -> None:
    from triptych_apps.quiet import set_up

    ctx.obj.verbose = verbose
    set_up(verbose)


def group(name: str, *, vertical: str | None = None) -> LazyGroup:
    """The root of the command line; with `vertical`, the one that serves this vertical only."""
    from triptych_apps.bind import Bound  # click only

    lazy: dict[str, Any] = COMMANDS
    text = "Multimodal applications: text, picture and sound in any combination.\n\nStart with: triptych run NAME"
    if vertical is not None:
        lazy = {key: Bound(COMMANDS[key], vertical) for key in _OF_A_VERTICAL}
        text = f"The {vertical} application.\n\nStart with: {name} run"
    root = LazyGroup(
        name,
        lazy=lazy,
        plugins=vertical is None,
        callback=click.pass_context(_start),
        help=text,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        params=[
            click.Option(["-v", "--verbose"], is_flag=True, help="Show log messages, warnings and tracebacks."),
        ],
    )
    return click.version_option(triptych.__version__, prog_name=name, message="%(prog)s %(version)s")(root)


def main(args: list[str] | None = None) -> None:
    """The console script `triptych`. Always raises `SystemExit`."""
    _exit(group("triptych"), "triptych", args)


def vertical_main(args: list[str] | None = None) -> None:
    """The console script of a vertical, which is named after it: `triptych-customer-service`."""
    program = Path(sys.argv[0]).stem
    _exit(group(program, vertical=program.removeprefix("triptych-")), program, args)


def _exit(root: LazyGroup, program: str, args: list[str] | None) -> None:
    instruction = os.environ.get(f"_{program}_COMPLETE".replace("-", "_").upper())
    if instruction:
        from click.shell_completion import shell_complete

        variable = f"_{program}_COMPLETE".replace("-", "_").upper()
        sys.exit(shell_complete(root, {}, program, variable, instruction))
    sys.exit(errors.run(root, program, sys.argv[1:] if args is None else args))
