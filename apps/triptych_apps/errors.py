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


@dataclass(slots=True)
class Session:
    """What belongs to one call of the command line; click hands it down as `ctx.obj`."""

    verbose: bool = False
    interrupted: bool = False


class StoppedError(TriptychError):
    """Ctrl-C in a place that knows what the user may do next."""

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
    except click.UsageError as error:
        return _report(error, _usage_message(error), error.exit_code, args)
    except click.ClickException as error:
        return _report(error, error.format_message(), error.exit_code, args)
    except BrokenPipeError:
        _silence_stdout()
        return PIPE_CLOSED
    except (KeyboardInterrupt, click.Abort):
        return _report(StoppedError("stopped"), "stopped", STOPPED, args, prefix="")
    except Exception as error:
        return _report_exception(error, session, args)


def error_text(error: TriptychError) -> str:
    """What a user reads of an error: several problems of a configuration stand below each other."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0] if len(lines) == 1 else f"{len(lines)} problems:\n" + "\n".join(f"  - {line}" for line in lines)


def say_error(message: str, *, prefix: str = "error: ") -> None:
    """One message on standard error, its first word in red where there is a terminal that wants colour."""
    say(click.style(prefix, fg="red", bold=True) + message if prefix else message)


def say(message: str) -> None:
    """Talk goes to standard error, so that standard output has results only."""
    click.echo(message, err=True, color=False if "NO_COLOR" in os.environ else None)


def _report_exception(error: Exception, session: Session, args: Sequence[str]) -> int:
    if session.interrupted and not isinstance(error, TriptychError):
        # Ctrl-C inside a library's import or callback comes out as that library's own error
        return _report(StoppedError("stopped"), "stopped", STOPPED, args, prefix="")
    known = error if isinstance(error, TriptychError) else _machine_problem(error)
    if known is None:
        traceback.print_exception(error)
        message = (
            f"{type(error).__name__}: {error}\n"
            "This is a bug; please report it with the lines above and the output of `triptych doctor`."
        )
        return _report(error, message, 1, args)
    if session.verbose:
        traceback.print_exception(error)
    return _report(known, error_text(known), known.exit_code, args, prefix="" if known.exit_code == STOPPED else None)


def _machine_problem(error: Exception) -> TriptychError | None:
    """Python's own error for what a user can mend on this machine, as one of ours; None for a bug."""
    if isinstance(error, MemoryError):
        return MissingError("not enough memory; try a smaller batch (--set training.batch_size=8) or a smaller encoder")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return MissingError(f"no space left on the disk while writing {error.filename or 'a file'}")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
        return MissingError(f"no permission to use {error.filename}: {error.strerror}")
    return None


def _usage_message(error: click.UsageError) -> str:
    message = error.format_message()
    if error.ctx is None or isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        return message
    return f"{message}\nSee `{error.ctx.command_path} --help`."


def _report(error: Exception, message: str, exit_code: int, args: Sequence[str], *, prefix: str | None = None) -> int:
    is_help = not isinstance(error, TriptychError) and type(error).__name__ == "NoArgsIsHelpError"
    say_error(message, prefix="" if is_help else "error: " if prefix is None else prefix)
    if _wants_json(args):
        body = {"type": type(error).__name__, "message": message, "exit_code": exit_code}
        with suppress(BrokenPipeError):
            print(json.dumps({"error": body}), flush=True)
    return exit_code


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
