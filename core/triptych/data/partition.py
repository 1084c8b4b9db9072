"""Dividing samples into train, validation and test: stratified, by group, by time.

Works on units: lists of samples that must stay together (the same content, the same group). All functions are
deterministic in their input and the random generator.
"""

from __future__ import annotations

import bisect
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from triptych.data.columns import parse_time
from triptych.errors import DataError
from triptych.types import Sample

Unit = list[Sample]
Parts = dict[str, list[Sample]]
Shares = Mapping[str, float]  # of the splits other than train, as {"test": 0.2, "validation": 0.15}

_BINS = 10  # of a number that is to be spread evenly
_UNITS_IN_BIN = 5


def units_of(samples: Sequence[Sample], *keys: Callable[[Sample], str | None]) -> list[Unit]:
    """Samples that share any key (None is shared with nobody), joined through others where need be."""
    parent = list(range(len(samples)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for key in keys:
        first: dict[str, int] = {}
        for i, sample in enumerate(samples):
            value = key(sample)
            if value is not None:
                parent[root(i)] = root(first.setdefault(value, i))
    units: dict[int, Unit] = {}
    for i, sample in enumerate(samples):
        units.setdefault(root(i), []).append(sample)
    return list(units.values())


def stratified(units: Sequence[Unit], shares: Shares, rng: random.Random) -> Parts:
    """Each label in the same proportion everywhere, as far as whole units go, and at least once in train.

    A number is spread by its quantiles; a set of labels counts as its rarest one. Raises `DataError` when a split
    would stay empty.
    """
    strata: dict[str, list[Unit]] = {}
    for unit, name in zip(units, _strata(units), strict=True):
        strata.setdefault(name, []).append(unit)
    left = {name: len(members) - 1 for name, members in strata.items()}  # one stays for train
    takes = {split: _quotas(strata, share, left, rng) for split, share in shares.items()}
    chosen: dict[str, list[Unit]] = {"train": [], **{split: [] for split in shares}}
    for name, members in strata.items():
        rng.shuffle(members)
        start = 0
        for split, take in takes.items():
            chosen[split] += members[start : start + take[name]]
            start += take[name]
        chosen["train"] += members[start:]
    return _finished(chosen, len(units))


def grouped(units: Sequence[Unit], shares: Shares, rng: random.Random) -> Parts:
    """Whole units into the split that still lacks most; every label is in train.

    Raises `DataError` when there are too few units, or when train needs them all.
    """
    chosen: dict[str, list[Unit]] = {"train": [], **{split: [] for split in shares}}
    total = sum(len(unit) for unit in units)
    lacks = {"train": total * (1 - sum(shares.values())), **{split: total * share for split, share in shares.items()}}
    order = list(units)
    rng.shuffle(order)
    order.sort(key=len, reverse=True)  # the small ones last even the sizes out
    for waiting, unit in zip(range(len(order), 0, -1), order, strict=True):
        empty = [split for split, members in chosen.items() if not members]
        among = empty if waiting <= len(empty) else list(chosen)
        split = max(among, key=lacks.__getitem__)
        chosen[split].append(unit)
        lacks[split] -= len(unit)
    return _finished(chosen, len(units))


def by_time(samples: Sequence[Sample], shares: Shares) -> Parts:
    """The latest samples are the test split, those before them validation; equal times are never torn apart.

    Raises `DataError` when there are fewer different times than splits.
    """
    try:
        times = {id(sample): parse_time(sample.metadata["time"]) for sample in samples}
    except (KeyError, ValueError) as error:
        raise DataError(f"a sample has no usable time in its metadata ({error})") from error
    ordered = sorted(samples, key=lambda sample: times[id(sample)])
    counts = Counter(times.values())
    changes = list(accumulate(counts[moment] for moment in sorted(counts)))[:-1]  # where one time ends
    if len(changes) < len(shares):
        raise DataError(f"{len(counts)} different times are too few for {len(shares) + 1} splits; use more data")
    parts: Parts = {}
    end, wanted = len(ordered), float(len(ordered))
    for remaining, (split, share) in zip(range(len(shares), 0, -1), shares.items(), strict=True):
        wanted -= share * len(ordered)
        # the splits still to come need a change of time each below this one
        possible = changes[remaining - 1 : bisect.bisect_left(changes, end)]
        start = min(possible, key=lambda change: abs(change - wanted))
        parts[split], end = ordered[start:end], start
    return {"train": ordered[:end], **parts}


def labels_of(sample: Sample) -> tuple[str, ...]:
    """The labels of a sample; none for a number or where the target is unknown."""
    if isinstance(sample.target, str):
        return (sample.target,)
    return tuple(sample.target) if isinstance(sample.target, tuple) else ()


def _strata(units: Sequence[Unit]) -> list[str]:
    """For each unit the name of its stratum, decided by its first sample."""
    counts = Counter(label for unit in units for label in labels_of(unit[0]))
    numbers = sorted(u[0].target for u in units if isinstance(u[0].target, float))
    bins = max(1, min(_BINS, len(numbers) // _UNITS_IN_BIN))
    edges = [numbers[len(numbers) * i // bins] for i in range(1, bins)]
    names = []
    for unit in units:
        target = unit[0].target
        if isinstance(target, float):
            names.append(f"bin {bisect.bisect_right(edges, target)}")
        else:
            names.append(min(labels_of(unit[0]), key=lambda label: (counts[label], label), default=""))
    return names


def _quotas(strata: Mapping[str, list[Unit]], share: float, left: dict[str, int], rng: random.Random) -> dict[str, int]:
    """How many units one split takes from each stratum: rounded down, then up by the largest remainder.

    So the total is right even when every stratum has three members. Takes from `left`.
    """
    exact = {name: share * len(members) for name, members in strata.items()}
    take = {name: min(math.floor(value), left[name]) for name, value in exact.items()}
    missing = max(1, round(sum(exact.values()))) - sum(take.values())
    order = list(strata)
    rng.shuffle(order)  # among equal remainders, chance decides
    order.sort(key=lambda name: take[name] - exact[name])
    for name in order:
        if missing > 0 and take[name] < left[name]:
            take[name] += 1
            missing -= 1
    for name, count in take.items():
        left[name] -= count
    return take


def _finished(chosen: dict[str, list[Unit]], total: int) -> Parts:
    """Units to samples, once every label is in train. Raises `DataError` when a split stays empty."""
    for label in sorted(_labels(u for units in chosen.values() for u in units) - _labels(chosen["train"])):
        holders = [
            (split, unit)
            for split, units in chosen.items()
            for unit in units
            if split != "train" and any(label in labels_of(sample) for sample in unit)
        ]
        if label not in _labels(chosen["train"]):  # a unit moved before may have brought it along
            split, smallest = min(holders, key=lambda holder: len(holder[1]))
            chosen[split] = [unit for unit in chosen[split] if unit is not smallest]
            chosen["train"].append(smallest)
    for split, units in chosen.items():
        if not units:
            reason = f"the {split} split stays empty: {total} samples (or groups) that differ are too few"
            raise DataError(f"{reason}, for train needs every label once; add data or give a validation and test file")
    return {split: [sample for unit in units for sample in unit] for split, units in chosen.items()}


def _labels(units: Iterable[Unit]) -> set[str]:
    return {label for unit in units for sample in unit for label in labels_of(sample)}
