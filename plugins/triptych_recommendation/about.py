"""What is noted of a bundle beside the files of serving: which parts of items it reads, and how good it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from triptych.errors import BundleError
from triptych.types import Modality

FILE = "about.json"


@dataclass(frozen=True, slots=True)
class About:
    """`hit_rates`: by the name of a user model, how often one of ten items was what a user of the test chose next."""

    modalities: tuple[Modality, ...]  # that the item encoder reads
    dim: int  # of item vectors; 0: no item has any
    hit_rates: Mapping[str, float]

    def hit_rate(self, policy: str) -> float:
        """That of what made a list; for a query or an item, which were not measured, that of the content model."""
        return self.hit_rates.get(policy, self.hit_rates.get("content", 0.0))

    def write(self, directory: Path) -> None:
        """Write it among the files of the vertical."""
        (directory / FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read_about(directory: Path) -> About:
    """What `About.write` wrote. Raises `BundleError` where it is missing or damaged."""
    path = directory / FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        rates = {str(name): float(rate) for name, rate in values["hit_rates"].items()}
        return About(cast("tuple[Modality, ...]", tuple(values["modalities"])), int(values["dim"]), rates)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is missing or damaged ({error!r}); build the bundle again") from error
