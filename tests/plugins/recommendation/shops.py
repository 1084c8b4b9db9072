"""A shop made up of chance: users who are shown lists in an experiment, and choose from them or not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np

from triptych_recommendation.catalogue.schema import ExposureRow, OutcomeRow
from triptych_recommendation.data.times import microseconds_of
from triptych_recommendation.experiments.assignment import Experiment

START = datetime(2026, 3, 1, tzinfo=UTC)
AFTER = START + timedelta(days=60)
_DAY = 86_400_000_000
Rows = tuple[list[ExposureRow], list[OutcomeRow]]


def shop(
    experiment: Experiment,
    users: int,
    clicks: Mapping[str, float],
    *,
    seed: int,
    buys: Mapping[str, float] | None = None,
    days: float = 30,
    spread: float = 0.05,
) -> Rows:
    """Lists and outcomes of users who come over some days; one to five lists each, in their first five days.

    `clicks` is the chance of a click by variant, which differs between users by `spread`; `buys` that of a purchase
    after a click.
    """
    generator = np.random.default_rng(seed)
    lists: list[ExposureRow] = []
    outcomes: list[OutcomeRow] = []
    first = np.sort(generator.random(users)) * days * _DAY + microseconds_of(START)
    for number in range(users):
        user = f"user {seed} {number}"
        variant = experiment.variant(user)
        if variant is None:
            continue
        own = np.clip(clicks[variant] + generator.normal(0, spread), 0, 1)
        times = np.sort(generator.random(generator.integers(1, 6))) * 5 * _DAY
        for place, time in enumerate((first[number] + times - times[0]).astype(int).tolist()):
            row = ExposureRow(f"{user} {place}", time, user, ("a", "b"), "blend", experiment.name, variant)
            lists.append(row)
            if generator.random() < own:
                outcomes.append(OutcomeRow(row.id, "a", "click", time + 1_000_000))
                if generator.random() < (buys or {}).get(variant, 0.2):
                    outcomes.append(OutcomeRow(row.id, "a", "purchase", time + 2_000_000, 3.0))
    return lists, outcomes
