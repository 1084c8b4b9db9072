"""Samples that reviewers labelled in service: they are learnt from, and never measure anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.config import Columns, DataConfig
from triptych.data.media import content_digest
from triptych.data.sources import Dataset, load_dataset
from triptych.types import Sample

COLUMNS = ("id", "text", "image", "audio", "label", "verdict", "version")
"""Of the table at `data.reviewed_path`. Media are bytes or paths; `version` is that of the bundle that answered."""


@dataclass(frozen=True, slots=True, eq=False)
class Reviewed:
    """What is added to the training samples, and what the manifest says of it."""

    samples: list[Sample]
    dataset: Dataset
    counts: dict[str, Any]


def read_reviewed(config: DataConfig, splits: Mapping[str, Sequence[Sample]]) -> Reviewed:
    """The samples at `config.reviewed_path` that may be learnt from, each content once, with its latest label.

    Left out is what stands in validation or test, by the whole content or by the same words, and what train has with
    the same label already. Raises what `load_dataset` raises.
    """
    columns = Columns(id="id", target="label")
    plain = config.model_copy(update={"columns": columns, "format": "auto"})
    dataset = load_dataset(plain, config.reviewed_path)
    held_out = [sample for name, part in splits.items() if name != "train" for sample in part]
    contents, texts = {content_digest(s) for s in held_out}, {t for s in held_out if (t := _words(s))}
    trained = {(content_digest(s), s.target) for s in splits["train"]}
    kept: dict[str, Sample] = {}
    left_out: Counter[str] = Counter()
    for sample in dataset.samples:  # the latest verdict comes last
        digest = content_digest(sample)
        if digest in contents or _words(sample) in texts:
            left_out["in validation or test"] += 1
        elif (digest, sample.target) in trained:
            left_out["in train already"] += 1
        else:
            left_out["reviewed again"] += digest in kept
            kept[digest] = sample
    samples = list(kept.values())
    counts = {
        "samples": len(samples),
        "left_out": {reason: count for reason, count in left_out.items() if count},
        "verdicts": dict(Counter(str(s.metadata.get("verdict")) for s in samples)),
        "versions": dict(Counter(str(s.metadata.get("version")) for s in samples)),
    }
    return Reviewed(samples, dataset, counts)


def _words(sample: Sample) -> str | None:
    """The text as it is compared: no matter how it is spaced and capitalised."""
    return " ".join(sample.text.casefold().split()) or None if isinstance(sample.text, str) else None
