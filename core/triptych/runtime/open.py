"""The session of a bundle: the variant that its ledger chose, or the torch model that it was made from."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import cast

from triptych.errors import BundleError
from triptych.host import Host
from triptych.runtime.base import Session, SpaceSession
from triptych.runtime.cascade import CASCADE, Cascade, CascadeSettings
from triptych.runtime.exported import RUNTIME, ExportedModel

VARIANTS = "variants"  # directory in a bundle
TORCH = "torch"  # how a cascade calls the bundle's torch model


def open_session(bundle: Path, chosen: str, host: Host, device: str = "auto", *, threads: int = 0) -> Session:
    """Open what answers in a bundle whose hashes were checked: `chosen` is a row of its ledger.

    A variant that was exported has a directory of its own and answers without torch; any other name is the torch
    model. `threads` is how many cores one call of an exported model may use. Raises `BundleError` for what cannot be
    read, `ConfigError` for a device that is not there or not served.
    """
    directory = variant_path(bundle, chosen)
    if not chosen or not directory.is_dir():
        return _open_torch(bundle, chosen, host, device)
    if not (directory / CASCADE).is_file():
        return ExportedModel.load(directory, host, device=device, threads=threads)
    settings = CascadeSettings.read(directory)
    stages = [
        functools.partial(_open_torch, bundle, stage, host, device)
        if stage == TORCH
        else functools.partial(_open_stage, bundle, stage, host, device, threads)
        for stage in settings.stages
    ]
    return Cascade(chosen, stages, settings.thresholds)


def open_space(bundle: Path, chosen: str, host: Host, device: str = "auto", *, threads: int = 0) -> SpaceSession:
    """The session of `variant_with_one_space`. Raises what `open_session` raises."""
    session = open_session(bundle, variant_with_one_space(bundle, chosen), host, device, threads=threads)
    return cast("SpaceSession", session)


def variant_with_one_space(bundle: Path, chosen: str) -> str:
    """`chosen` itself; of a cascade, whose models have spaces of their own, its last and most careful stage."""
    directory = variant_path(bundle, chosen)
    return CascadeSettings.read(directory).stages[-1] if (directory / CASCADE).is_file() else chosen


def needs_torch(bundle: Path, variant: str) -> bool:
    """Whether a variant, or a stage of a cascade, is the torch model of the bundle."""
    directory = variant_path(bundle, variant)
    if not (directory / CASCADE).is_file():
        return not directory.is_dir()
    return TORCH in CascadeSettings.read(directory).stages


def variant_path(bundle: Path, variant: str) -> Path:
    """Where a variant lies in a bundle, if it was exported; its scope and index directories lie there too."""
    return bundle / VARIANTS / variant_directory(variant)


def variant_directory(name: str) -> str:
    """The directory name of a variant: "static:256" to "static-256"."""
    safe = re.sub(r"[^A-Za-z0-9._+-]", "-", name)
    return safe if safe.strip(".") else safe.replace(".", "-")  # "." and ".." are other directories


def _open_stage(bundle: Path, stage: str, host: Host, device: str, threads: int) -> Session:
    directory = variant_path(bundle, stage)
    if not (directory / RUNTIME).is_file():
        raise BundleError(f"a cascade names the stage {stage!r}, and {directory} is not there; build the bundle again")
    return ExportedModel.load(directory, host, device=device, threads=threads)


def _open_torch(bundle: Path, variant: str, host: Host, device: str) -> Session:
    from triptych.device import choose_device  # late: this is what brings torch
    from triptych.runtime.torch_session import TorchSession

    return TorchSession.load(bundle, host, choose_device(device), variant=variant)
