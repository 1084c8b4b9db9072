"""The build: from a vertical and a config to a bundle on disk.

Each step is a function of its inputs and writes only into the run's own workspace, which is found again by the
fingerprint of config, data and versions: a run that was killed is continued by the same command. The bundle that is
in service is replaced in one step at the very end, and not before.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.bundle import WORK, BundleWriter, bundles_home, check_output
from triptych.compression.chains import check_chains
from triptych.config import Config, check_section
from triptych.data.sources import Dataset, load_dataset
from triptych.host import Host, default_host
from triptych.predictor import Predictor
from triptych.report import write_report
from triptych.steps import TARGET_KIND, Build, training_table
from triptych.tuning.base import Progress


@dataclass(frozen=True, slots=True)
class RunResult:
    """What `run` leaves: `bundle` is the path to load, the rest is what the report says."""

    bundle: Path
    metrics: dict[str, Any]
    chosen: str
    ledger: dict[str, Any]
    seconds: float
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The result as `triptych run --json` prints it."""
        return {**dataclasses.asdict(self), "bundle": str(self.bundle)}


def run(
    vertical_name: str,
    config: Config,
    *,
    output: str | Path | None = None,
    host: Host | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> RunResult:
    """Build a bundle for a vertical and put it in service at `output` (by default under `TRIPTYCH_HOME`).

    Raises `ConfigError`, `DataError`, `MissingError` or `PluginError`; whatever happens, the bundle that was at
    `output` before stays as it was until the new one is complete.
    """
    started = time.perf_counter()
    host = host or default_host()
    vertical = host.vertical(vertical_name)
    settings = check_section(vertical.settings_type, config.vertical, "vertical.")
    host.part("strategy", config.training.strategy)  # a wrong name should not cost a minute
    check_chains(config.compression.chains, host)
    output = Path(output) if output is not None else bundles_home() / vertical.name
    check_output(output)
    build = Build(vertical, settings, config, host, progress)
    build.read_data()
    workspace = output / WORK / build.fingerprint
    with BundleWriter(output, workspace) as writer:
        build.prepare_model()
        build.tune(writer.workspace)
        build.calibrate()
        build.evaluate()
        build.write(writer.path)
        build.economise(writer.path, writer.workspace)
        build.extend(writer.path, writer.workspace)
        finish(build, writer)
    return result_of(build, output, time.perf_counter() - started)


def finish(build: Build, writer: BundleWriter) -> None:
    """Manifest and report, and the bundle is put into service."""
    manifest = build.manifest()
    write_report(writer.path, manifest, build.warnings, build.skipped)
    writer.commit(manifest)


def result_of(build: Build, output: Path, seconds: float) -> RunResult:
    """What a finished build has to say."""
    return RunResult(
        bundle=output,
        metrics=build.metrics,
        chosen=build.ledger.chosen,
        ledger=build.ledger.to_json(),
        seconds=round(seconds, 2),
        warnings=build.warnings,
    )


def evaluate(predictor: Predictor, path: str) -> tuple[dict[str, Any], Dataset]:
    """Metrics of a loaded bundle on a labelled file, read with the columns the bundle was trained with."""
    config = Config.model_validate(predictor.bundle.manifest.config)
    kind = TARGET_KIND[predictor.session.kind]
    # the file is evaluated whole: what served to split the training data need not be in it
    columns = config.data.columns.model_copy(update={"group": None, "time": None, "split": None})
    with tempfile.TemporaryDirectory(prefix="triptych-") as directory:
        table = training_table(predictor.vertical, predictor.settings, path, Path(directory))
        dataset = load_dataset(config.data.model_copy(update={"columns": columns}), table, kind=kind)
        return predictor.evaluate(dataset.samples), dataset
