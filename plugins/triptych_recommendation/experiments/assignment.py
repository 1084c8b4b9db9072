"""Which user gets which variant: by hash, so that anybody with the experiment at hand comes to the same answer."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from triptych.errors import ConfigError

BUCKETS = 10_000
"""Shares are kept to a hundredth of a per cent."""
Kind = Literal["ab", "interleaving"]
Run = tuple[str, int]  # a variant ("": outside of the experiment) and how many buckets in a row it has


@dataclass(frozen=True, slots=True)
class Phase:
    """Buckets to variants, from a moment on until the next phase."""

    since: int  # microseconds since 1970
    runs: tuple[Run, ...]

    def shares(self) -> dict[str, float]:
        """The share of all users that each variant gets."""
        counts: dict[str, int] = {}
        for name, count in self.runs:
            counts[name] = counts.get(name, 0) + count
        return {name: count / BUCKETS for name, count in counts.items() if name}


@dataclass(frozen=True, slots=True)
class Experiment:
    """Variants and who gets them. The first variant is the control, which the others are held against.

    A variant is a name and what is set anew for it, keys below `vertical.serving` (and nothing else: both must run on
    one bundle). With `kind` "interleaving" every user who takes part gets a list drafted from both variants.
    """

    name: str
    variants: Mapping[str, Mapping[str, Any]]
    phases: tuple[Phase, ...]
    kind: Kind = "ab"
    salt: str = ""  # users fall alike in experiments of one salt
    stopped: int | None = None  # when, in microseconds since 1970

    @property
    def control(self) -> str:
        """The variant that was there before."""
        return next(iter(self.variants))

    def variant(self, unit: str) -> str | None:
        """The variant of a user; None where the user takes no part. The same at every call until shares change."""
        place = bucket(self.salt, unit)
        for name, count in self.phases[-1].runs:
            if place < count:
                return name or None
            place -= count
        raise AssertionError("the runs of a phase have all buckets")

    def with_shares(self, shares: Mapping[str, float], now: int) -> Experiment:
        """The experiment with other shares from now on, and as few users as can be moved.

        A variant that shrinks gives up buckets, one that grows takes them, and nobody else moves. A new name is a
        variant that sets nothing anew; one that is left out gets nobody any more. Raises `ConfigError` for shares that
        cannot be, and for a third variant of an interleaving.
        """
        if self.kind == "interleaving" and not set(shares) <= set(self.variants):
            raise ConfigError(f"experiment {self.name!r}: an interleaving has exactly two variants, and no third")
        wanted = counts_of({**dict.fromkeys(self.variants, 0.0), **shares}, least=0)
        runs = _moved(_buckets(self.phases[-1].runs), wanted)
        variants = {**self.variants, **{name: {} for name in shares if name not in self.variants}}
        return dataclasses.replace(self, variants=variants, phases=(*self.phases, Phase(now, runs)))


def new_experiment(
    name: str,
    shares: Mapping[str, float],
    now: int,
    *,
    kind: Kind = "ab",
    salt: str | None = None,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Experiment:
    """An experiment that starts now; `changes` says by variant which settings it has anew.

    Raises `ConfigError` for shares that cannot be, for changes of an unknown variant, and for an interleaving of other
    than two variants.
    """
    if not name.strip():
        raise ConfigError("an experiment needs a name")
    if len(shares) < 2 or (kind == "interleaving" and len(shares) != 2):
        wanted = "exactly two variants" if kind == "interleaving" else "at least two variants"
        raise ConfigError(f"experiment {name!r}: it needs {wanted}, got {', '.join(shares) or 'none'}")
    unknown = sorted(set(changes or {}) - set(shares))
    if unknown:
        raise ConfigError(f"experiment {name!r}: {unknown[0]!r} is none of its variants ({', '.join(shares)})")
    variants = {variant: dict((changes or {}).get(variant, {})) for variant in shares}
    runs = _runs([variant for variant, count in counts_of(shares).items() for _ in range(count)])
    return Experiment(name, variants, (Phase(now, runs),), kind, name if salt is None else salt)


def bucket(salt: str, unit: str) -> int:
    """The place of a unit, from 0 to `BUCKETS` - 1, even over units and unrelated between salts."""
    digest = hashlib.sha256(f"{len(salt)}:{salt}{unit}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) * BUCKETS >> 64


def counts_of(shares: Mapping[str, float], *, least: int = 1) -> dict[str, int]:
    """Buckets of each variant, and as "" those that take no part; remainders go to the largest.

    Raises `ConfigError` for a variant without a name or with under `least` buckets, and shares that sum to over 1.
    """
    for name, share in shares.items():
        if not name.strip() or name != name.strip():
            raise ConfigError(f"{name!r} cannot be the name of a variant")
        if not math.isfinite(share) or round(share * BUCKETS, 6) < least or share < 0:
            raise ConfigError(f"the share {share:g} of variant {name!r} is not a number from {least / BUCKETS:g} to 1")
    total = math.fsum(shares.values())
    if total > 1 + 1e-9:
        raise ConfigError(f"the shares of {', '.join(shares)} sum to {total:g}; they are parts of all users, at most 1")
    whole = round(total * BUCKETS)
    counts = {name: math.floor(share * BUCKETS + 1e-6) for name, share in shares.items()}
    by_rest = sorted(shares, key=lambda name: counts[name] - shares[name] * BUCKETS)
    for name in by_rest[: whole - sum(counts.values())]:
        counts[name] += 1
    return {**counts, "": BUCKETS - sum(counts.values())}


def _buckets(runs: Sequence[Run]) -> list[str]:
    return [name for name, count in runs for _ in range(count)]


def _runs(buckets: Sequence[str]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for name in buckets:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return tuple(runs)


def _moved(buckets: list[str], wanted: Mapping[str, int]) -> tuple[Run, ...]:
    """Buckets with the counts that are wanted, of which as many as can be stay what they are."""
    left = dict(wanted)
    kept: list[str | None] = []
    for name in buckets:
        stays = left.get(name, 0) > 0
        left[name] = left.get(name, 0) - stays
        kept.append(name if stays else None)
    free = iter([name for name, count in left.items() for _ in range(count)])
    return _runs([next(free) if name is None else name for name in kept])
