"""Train, validation and test, with no example in two of them."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.config import DataConfig
from triptych.data.columns import TargetKind
from triptych.data.media import content_digest
from triptych.data.partition import Parts, Shares, by_time, grouped, labels_of, stratified, units_of
from triptych.data.sources import Dataset, load_dataset
from triptych.data.tables import first_few
from triptych.errors import ConfigError, DataError
from triptych.types import Sample

Digest = Callable[[Sample], str]
NAMES = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Three disjoint lists of samples; `warnings` says what was left out of them, and what looks wrong."""

    train: list[Sample]
    validation: list[Sample]
    test: list[Sample]
    warnings: tuple[str, ...] = ()

    def items(self) -> Iterator[tuple[str, list[Sample]]]:
        """Name and samples of each split."""
        yield from zip(NAMES, (self.train, self.validation, self.test), strict=True)


def split_samples(samples: Sequence[Sample], config: DataConfig, *, seed: int) -> Splits:
    """Divide samples as `config` says; the same samples and seed give the same splits.

    | config | splits |
    | --- | --- |
    | `columns.split` | as the column says; a split that it does not name is taken from train as below |
    | `split = "stratified"` | each label in proportion, and at least once in train |
    | `columns.group` | as above, and whole groups only (also asked for by `split = "group"`) |
    | `split = "time"` | the latest samples are test, those before them validation |

    Samples with the same content stay together. Where the column or the time forces them apart, they are left out of
    train (or of validation, where test has them), and `Splits.warnings` counts them.
    Raises `DataError` when a split would stay empty, and `ConfigError` for settings that cannot both hold.
    """
    parts: Parts = {}
    for sample in samples:
        parts.setdefault(_given(sample) if config.columns.split is not None else "train", []).append(sample)
    return _completed(parts, config, seed)


def load_splits(
    config: DataConfig,
    path: str | Path | None = None,
    *,
    kind: TargetKind = "label",
    seed: int,
    require_target: bool = True,
) -> tuple[Splits, list[Dataset]]:
    """Read `path` (by default `config.path`), `validation_path` and `test_path`, and divide what is not given apart.

    The data sets come in the order read, for their reports. Where the ids are mere row numbers, those of the
    validation and test files are written "validation:1". Raises what `load_dataset` and `split_samples` raise.
    """
    first = load_dataset(config, path, kind=kind, require_target=require_target)
    datasets = [first]
    parts: Parts = {}
    for sample in first.samples:
        parts.setdefault(_given(sample) if first.given_split else "train", []).append(sample)
    whole = config.model_copy(update={"columns": config.columns.model_copy(update={"split": None})})
    for name, extra_path in (("validation", config.validation_path), ("test", config.test_path)):
        if extra_path is not None:
            extra = load_dataset(whole, extra_path, kind=kind, require_target=require_target)
            datasets.append(extra)
            prefix = "" if config.columns.id else f"{name}:"
            parts.setdefault(name, []).extend(s.replace(id=prefix + s.id) for s in extra.samples)
    return _completed(parts, config, seed), datasets


def check_disjoint(splits: Splits) -> None:
    """Raise `DataError` when an id or the content of a sample stands in two splits (or an id twice in one)."""
    _check_disjoint(splits, content_digest)


def _check_disjoint(splits: Splits, digest: Digest) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for split, samples in splits.items():
        ids = Counter(sample.id for sample in samples)
        for sample in samples:
            for key, what in ((f"id {sample.id}", "the id"), (digest(sample), "the content")):
                other, other_id = seen.setdefault(key, (split, sample.id))
                if other != split or ids[sample.id] > 1:
                    reason = f"{what} of sample {sample.id!r} in {split} stands also in {other} (sample {other_id!r})"
                    raise DataError(f"{reason}; give every sample its own id and keep the splits apart")


def _completed(parts: Parts, config: DataConfig, seed: int) -> Splits:
    """Drop what stands in two given splits, take missing splits from train, and look at the result."""
    if not parts.get("train"):
        raise DataError("no sample is in the train split")
    digest = functools.cache(content_digest)  # samples are compared by identity, and never change
    _check_ids(parts, digest)
    parts, warnings = _without_duplicates(parts, digest)
    wanted = {"test": config.test, "validation": config.validation}
    shares = {name: share for name, share in wanted.items() if name not in parts}
    if shares:
        parts |= _carved(parts["train"], config, shares, random.Random(seed), digest)
        parts, more = _without_duplicates(parts, digest)  # only time can have torn equal contents apart
        warnings += more
    for name in NAMES:
        if not parts.get(name):
            raise DataError(f"the {name} split is empty: every sample in it stands in another split as well")
    if config.columns.group is not None:
        warnings += _across_groups(parts)
    warnings += _unseen(parts)
    splits = Splits(parts["train"], parts["validation"], parts["test"], tuple(warnings))
    _check_disjoint(splits, digest)
    return splits


