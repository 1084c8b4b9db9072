"""The steps of a build, and what one leaves to the next.

Each is a function of its inputs and writes only into the run's own workspace.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import triptych
from triptych.bundle import Bundle, DataSummary, Manifest, bundles_home
from triptych.compression.budget import Budget
from triptych.compression.measure import size_mb
from triptych.compression.prices import Prices
from triptych.config import Config, DataConfig
from triptych.data.checks import check_targets
from triptych.data.columns import TargetKind
from triptych.data.hub import PREFIX
from triptych.data.partition import labels_of
from triptych.data.reviewed import read_reviewed
from triptych.data.sources import Dataset
from triptych.data.splits import load_splits
from triptych.data.unlabelled import apart_from, read_unlabelled
from triptych.device import choose_device, seed_everything
from triptych.economy import economise
from triptych.encoders.base import Encoder
from triptych.errors import ConfigError, DataError
from triptych.evaluation.calibration import fit_temperatures
from triptych.evaluation.judge import judge
from triptych.evaluation.scope import ScopeDetector
from triptych.evaluation.subsets import subset_table
from triptych.finalist import Trained, fit_scope
from triptych.host import Host
from triptych.indexing import EXTENSION, write_documents, write_examples
from triptych.models.build import build_model, create_encoder, load_model
from triptych.models.multimodal import Features
from triptych.runtime.base import answers_of, embeddings_of
from triptych.runtime.open import open_space
from triptych.runtime.torch_session import MODEL, SCOPE, TorchSession, encoded_of
from triptych.tuning.base import Progress, TuningContext, TuningReport
from triptych.tuning.cache import FeatureCache
from triptych.types import Modality, Sample, Task
from triptych.vertical import Extension, Vertical

EMBEDDED = "embedded synthetic sample"
TARGET_KIND: dict[str, TargetKind] = {
    "classification": "label",
    "multilabel": "labels",
    "regression": "number",
    "embedding": "label",
}


def training_table(vertical: Vertical[Any, Any], settings: Any, path: str, directory: Path) -> str:
    """Where the samples are that the vertical makes of the data at `path`; those of the hub are taken as they are."""
    return path if path.startswith(PREFIX) else str(vertical.training_data(settings, Path(path), directory))


class Build:
    """The state of one run between its steps."""

    def __init__(
        self,
        vertical: Vertical[Any, Any],
        settings: Any,
        config: Config,
        host: Host,
        progress: Callable[[Progress], None],
    ) -> None:
        self.vertical, self.settings, self.config, self.host = vertical, settings, config, host
        self.progress = progress
        self.plan = choose_device(config.device)
        self.task: Task = vertical.task(settings)
        self.prices = Prices.load(config.prices)  # a wrong file is refused before anything is trained
        self.warnings: list[str] = []
        self.skipped: list[Any] = []
        self.metrics: dict[str, Any] = {}

    # -- data -------------------------------------------------------------------------------------------------

    def read_data(self) -> None:
        """Read, split, check; samples outside every label are kept apart from those the classifier learns."""
        self.progress(Progress("data", 0, 1, "reading"))
        data = self.config.data
        self.is_sample = data.path is None
        if self.is_sample:
            path = self.vertical.sample_data(bundles_home().parent / "samples")
            columns = data.columns.model_copy(update=dict(self.vertical.sample_columns))
            data = data.model_copy(update={"path": str(path), "columns": columns})
        self.data_path = Path(str(data.path))
        self._prepared = tempfile.TemporaryDirectory(prefix="triptych-")  # removed with the build
        table = training_table(self.vertical, self.settings, str(data.path), Path(self._prepared.name))
        data = data.model_copy(update={"path": table})
        # a knowledge base that cannot be read should not cost the training
        self.documents = list(self.vertical.documents(self.settings, self.data_path))
        kind = TARGET_KIND[self.task.kind]
        splits, datasets = load_splits(data, kind=kind, seed=self.config.seed)
        self.skipped = [row for dataset in datasets for row in dataset.skipped]
        self.warnings += splits.warnings
        if self.skipped:
            self.warnings.append(
                f"{len(self.skipped)} row(s) could not be read and were skipped; the report lists them"
            )
        outside, everything = self.task.out_of_scope, dict(splits.items())
        self._add_reviewed(everything, datasets)
        samples = [s for part in everything.values() for s in part]
        self.warnings += check_targets(samples, kind, labels=self.task.labels, out_of_scope=outside)
        self.inside = {name: [s for s in part if s.target != outside] for name, part in everything.items()}
        self.outside = {name: [s for s in part if s.target == outside] for name, part in everything.items()}
        self._leave_unknown_labels_out()
        self._require_every_split()
        self.unlabelled = self._unlabelled(data)
        self.data_fingerprint = hashlib.sha256("".join(d.fingerprint for d in datasets).encode()).hexdigest()
        versions = f"{self.vertical.name} {self.vertical.version} {triptych.__version__} {torch.__version__}"
        source = f"{versions} {self.data_fingerprint} {self.config.fingerprint_source()}"
        self.fingerprint = hashlib.sha256(source.encode()).hexdigest()[:16]
        self.progress(Progress("data", 1, 1, f"{len(samples)} samples"))

    def _add_reviewed(self, splits: dict[str, list[Sample]], datasets: list[Dataset]) -> None:
        """What reviewers labelled, to the training samples."""
        self.reviewed: dict[str, Any] = {}
        if self.config.data.reviewed_path is None:
            return
        if self.task.kind != "classification":
            raise ConfigError("verdicts are labels, and only a classification learns from one label a sample")
        found = read_reviewed(self.config.data, splits)
        datasets.append(found.dataset)
        self.skipped += found.dataset.skipped
        self.reviewed = found.counts
        splits["train"] = [*splits["train"], *found.samples]

    def _unlabelled(self, data: DataConfig) -> list[Sample]:
        """What a smaller model learns from beside the training split, without anything that is held out."""
        compression = self.config.compression
        if not (compression.enabled and compression.unlabelled):
            return []
        found, skipped = read_unlabelled(data, compression.unlabelled)
        if skipped:
            self.warnings.append(f"{len(skipped)} unlabelled row(s) could not be read and were skipped: {skipped[0]}")
        held_out = [s for parts in (self.inside, self.outside) for n in ("validation", "test") for s in parts[n]]
        kept = apart_from(found, held_out)
        if len(kept) < len(found):
            number = f"{len(found) - len(kept)} of {len(found)}"
            self.warnings.append(f"{number} unlabelled sample(s) were left out: they stand in validation or test")
        return kept

    def _leave_unknown_labels_out(self) -> None:
        """What the training data has no example of cannot be predicted, so it is not asked for; it is counted."""
        if self.task.kind not in ("classification", "multilabel"):
            return
        trained = {label for s in self.inside["train"] for label in labels_of(s)}
        for name in ("validation", "test"):
            part = self.inside[name]
            self.inside[name] = [s for s in part if trained.issuperset(labels_of(s))]
            if len(self.inside[name]) < len(part):
                left = len(part) - len(self.inside[name])
                self.warnings.append(f"{left} {name} sample(s) with labels that train lacks are left out")

    def _require_every_split(self) -> None:
        for name, part in self.inside.items():
            if not part:
                raise DataError(f"no sample is left for the {name} split; give more data or change data.{name}")

    def _enrich(self) -> None:
        total = sum(len(part) for parts in (self.inside, self.outside) for part in parts.values())
        done = 0
        for parts in (self.inside, self.outside):
            for name, part in parts.items():
                enriched = []
                for sample in part:
                    enriched.append(self.vertical.enrich(sample, self.settings))
                    done += 1
                    if done % 50 == 0 or done == total:
                        self.progress(Progress("read media", done, total, "text in pictures and speech"))
                parts[name] = enriched

    # -- model ------------------------------------------------------------------------------------------------

    def prepare_model(self) -> None:
        """Encoders for the modalities that the data has, and an untrained model around them."""
        self.sent_test = self.inside["test"]  # before anything is read out of media
        self._enrich()
        seed_everything(self.config.seed)
        train = self.inside["train"]
        encoders: dict[Modality, Encoder] = {}
        for modality, part in self.config.encoders.items():
            values = [s.value(modality) for s in train if s.value(modality) is not None]
            if not values:
                self.warnings.append(f"no training sample has {modality}: the model will not understand {modality}")
                continue
            encoder = create_encoder(self.host, modality, part)
            if encoder.note:
                self.warnings.append(encoder.note)
            encoder.fit(values)
            encoders[modality] = encoder
        if not encoders:
            raise ConfigError(
                "no encoder is configured for what the data has: set encoders.text.use, encoders.image.use or "
                "encoders.audio.use"
            )
        for parts in (self.inside, self.outside):
            for name, samples in parts.items():
                parts[name] = self._understood(samples, list(encoders), name)
        self._require_every_split()
        self.model = build_model(self.config, self._head(), self.host, encoders)

    def _understood(self, samples: list[Sample], modalities: list[Modality], split: str) -> list[Sample]:
        kept = [s.only(modalities) for s in samples]
        kept = [s for s in kept if s.modalities]
        if len(kept) < len(samples):
            names = ", ".join(modalities)
            self.warnings.append(
                f"{len(samples) - len(kept)} sample(s) of the {split} split have none of {names}: left out"
            )
        return kept

    def _head(self) -> dict[str, Any]:
        if self.task.kind in ("classification", "multilabel"):
            return {"kind": self.task.kind, "labels": self._labels()}
        if self.task.kind == "regression":
            return {"kind": "regression", "names": list(self.task.labels or ("value",))}
        return {"kind": "embedding", "outputs": min(128, self.config.fusion_dim)}

    def _labels(self) -> list[str]:
        seen = {label for sample in self.inside["train"] for label in labels_of(sample)}
        return sorted(seen) if self.task.labels is None else [label for label in self.task.labels if label in seen]

    def tune(self, workspace: Path) -> None:
        """Fine-tune, or take the tuned model that an earlier try of the same run left behind."""
        finished, report = workspace / "tuned", workspace / "tuned" / "report.json"
        self.cache = FeatureCache(workspace / "features")
        if report.is_file():
            self.model = load_model(finished, self.host).to(self.plan.device)
            self.report = TuningReport(**json.loads(report.read_text(encoding="utf-8")))
            self.progress(Progress("tune", 1, 1, "already done by an earlier try"))
            return
        strategy = self.host.load_part("strategy", self.config.training.strategy)()
        context = TuningContext(workspace, self.plan, self.config.seed, self.task, self.progress)
        self.model.to(self.plan.device)
        self.report = strategy.tune(
            self.model, self.inside["train"], self.inside["validation"], self.config.training, context
        )
        self.model.eval()
        aside = workspace / "tuned.part"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        self.model.save(aside)
        (aside / "report.json").write_text(json.dumps(dataclasses.asdict(self.report)), encoding="utf-8")
        aside.rename(finished)

    def adopt(self, bundle: Bundle, workspace: Path) -> None:
        """Take the trained model of a bundle, and its test samples as this run has read them."""
        self.sent_test = self.inside["test"]
        self._enrich()
        self.model = load_model(bundle.path / MODEL, self.host).to(self.plan.device)
        for parts in (self.inside, self.outside):
            for name, samples in parts.items():
                parts[name] = self._understood(samples, list(self.model.modalities), name)
        self._require_every_split()
        self.cache = FeatureCache(workspace / "features")
        training = {k: v for k, v in bundle.manifest.training.items() if k != "device"}
        self.report = TuningReport(**training)

    # -- judgement --------------------------------------------------------------------------------------------

    def calibrate(self) -> None:
        """Encode every split once; temperatures and the scope threshold come from validation data."""
        self.progress(Progress("calibrate", 0, 1, "encoding"))
        self.model.to(self.plan.device).eval()  # a strategy leaves it on the CPU
        self.features = {name: self.cache.features(self.model, part) for name, part in self.inside.items()}
        validation = self.inside["validation"]
        self.scope: ScopeDetector | None = None
        if self.task.kind in ("classification", "multilabel"):
            targets = self.model.head.encode([s.target for s in validation])
            fit_temperatures(self.model, self.features["validation"], targets)
        self.outside_features = self._outside_features()
        self.session = TorchSession(self.model, None, self.plan, variant=self.config.training.strategy)
        if self.task.kind == "classification":
            encoded = {name: encoded_of(features) for name, features in self.features.items()}
            outside = encoded_of(self.outside_features["validation"])
            self.session.scope = self.scope = fit_scope(self.session, encoded, outside, self._trained())
        self.progress(Progress("calibrate", 1, 1, "done"))

    def _outside_features(self) -> dict[str, Features]:
        # the classifier has seen none of them, so those of the training split may serve the threshold as well
        return {
            "validation": self.cache.features(self.model, self.outside["train"] + self.outside["validation"]),
            "test": self.cache.features(self.model, self.outside["test"]),
        }

    def evaluate(self) -> None:
        """Read the test split, once."""
        self.progress(Progress("evaluate", 0, 1, "reading the test split"))
        for name in ("validation", "test"):
            # the detector remembers those of the validation split
            outside = self.outside_features["test"] if self.scope is not None and name == "test" else None
            targets = [s.target for s in self.inside[name]]
            self.metrics[name] = judge(self.model, self.features[name], targets, scope=self.scope, out_of_scope=outside)
        self.metrics["data"] = {
            **{name: len(part) for name, part in self.inside.items()},
            "out_of_scope": sum(map(len, self.outside.values())),
            "skipped": len(self.skipped),
            **({"reviewed": self.reviewed["samples"]} if self.reviewed else {}),
        }
        if self.task.kind == "classification" and len(self.model.modalities) > 1:
            self.metrics["subsets"] = self._subsets()
        self.progress(Progress("evaluate", 1, 1, "done"))

    def _subsets(self) -> dict[str, Any]:
        """What each subset of the modalities is worth, each read and encoded as a request with only that would be."""
        everything = self.model.modalities
        complete = [s for s in self.sent_test if all(s.value(m) is not None for m in everything)]

        def features_of(parts: tuple[Modality, ...]) -> Features:
            samples = [self.vertical.enrich(s.only(parts), self.settings).only(everything) for s in complete]
            return self.cache.features(self.model, samples)

        targets = self.model.head.encode([s.target for s in complete])
        return subset_table(self.model, features_of(everything), targets, features_of)

    def economise(self, directory: Path, workspace: Path) -> None:
        """Look for the cheapest variant that keeps the quality, measure all, and write the chosen one."""
        self.progress(Progress("compress", 0, 1, "measuring what it costs"))
        compression = self.config.compression
        budget = Budget(
            max_drop=compression.max_drop,
            max_p95_ms=compression.max_p95_ms,
            max_mb=compression.max_mb,
            max_cost=compression.max_cost,
        )
        unlabelled = [self.vertical.enrich(sample, self.settings) for sample in self.unlabelled]
        trained = dataclasses.replace(
            self._trained(),
            size_mb=size_mb(directory / MODEL),
            directory=directory / MODEL,
            unlabelled=self._understood(unlabelled, list(self.model.modalities), "unlabelled"),
        )
        economy = economise(trained, budget, compression, self.prices, workspace / "search", self.progress)
        self.ledger = economy.ledger
        if self.ledger.nearest_miss:
            self.warnings.append(f"the budget is not held, so the trained model answers: {self.ledger.nearest_miss}")
        economy.install(directory, trained)
        chosen = economy.options[self.ledger.chosen].judged
        if chosen.name != trained.name:  # what is said of the bundle is said of what answers in it
            self.metrics["trained"] = self.metrics["test"]
            self.metrics |= {"validation": dict(chosen.validation), "test": dict(chosen.standing.metrics)}
        self.progress(Progress("compress", 1, 1, self.ledger.chosen))

    def extend(self, directory: Path, workspace: Path) -> None:
        """Let the vertical put its own files into the bundle, made with the model in service."""
        space = functools.cache(lambda: open_space(directory, self.ledger.chosen, self.host, self.config.device))
        own, scratch = directory / EXTENSION, workspace / EXTENSION
        own.mkdir()
        scratch.mkdir(exist_ok=True)
        found = self.vertical.extend(
            Extension(
                directory=own,
                workspace=scratch,
                data=self.data_path,
                splits=self.inside,
                settings=self.settings,
                seed=self.config.seed,
                encode=lambda samples: answers_of(space(), samples),
                embed=lambda samples: embeddings_of(space(), samples),
                progress=self.progress,
            )
        )
        if found:
            self.metrics["vertical"] = found
        if not any(own.iterdir()):
            own.rmdir()

    def _trained(self) -> Trained:
        return Trained(
            name=self.config.training.strategy,
            host=self.host,
            config=self.config,
            session=self.session,
            inside=self.inside,
            outside=self.outside,
            features=self.features,
            outside_features=self.outside_features,
            metrics=self.metrics.get("test", {}),
            documents=self.documents,
            false_accept_rate=getattr(self.settings, "false_accept_rate", 0.05),
            size_mb=0.0,
            training_cpu_seconds=self.report.cpu_seconds,
        )

    # -- bundle -----------------------------------------------------------------------------------------------

    def write(self, directory: Path) -> None:
        """Model, scope, indexes into the directory that will be the bundle."""
        self.progress(Progress("bundle", 0, 1, "writing"))
        (directory / MODEL).mkdir()
        self.model.save(directory / MODEL)
        if self.scope is not None:
            (directory / SCOPE).mkdir()
            self.scope.save(directory / SCOPE)
        encoded = encoded_of(self.features["train"])
        write_examples(directory, self.inside["train"], self.session, self.config.retrieval, encoded=encoded)
        if self.documents:
            write_documents(directory, self.documents, self.session, self.config.retrieval)

    def manifest(self) -> Manifest:
        """All that the bundle says of itself but the hashes, which the writer adds."""
        return Manifest(
            vertical=self.vertical.name,
            vertical_version=self.vertical.version,
            data=DataSummary(
                source=EMBEDDED if self.is_sample else self.data_path.name,
                fingerprint=self.data_fingerprint,
                counts=self.metrics["data"],
                details={
                    "modalities": list(self.model.modalities),
                    "labels": list(getattr(self.model.head, "labels", ())),
                    "warnings": self.warnings,
                    **({"reviewed": self.reviewed} if self.reviewed else {}),
                },
            ),
            config=self._portable_config(),
            training={**dataclasses.asdict(self.report), "device": self.plan.describe()},
            metrics=self.metrics,
            ledger=self.ledger.to_json(),
        )

    def _portable_config(self) -> dict[str, Any]:
        """The settings, with files by their names: where they lay on this machine is nobody else's business."""
        config = self.config.model_dump(mode="json")
        files = [("data", key) for key in ("path", "validation_path", "test_path", "reviewed_path")]
        for section, key in [*files, ("", "prices")]:
            values = config[section] if section else config
            if values[key] is not None and not values[key].startswith("hub:"):
                values[key] = Path(values[key]).name
        unlabelled = config["compression"]["unlabelled"]
        config["compression"]["unlabelled"] = [p if p.startswith("hub:") else Path(p).name for p in unlabelled]
        return config
