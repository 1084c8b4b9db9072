"""From an exception to a message on standard error and an exit code; `triptych.errors` has the table of codes."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

import click

from triptych.errors import MissingError, TriptychError

STOPPED = 130  # 128 + SIGINT, as shells have it
PIPE_CLOSED = 141  # 128 + SIGPIPE

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
_HELP_WAS_ASKED = "NoArgsIsHelpError"  # click raises it for a group without a command; not all its versions have it


@dataclass(slots=True)
class Session:
    """What belongs to one call of the command line; click hands it down as `ctx.obj`."""

    verbose: bool = False
    when_stopped: str = "stopped"  # what Ctrl-C is answered with; a command that can be continued says so
    interrupted: bool = False


class StoppedError(TriptychError):
    """Ctrl-C was pressed."""

    exit_code = STOPPED


def run(command: click.Command, program: str, args: Sequence[str]) -> int:
    """Run a command and return the exit code. Whatever goes wrong has been told on standard error.

    With `--json` an error is one object on standard output as well: `{"error": {"type", "message", "exit_code"}}`.
    """
    session = Session()
    try:
        with _remember_interrupt(session), command.make_context(program, list(args), obj=session) as ctx:
            command.invoke(ctx)
            sys.stdout.flush()
        return 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except BrokenPipeError:
        _silence_stdout()
        return PIPE_CLOSED
    except (Exception, KeyboardInterrupt) as error:
        return _report(error, session, json_wanted=_wants_json(args))


def error_text(error: TriptychError) -> str:
    """What a user reads of an error: several problems of a configuration stand below each other."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0] if len(lines) == 1 else f"{len(lines)} problems:\n" + "\n".join(f"  - {line}" for line in lines)


def say_error(message: str) -> None:
    """One message on standard error, its first word in red where there is a terminal that wants colour."""
    say(click.style("error:", fg="red", bold=True) + f" {message}")


def say(message: str) -> None:
    """Talk goes to standard error, so that standard output has results only."""
    click.echo(message, err=True, color=False if "NO_COLOR" in os.environ else None)


def _report(error: BaseException, session: Session, *, json_wanted: bool) -> int:
    """Tell an error on standard error (and as JSON) and return its exit code."""
    told = _as_told(error, session)
    if told is None:
        code = 1
        message = (
            f"{type(error).__name__}: {error}\n"
            "This is a bug; please report it with the lines above and the output of `triptych doctor`."
        )
    elif isinstance(told, TriptychError):
        code, message = told.exit_code, error_text(told)
    else:
        code, message = told.exit_code, _usage_text(told)
    if told is None or session.verbose:
        traceback.print_exception(error)
    if isinstance(told, StoppedError) or type(told).__name__ == _HELP_WAS_ASKED:
        say(message)
    else:
        say_error(message)
    if json_wanted:
        body = {"type": type(told or error).__name__, "message": message, "exit_code": code}
        with suppress(BrokenPipeError):
            print(json.dumps({"error": body}), flush=True)
    return code


def _as_told(error: BaseException, session: Session) -> TriptychError | click.ClickException | None:
    """The error as a user should read it; None for a bug."""
    if isinstance(error, (TriptychError, click.ClickException)):
        return error
    # Ctrl-C inside a library's import or callback comes out as that library's own error
    if session.interrupted or isinstance(error, (KeyboardInterrupt, click.Abort)):
        return StoppedError(session.when_stopped)
    if isinstance(error, MemoryError):
        return MissingError("not enough memory; try a smaller batch (--set training.batch_size=8) or a smaller encoder")
    if isinstance(error, OSError) and error.errno in _FULL:
        return MissingError(f"no space left on the disk while writing {error.filename or 'a file'}")
    if isinstance(error, OSError) and error.errno in _FORBIDDEN and error.filename:
        return MissingError(f"{error.filename} cannot be used: {error.strerror}")
    return None


def _usage_text(error: click.ClickException) -> str:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if context is None or type(error).__name__ == _HELP_WAS_ASKED:
        return message
    return f"{message}\nSee `{context.command_path} --help`."


def _wants_json(args: Sequence[str]) -> bool:
    # the words themselves are asked, for a command line that could not be parsed has no options
    words = list(args)
    return "--json" in (words[: words.index("--")] if "--" in words else words)


@contextmanager
def _remember_interrupt(session: Session) -> Iterator[None]:
    """Note that Ctrl-C was pressed before `KeyboardInterrupt` goes its way."""

    def note(_number: int, _frame: FrameType | None) -> None:
        session.interrupted = True
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, or a host program's own
        yield
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _silence_stdout() -> None:
    """Keep the interpreter from complaining about the closed pipe once more when it flushes at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