def _carved(train: list[Sample], config: DataConfig, shares: Shares, rng: random.Random, digest: Digest) -> Parts:
    """Train and the splits named in `shares`, from one list, each in the order of that list (of time)."""
    if sum(shares.values()) >= 1:
        raise ConfigError("data.validation and data.test leave nothing for training; make them smaller")
    if config.split == "time":
        if config.columns.time is None:
            raise ConfigError("data.split = 'time' needs data.columns.time: the column with the time of each sample")
        if config.columns.group is not None:
            raise ConfigError("data.split = 'time' tears groups apart; leave out data.columns.group or split by group")
        return by_time(train, shares)
    if config.columns.group is not None:
        parts = grouped(units_of(train, _group, digest), shares, rng)
    elif config.split == "group":
        raise ConfigError("data.split = 'group' needs data.columns.group: the column that names the group of a sample")
    else:
        parts = stratified(units_of(train, digest), shares, rng)
    place = {id(sample): i for i, sample in enumerate(train)}
    return {name: sorted(samples, key=lambda s: place[id(s)]) for name, samples in parts.items()}


def _given(sample: Sample) -> str:
    name = sample.metadata.get("split")
    if name not in NAMES:
        raise DataError(f"sample {sample.id!r} says split {name!r}, which is none of {', '.join(NAMES)}")
    return str(name)


def _group(sample: Sample) -> str | None:
    group = sample.metadata.get("group")
    return None if group is None else str(group)


def _check_ids(parts: Parts, digest: Digest) -> None:
    """The same id for different contents is a mistake in the ids, not a duplicate."""
    seen: dict[str, tuple[str, Sample]] = {}
    for name, samples in parts.items():
        for sample in samples:
            other, first = seen.setdefault(sample.id, (name, sample))
            if first is not sample and (other == name or digest(first) != digest(sample)):
                reason = f"the id {sample.id!r} stands in {other} and in {name} for different samples"
                raise DataError(f"{reason}; make the ids unique, or leave out data.columns.id to count rows instead")


def _without_duplicates(parts: Parts, digest: Digest) -> tuple[Parts, list[str]]:
    """Samples whose content stands in test as well leave validation and train; likewise validation and train."""
    kept = dict(parts)
    taken: dict[str, str] = {}  # content to the split that keeps it
    warnings = []
    for name in reversed(NAMES):
        if name not in parts:
            continue
        also_in = Counter(taken[digest(s)] for s in parts[name] if digest(s) in taken)
        if also_in:
            kept[name] = [s for s in parts[name] if digest(s) not in taken]
            where = " and ".join(f"{other} ({count})" for other, count in sorted(also_in.items()))
            number = f"{also_in.total()} of {len(parts[name])}"
            warnings.append(f"{number} {name} samples were left out: the same content stands in {where}")
        for sample in parts[name]:
            taken.setdefault(digest(sample), name)
    return kept, warnings


def _across_groups(parts: Parts) -> list[str]:
    """Groups that given splits tear apart."""
    homes: dict[str, set[str]] = {}
    for name, samples in parts.items():
        for sample in samples:
            group = _group(sample)
            if group is not None:
                homes.setdefault(group, set()).add(name)
    torn = sorted(group for group, names in homes.items() if len(names) > 1)
    return [f"{len(torn)} groups stand in more than one split: {first_few(torn)}"] if torn else []


def _unseen(parts: Parts) -> list[str]:
    """Labels that are tested but never trained."""
    trained = {label for sample in parts["train"] for label in labels_of(sample)}
    warnings = []
    for name in NAMES[1:]:
        unseen = Counter(label for sample in parts[name] for label in labels_of(sample) if label not in trained)
        if unseen:
            warnings.append(
                f"{unseen.total()} {name} samples have labels that train lacks: {first_few(sorted(unseen))}"
            )
    return warnings
