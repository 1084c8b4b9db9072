"""How far a build has come: lines in a file, bars on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import textwrap

import pytest

from triptych_apps import progress
from triptych_apps.progress import Event


def test_a_file_gets_a_line_for_each_step(capsys):
    with progress.progress() as report:
        report(Event("data", 0, 1, "reading"))
        report(Event("data", 1, 1, "600 samples"))
        report(Event("tune", 3, 40, "loss 0.5"))
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.startswith("data: done in ")
    assert first.endswith("(600 samples)")
    assert second.startswith("tune: done in ")


def test_a_step_that_failed_is_not_called_done(capsys):
    def stopped() -> None:
        with progress.progress() as report:
            report(Event("tune", 3, 40, "loss 0.5"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert "done" not in capsys.readouterr().err


def test_a_long_step_says_now_and_then_where_it_is(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with progress.progress() as report:
        for epoch in range(41):
            now = float(epoch)
            report(Event("tune", epoch, 40, "loss 0.5"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:4] == [f"tune: {epoch}/40 loss 0.5" for epoch in (10, 20, 30, 40)]


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is a matter of POSIX")
def test_a_terminal_gets_bars():
    code = textwrap.dedent("""
        from triptych_apps.progress import Event, progress
        with progress() as report:
            report(Event("data", 0, 1, "reading"))
            report(Event("data", 1, 1, "600 samples"))
            for epoch in range(41):
                report(Event("tune", epoch, 40, "loss 0.5"))
        print("the result")
    """)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
    )
    os.close(theirs)
    screen = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            block = os.read(ours, 4096)
        except OSError:  # Linux says so when the other side is closed
            break
        screen += block
    os.close(ours)
    assert process.communicate()[0] == "the result\n"
    assert "✓" in screen.decode()
    assert "40/40" in screen.decode()
    assert "600 samples" in screen.decode()
