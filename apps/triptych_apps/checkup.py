"""What `triptych doctor` looks at."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement

import triptych
from triptych.bundle import triptych_home
from triptych.cores import cpu_count
from triptych.device import available_devices
from triptych.encoders.minilm import NAMES, packaged_minilm
from triptych.encoders.weights import WEIGHTS_VARIABLE
from triptych.errors import MissingError, TriptychError
from triptych.host import default_host
from triptych_apps.outcomes import DiskOutcome, DoctorOutcome, FoundOutcome, PackageOutcome

_LEAST_FREE_MB = 500.0  # a bundle of the default model is about 100 MB, and two versions of it are kept
_NOT_FOR_USERS = ("dev",)  # extras that say nothing about what triptych can do here


def examine() -> DoctorOutcome:
    """Everything at once; nothing is changed and nothing is fetched."""
    home = triptych_home()
    packages = check_packages()
    disk = _disk(home)
    return DoctorOutcome(
        triptych=triptych.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        home=str(home),
        cores=cpu_count(),
        memory_mb=round(psutil.virtual_memory().total / 1e6, 1),
        devices=available_devices(),
        disk=disk,
        packages=packages,
        weights=[_minilm(), *_folder_of_weights(), *_hub_cache()],
        readers=check_readers(),
        problems=_problems(home, disk, packages),
    )


def check_packages() -> list[PackageOutcome]:
    """Each requirement of the installed triptych, with what is there."""
    found = []
    for line in importlib.metadata.requires("triptych") or []:
        requirement = Requirement(line)
        extra = _extra_of(requirement)
        if extra in _NOT_FOR_USERS:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra or ""}):
            continue  # of another platform
        version = _version(requirement.name)
        ok = version is not None and requirement.specifier.contains(version, prereleases=True)
        found.append(
            PackageOutcome(
                name=requirement.name, version=version, wanted=str(requirement.specifier), extra=extra, ok=ok
            )
        )
    return found


def check_readers() -> list[FoundOutcome]:
    """Which readers (text in pictures, speech) can work here."""
    found = []
    for part in default_host().parts("reader"):
        try:  # a reader says at once what it lacks
            reader = default_host().load_part("reader", part.name)()
        except TriptychError as error:
            status: Literal["absent", "unusable"] = "absent" if isinstance(error, MissingError) else "unusable"
            found.append(FoundOutcome(name=part.name, status=status, detail=str(error)))
        else:
            found.append(FoundOutcome(name=part.name, status="ok", detail=f"{part.summary} ({reader.fingerprint})"))
    return found


def _extra_of(requirement: Requirement) -> str | None:
    """The extra that a requirement belongs to, by asking its marker with every extra that exists."""
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return None
    extras = importlib.metadata.metadata("triptych").get_all("Provides-Extra") or []
    return next((extra for extra in extras if requirement.marker.evaluate({"extra": extra})), None)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _minilm() -> FoundOutcome:
    folder, reason = packaged_minilm(NAMES[0])
    name = f"{NAMES[0]} (packaged)"
    if folder is not None:
        return FoundOutcome(name=name, status="ok", detail=f"{folder}, hash is the published one")
    return FoundOutcome(name=name, status="unusable" if "refused" in reason else "absent", detail=reason)


def _folder_of_weights() -> list[FoundOutcome]:
    name = f"${WEIGHTS_VARIABLE}"
    value = os.environ.get(WEIGHTS_VARIABLE)
    if not value:
        return [FoundOutcome(name=name, status="absent", detail="is not set; it names a folder of safetensors files")]
    folder = Path(value).expanduser()
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        what = "has no safetensors files" if folder.is_dir() else "is not a folder"
        return [FoundOutcome(name=name, status="unusable", detail=f"{folder} {what}")]
    return [FoundOutcome(name=name, status="ok", detail=f"{folder}: {', '.join(f.name for f in files)}")]


def _hub_cache() -> list[FoundOutcome]:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    folders = sorted(cache.glob("models--*")) if cache.is_dir() else []
    names = [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
    mode = ", offline" if constants.HF_HUB_OFFLINE else ""
    return [
        FoundOutcome(name="hub cache", status="ok" if names else "absent", detail=f"{cache}{mode}: {_listed(names)}")
    ]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "no models"


def _disk(home: Path) -> DiskOutcome:
    place = next(p for p in (home, *home.parents) if p.exists())
    return DiskOutcome(path=str(place), free_mb=round(shutil.disk_usage(place).free / 1e6, 1))


def _problems(home: Path, disk: DiskOutcome, packages: list[PackageOutcome]) -> list[str]:
    problems = []
    for package in packages:
        if not package.ok and package.extra is None:
            came = package.version or "nothing"
            wanted = f"{package.name}{package.wanted}"
            problems.append(f"{wanted} is needed, {came} is installed: pip install '{wanted}'")
    if disk.free_mb < _LEAST_FREE_MB:
        problems.append(f"only {disk.free_mb:.0f} MB are free at {disk.path}; set TRIPTYCH_HOME to a larger disk")
    if not os.access(disk.path, os.W_OK):
        problems.append(f"{disk.path} cannot be written; set TRIPTYCH_HOME to a folder that can")
    problems += [f"plugin {info.name!r}: {info.error}" for info in default_host().plugins() if info.error]
    return problems
