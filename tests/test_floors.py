"""The light floor stays light, every name leads somewhere, and only one module asks for a GPU.

Which module may import which is `lint-imports`' business; here is what only a running interpreter can tell.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from triptych.host import Host

REPOSITORY = Path(__file__).resolve().parents[1]
CORE = REPOSITORY / "core" / "triptych"
HEAVY = {"torch", "torchaudio", "torchvision", "transformers", "sentence_transformers", "faiss", "sklearn", "timm"}
HEAVY |= {"peft", "accelerate", "PIL", "soundfile", "av", "rich", "matplotlib", "pyarrow", "scipy", "pandas"}
HEAVY |= {"sqlalchemy"}


def modules_in(package: str) -> list[str]:
    """Every module of a sub-package of the core, or the module itself."""
    folder = CORE / package
    if not folder.is_dir():
        return [f"triptych.{package}"]
    return [
        "triptych." + ".".join(file.relative_to(CORE).with_suffix("").parts).removesuffix(".__init__")
        for file in sorted(folder.rglob("*.py"))
    ]


LIGHT = [m for p in ("types", "errors", "hookspecs", "host", "builtin", "config", "data") for m in modules_in(p)]
LIGHT += ["triptych", "triptych.vertical", "triptych_apps.cli", "triptych_customer_service", "triptych_finance"]
LIGHT += ["triptych_recommendation", "triptych.printing"]


def heavy_after(statement: str) -> set[str]:
    """The heavy packages in `sys.modules` of a fresh interpreter after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_reads_no_torch_from_disk():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import triptych"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "triptych" in imported  # the report was understood
    assert not imported & HEAVY


def test_the_light_floor_together_loads_nothing_heavy():
    assert heavy_after("\n".join(f"import {module}" for module in LIGHT)) == set()


def test_finding_plugins_loads_nothing_heavy():
    assert heavy_after("from triptych.host import Host; Host()") == set()


def test_help_loads_nothing_heavy():
    statement = (
        "import sys\nfrom triptych_apps.cli import main\nsys.argv = ['triptych', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    assert heavy_after(statement) == set()


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="CPU seconds of a child process are read with wait4")
def test_help_takes_little_processor_time():
    seconds = []
    for _ in range(3):  # the best of three: the first one may compile bytecode
        process = subprocess.Popen(
            [sys.executable, "-c", "from triptych_apps.cli import main; main()", "--help"], stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        seconds.append(usage.ru_utime + usage.ru_stime)
    limit = 0.3 * (2 if os.environ.get("CI") else 1)  # seconds; twice as long on a machine that others share
    assert min(seconds) <= limit


@pytest.mark.parametrize("part", Host(installed=False).parts(), ids=lambda part: f"{part.kind}-{part.name}")
def test_every_part_of_the_core_leads_to_a_class(part):
    assert isinstance(part.load(), type)
    assert part.summary.endswith(".")


def test_every_installed_plugin_loads():
    assert {info.name: info.error for info in Host().plugins() if info.error} == {}


@pytest.mark.parametrize("spec", Host().verticals(), ids=lambda spec: spec.name)
def test_every_installed_vertical_leads_to_a_class(spec):
    from triptych.vertical import Vertical

    assert issubclass(type(Host().vertical(spec.name)), Vertical)


def product_files() -> list[Path]:
    return [file for folder in ("core", "plugins", "apps") for file in sorted((REPOSITORY / folder).rglob("*.py"))]


def test_only_the_device_module_asks_for_a_gpu():
    asks = re.compile(r"\b(torch\.)?(cuda|mps)\.\w+\(|backends\.(mps|cudnn)|device_count\(\)|get_num_gpus")
    # FAISS has its own view of the GPUs, and one function of the indexes asks it
    allowed = {CORE / "device.py": 99, CORE / "retrieval" / "gpu.py": 1}
    found = {f: len(asks.findall(f.read_text(encoding="utf-8"))) for f in product_files()}
    assert {str(f.relative_to(REPOSITORY)): n for f, n in found.items() if n > allowed.get(f, 0)} == {}


def test_plugins_import_only_public_names_of_the_core():
    private = []
    for file in sorted((REPOSITORY / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "triptych":
                names = [*str(node.module).split("."), *(alias.name for alias in node.names)]
                private += [f"{file.name}:{node.lineno} {name}" for name in names if name.startswith("_")]
    assert [p for p in private if not p.endswith("__version__")] == []


def test_nothing_in_the_product_pickles():
    pickles = re.compile(
        r"\b(import|from) (pickle|dill|joblib|cloudpickle|shelve)\b|weights_only=False|allow_pickle=True"
    )
    assert [str(f) for f in product_files() if pickles.search(f.read_text(encoding="utf-8"))] == []
