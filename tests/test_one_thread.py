"""The commands that answer compute NumPy's products in the thread that asks for them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("module", "command", "arguments"),
    [
        ("triptych_apps.serve", "serve", ["no-such-bundle"]),
        ("triptych_finance.surface.commands", "finance", ["replay", "nothing.csv"]),
        ("triptych_finance.surface.commands", "finance", ["monitor", "--source", "replay:nothing.csv"]),
    ],
)
def test_products_are_not_shared_among_the_cores(module: str, command: str, arguments: list[str], tmp_path: Path):
    code = f"""
        import threadpoolctl
        from click.testing import CliRunner
        from {module} import {command}
        assert CliRunner().invoke({command}, {arguments!r}).exit_code
        import numpy
        print({{p["num_threads"] for p in threadpoolctl.threadpool_info() if "numpy" in p["filepath"]}})
    """
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    kept["TRIPTYCH_HOME"] = str(tmp_path)
    python = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(python, env=kept, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "{1}"
