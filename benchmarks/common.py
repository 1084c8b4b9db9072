"""What every benchmark needs: the data folder, a meter, and a saved table that says where it was measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "timm",
    "peft",
    "accelerate",
    "faiss-gpu",
    "faiss-cpu",
    "scikit-learn",
    "numpy",
)


def data_folder(*needed: str) -> Path:
    """The benchmark data (`TRIPTYCH_DATA`, by default beside the repository); ends the script where it is absent."""
    folder = Path(os.environ.get("TRIPTYCH_DATA", REPOSITORY.parent / "shared" / "data"))
    for name in needed or ("",):
        if not (folder / name).exists():
            print(f"skipped: {folder / name} is absent; set TRIPTYCH_DATA to the folder with the benchmark data")
            raise SystemExit(0)
    return folder


@dataclass
class Meter:
    """Wall and CPU seconds of a block (this process, all threads) and the peak memory of the process so far."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def metered() -> Iterator[Meter]:
    """Measure the block; read the meter after it."""
    meter = Meter()
    wall, cpu = time.perf_counter(), time.process_time()
    yield meter
    meter.seconds, meter.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    meter.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine(seed: int | None = None) -> dict[str, Any]:
    """Processor, cores, versions, commit and seed."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    git = ["git", "-C", str(REPOSITORY)]
    commit = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    dirty = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit + ("+changes" if dirty else ""),
        "seed": seed,
        "command": " ".join([Path(sys.argv[0]).name, *(_portable(word) for word in sys.argv[1:])]),
    }


def processor() -> str:
    """The model, its widest instructions for eight-bit products, and bfloat16: names alone do not tell them."""
    name = platform.processor() or platform.machine()
    known = Path("/proc/cpuinfo")
    if not known.exists():
        return name
    lines = [line.partition(":") for line in known.read_text(encoding="utf-8").splitlines()]
    found = {key.strip(): value.strip() for key, _, value in reversed(lines)}
    flags = set(found.get("flags", "").split())
    widest = next((flag for flag in ("amx_int8", "avx512_vnni", "avx_vnni", "avx2") if flag in flags), None)
    told = [word for word in (widest, "bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else None) if word]
    model = found.get("model name", name)
    return f"{model} ({', '.join(told)})" if told else model


def _portable(word: str) -> str:
    """An argument without the folder in which somebody keeps files on one machine."""
    return Path(word).name if Path(word).is_absolute() else word


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as a Markdown table; floats with up to four significant digits."""
    keys = list(dict.fromkeys(key for row in rows for key in row))

    def show(value: Any) -> str:
        return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(keys) + " |", "|" + " --- |" * len(keys)]
    lines += ["| " + " | ".join(show(row.get(key)) for key in keys) + " |" for row in rows]
    return "\n".join(lines)


def save(
    name: str,
    title: str,
    tables: dict[str, Sequence[dict[str, Any]]],
    *,
    seed: int | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Print the tables and write `results/NAME.md` and `results/NAME.json`."""
    where = machine(seed)
    text = [f"# {title}", ""]
    for heading, rows in tables.items():
        text += [f"## {heading}", "", markdown(rows), ""]
    text += [*(f"- {note}" for note in notes), *([""] if notes else [])]
    text += [f"Measured {where['date']} on {where['cpu']}, {where['cores']} cores, Python {where['python']}; "
             + ", ".join(f"{k} {v}" for k, v in where["versions"].items())
             + f"; seed {seed}; commit {where['commit']}; `{where['command']}`.", ""]  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join(text), encoding="utf-8")
    (RESULTS / f"{name}.json").write_text(
        json.dumps({"title": title, "machine": where, "tables": tables, "notes": list(notes)}, indent=1) + "\n",
        encoding="utf-8",
    )
    print("\n".join(text))
