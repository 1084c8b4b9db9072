"""From the words of a command line to an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from triptych.config import check_section, parse_value
from triptych.errors import ConfigError
from triptych_recommendation.data.times import microseconds_of
from triptych_recommendation.experiments.assignment import Experiment, Kind, new_experiment
from triptych_recommendation.serving.settings import RuleSettings


def planned(
    name: str,
    variants: Sequence[str],
    changed: Sequence[str],
    kind: Kind,
    salt: str | None,
    serving: RuleSettings,
) -> Experiment:
    """An experiment that starts now, from variants as "new=0.5" and what they set anew as "new.diversity=0.3".

    Raises `ConfigError` for what cannot be read, variants that cannot be, and settings that there are not.
    """
    shares = shares_of(variants)
    changes = _changes(changed)
    now = microseconds_of(datetime.now(UTC))
    found = new_experiment(name, shares, now, kind=kind, salt=salt, changes=changes)
    for variant, values in found.variants.items():
        check_section(RuleSettings, {**serving.model_dump(), **values}, f"{variant}.")
    return found


def shares_of(variants: Sequence[str]) -> dict[str, float]:
    """Shares by variant from words as "new=0.5". Raises `ConfigError` for what cannot be read."""
    shares: dict[str, float] = {}
    for given in variants:
        name, separator, value = given.rpartition("=")
        share = parse_value(value.strip())
        if not separator or isinstance(share, bool) or not isinstance(share, int | float):
            raise ConfigError(f"--variant {given!r} is not of the form NAME=SHARE, as new=0.5")
        if name.strip() in shares:
            raise ConfigError(f"--variant: {name.strip()!r} is given twice")
        shares[name.strip()] = float(share)
    return shares


def _changes(changed: Sequence[str]) -> dict[str, dict[str, Any]]:
    changes: dict[str, dict[str, Any]] = {}
    for given in changed:
        key, separator, value = given.partition("=")
        variant, dot, name = key.strip().rpartition(".")
        if not (separator and dot and variant and name):
            raise ConfigError(f"--change {given!r} is not of the form NAME.KEY=VALUE, as new.diversity=0.3")
        changes.setdefault(variant, {})[name] = parse_value(value.strip())
    return changes
