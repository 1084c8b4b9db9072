"""A bundle that was built before, searched again for something cheaper: under other limits, or with more time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from triptych.bundle import WORK, Bundle, BundleWriter, open_bundle, resolve_bundle, verdicts_home
from triptych.compression.chains import check_chains
from triptych.config import CompressionConfig, Config, check_section
from triptych.errors import BudgetError, BundleError, ConfigError, DataError
from triptych.host import Host, default_host
from triptych.pipeline import RunResult, finish, result_of
from triptych.runtime.torch_session import MODEL
from triptych.steps import Build
from triptych.tuning.base import Progress


def compress(
    path: str | Path,
    settings: CompressionConfig,
    *,
    data: str | None = None,
    device: str | None = None,
    prices: str | None = None,
    host: Host | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> RunResult:
    """Put the cheapest variant of a bundle that holds the limits of `settings` into service.

    The search starts from the trained model, whatever was chosen before. It needs the very data that the bundle was
    built from, so that what is held out stays held out: the vertical's own sample is found again, other data has to be
    given. Raises `BudgetError` where no variant holds the limits, `DataError` for data that is missing or not the
    same, `BundleError` for a bundle without a trained model, `ConfigError` where the prices of the build are missing;
    then the bundle is as it was. A search that was stopped goes on where it was when it is started again.
    """
    started = time.perf_counter()
    host = host or default_host()
    check_chains(settings.chains, host)
    output = resolve_bundle(path)
    bundle = open_bundle(output)
    if not (bundle.path / MODEL).is_dir():
        raise BundleError(
            f"{output} holds no trained model, only what was compressed from it; compress the bundle it came from"
        )
    if bundle.path == Path(output):
        raise BundleError(f"{output} is one version of a bundle; give the bundle that holds it")
    config = _config(bundle, settings, data, device, prices)
    vertical = host.vertical(bundle.manifest.vertical)
    build = Build(vertical, check_section(vertical.settings_type, config.vertical, "vertical."), config, host, progress)
    build.read_data()
    _check_same_data(bundle, build)
    workspace = Path(output) / WORK / f"compress-{build.fingerprint}"
    with BundleWriter(output, workspace) as writer:
        build.adopt(bundle, workspace)
        build.calibrate()
        build.evaluate()
        build.write(writer.path)
        build.economise(writer.path, workspace)
        if build.ledger.nearest_miss:
            raise BudgetError(build.ledger.nearest_miss)
        build.extend(writer.path, workspace)
        finish(build, writer)
    return result_of(build, Path(output), time.perf_counter() - started)


def _config(
    bundle: Bundle, settings: CompressionConfig, data: str | None, device: str | None, prices: str | None
) -> Config:
    """The settings that the bundle was built with, the new limits in them; files lie beside the data that is given."""
    content: dict[str, Any] = {**bundle.manifest.config, "compression": settings.model_dump()}
    section = dict(content["data"])
    if section["path"] is None and data is not None:
        raise DataError(f"the bundle was built from the vertical's own sample, not from {data}; leave --data out")
    if section["path"] is not None:
        if data is None:
            raise DataError(
                f"there is no calibration data: a bundle keeps none; give what it was built from ({section['path']}) "
                "with --data"
            )
        section["path"] = data
        for key in ("validation_path", "test_path"):
            if section[key] is not None:
                section[key] = str(Path(data).parent / section[key])
    if section.get("reviewed_path") is not None:
        section["reviewed_path"] = str(verdicts_home() / section["reviewed_path"])
    if prices is None and content["prices"] is not None:
        raise ConfigError(f"the bundle was priced by a file of your own, {content['prices']}; give it with --prices")
    content |= {"data": section, "prices": prices}
    if device is not None:
        content["device"] = device
    return Config.model_validate(content)


def _check_same_data(bundle: Bundle, build: Build) -> None:
    if build.data_fingerprint != bundle.manifest.data.fingerprint:
        raise DataError(
            f"{build.data_path.name} is not the data that {bundle.path.parent.parent} was built from: what was held "
            "out then might have been trained on; give the same files, or build the bundle again"
        )
