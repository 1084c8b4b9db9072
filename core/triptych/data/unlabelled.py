"""Samples without a label, which a compressed model learns its teacher's answers on (a transfer set)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from triptych.config import DataConfig
from triptych.data.media import content_digest
from triptych.data.sources import SkippedRow, load_dataset
from triptych.types import Sample


def read_unlabelled(config: DataConfig, paths: Sequence[str | Path]) -> tuple[list[Sample], list[SkippedRow]]:
    """The samples of files and folders read as `config` says, each content once, and the rows that were left out.

    Only the columns of the modalities count: what says a target, an id, a group, a time or a split need not be there
    and is not looked at. Every `target` is None. Raises what `load_dataset` raises.
    """
    free = {"id": None, "target": None, "group": None, "time": None, "split": None}
    plain = config.model_copy(update={"columns": config.columns.model_copy(update=free)})
    samples: dict[str, Sample] = {}
    skipped: list[SkippedRow] = []
    for number, path in enumerate(paths, start=1):
        dataset = load_dataset(plain, path, require_target=False)
        skipped += dataset.skipped
        for sample in dataset.samples:
            found = sample.replace(id=f"unlabelled-{number}:{sample.id}", target=None)
            samples.setdefault(content_digest(found), found)
    return list(samples.values()), skipped


def apart_from(samples: Iterable[Sample], held_out: Iterable[Sample]) -> list[Sample]:
    """Those whose content stands in none of `held_out`: what judges a model must be new to it, labelled or not."""
    known = {content_digest(sample) for sample in held_out}
    return [sample for sample in samples if content_digest(sample) not in known]
