"""From an exception to a message and an exit code."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess

import click
import pytest

from triptych import errors as core_errors
from triptych.errors import BundleError, ConfigError, DataError, MissingError, PluginError, RefusedError, TriptychError
from triptych_apps import errors

KNOWN = [
    (TriptychError("no"), 2),
    (ConfigError("no"), 2),
    (DataError("no", file="a.csv", row=3), 3),
    (BundleError("no"), 4),
    (PluginError("p", "no"), 5),
    (RefusedError("no"), 5),
    (MissingError("no"), 6),
    (MemoryError(), 6),
    (OSError(errno.ENOSPC, "No space left on device", "model.safetensors"), 6),
    (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 6),
    (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/root/x"), 6),
    (errors.StoppedError("stopped; do it again"), 130),
    (KeyboardInterrupt(), 130),
    (ValueError("a bug"), 1),
]


def run(error: BaseException | None, *args: str) -> int:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json: bool) -> None:
        print("a result")
        if error is not None:
            raise error

    return errors.run(command, "triptych", args)


@pytest.mark.parametrize(("error", "code"), KNOWN, ids=lambda value: type(value).__name__)
def test_every_error_has_its_exit_code(error, code, capsys):
    assert run(error) == code
    assert capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), KNOWN, ids=lambda value: type(value).__name__)
def test_with_json_the_error_is_an_object_as_well(error, code, capsys):
    run(error, "--json")
    body = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message", "exit_code"}
    assert body["error"]["exit_code"] == code


def test_the_table_of_exit_codes_has_every_code():
    table = core_errors.__doc__ or ""
    for _, code in KNOWN:
        assert f"| {code} |" in table


def test_success_is_zero(capsys):
    assert run(None) == 0
    assert capsys.readouterr().out == "a result\n"


def test_what_a_user_can_mend_shows_no_traceback(capsys):
    run(DataError("has no column 'label'", file="a.csv"))
    assert capsys.readouterr().err == "error: a.csv: has no column 'label'\n"


def test_several_problems_stand_below_each_other(capsys):
    run(ConfigError(["unknown key 'a'", "unknown key 'b'"]))
    assert capsys.readouterr().err == "error: 2 problems:\n  - unknown key 'a'\n  - unknown key 'b'\n"


def test_a_bug_keeps_its_traceback_and_asks_for_a_report(capsys):
    run(ValueError("a bug"))
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "please report" in err


def test_wrong_usage_is_an_object_with_json_even_when_nothing_could_be_parsed(capsys):
    assert run(None, "--nonsense", "--json") == 2
    assert "nonsense" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_json_after_two_dashes_is_a_word(capsys):
    assert run(None, "--", "--json") == 2
    assert capsys.readouterr().out == ""


def test_an_error_that_ctrl_c_caused_in_a_library_is_ctrl_c(capsys):
    @click.command()
    def command() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("cannot import name 'x'") from None

    assert errors.run(command, "triptych", []) == 130
    assert capsys.readouterr().err == "stopped\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_no_color_is_honoured(monkeypatch, capsys):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(DataError("no"))
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes that close early are a matter of POSIX")
def test_a_closed_pipe_is_no_error(spawn):
    process: subprocess.Popen[str] = spawn("plugins")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait() == errors.PIPE_CLOSED
    assert err == ""
