"""Intervals that hold at every moment at once, so that one may look whenever one likes, and stop because of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.evaluation.bootstrap import Interval

Array = NDArray[np.float64]
_STEPS, _PRECISION = 100, 1e-10


@dataclass(frozen=True, slots=True)
class Boundary:
    """How far a sum of deviations may be from zero, as a function of their squares.

    Let d_i be deviations with conditional mean zero but for an error that was predicted, |d_i| <= scale, S the sum of
    their errors and V = sum d_i^2. With probability 1 - alpha, log_wealth(|S|, V) < log(2 / alpha) at all times at
    once. Source: Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
    sequences", Ann. Statist. 49 (2021), theorem 4 (empirical Bernstein) with the gamma-exponential mixture of
    proposition 9. `planned` is the V at which the boundary is narrowest, and must not depend on the data.
    """

    alpha: float
    scale: float
    planned: float

    def log_wealth(self, s: Array, v: Array) -> Array:
        """The logarithm of proposition 9's mixture, for s >= 0 and v >= 0, elementwise; increasing in s.

        In units of the scale, with r the mixture's precision:
        m(s, v) = r^r / (G(r) P(r, r)) * G(v + r) P(v + r, s + v + r) / (s + v + r)^(v + r) * exp(s + v), where G is
        the gamma function and P the regularised lower incomplete one. Both sides of zero share alpha.
        """
        from scipy.special import gammainc, gammaln

        s, v = s / self.scale, v / self.scale**2
        r = self._precision()
        x = s + v + r
        start = r * math.log(r) - gammaln(r) - math.log(gammainc(r, r))
        with np.errstate(divide="ignore"):
            mixed = gammaln(v + r) + np.log(gammainc(v + r, x)) - (v + r) * np.log(x)
        result: Array = start + mixed + s + v
        return result

    def reached(self, s: float, v: float) -> bool:
        """Whether a sum, of whichever sign, has come to the boundary."""
        return bool(self.log_wealth(np.array(abs(s)), np.array(v)) >= math.log(2 / self.alpha))

    def radius(self, v: Array) -> Array:
        """The s at which the boundary is reached, elementwise: |S| is smaller at all times at once."""
        v = np.asarray(v, dtype=np.float64)
        limit = math.log(2 / self.alpha)
        s: Array = 2 * (np.sqrt((v + self.planned) * limit) + self.scale * limit)
        for _ in range(_STEPS):  # log_wealth is convex in s, so Newton's method ends from wherever it begins
            step = (self.log_wealth(s, v) - limit) / self._slope(s, v)
            s = s - step
            if (np.abs(step) <= _PRECISION * s).all():
                break
        return s

    def _slope(self, s: Array, v: Array) -> Array:
        """The derivative of `log_wealth` by s."""
        from scipy.special import gammainc, gammaln

        a = v / self.scale**2 + self._precision()
        x = s / self.scale + a
        density = np.exp((a - 1) * np.log(x) - x - gammaln(a))
        result: Array = (1 - a / x + density / gammainc(a, x)) / self.scale
        return result

    def _precision(self) -> float:
        """The mixture's precision in units of the scale, by the normal mixture's rule (section 3.5 there)."""
        log = 2 * math.log(2 / self.alpha)
        return self.planned / self.scale**2 / (log + math.log(1 + log))


def mean_interval(values: Sequence[float] | Array, low: float, high: float, boundary: Boundary) -> Interval:
    """The mean of values between `low` and `high` [n], in the order in which they became known.

    mean +- radius(sum (x_i - m_i)^2) / n, where m_i is the mean of the values before (and of the middle, once). For no
    values it says nothing: all of the range.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 0:
        return Interval(math.nan, low, high)
    deviations = x - before(x, (low + high) / 2)
    half = float(boundary.radius(np.array([(deviations**2).sum()]))[0]) / len(x)
    mean = float(x.mean())
    return Interval(mean, max(low, mean - half), min(high, mean + half))


def before(values: Array, start: float) -> Array:
    """For each value the mean of those before it and of `start`, [n]."""
    if len(values) == 0:
        return values
    sums = start + np.concatenate([[0.0], np.cumsum(values[:-1])])
    result: Array = sums / np.arange(1, len(values) + 1)
    return result


def mismatch(counts: NDArray[Any], shares: Array, *, strength: float = 100.0) -> float:
    """The log of the evidence that units [variants] do not come in these shares [variants], which sum to one.

    Dirichlet-multinomial over multinomial: Lindon and Malek, "Anytime-valid inference for multinomial count data",
    NeurIPS 2022, equation 5. With right shares it ever exceeds log(1 / alpha) with probability alpha at most. The
    prior is that of `strength` units in the expected shares. A unit where the share is 0 is evidence without end.
    """
    from scipy.special import gammaln

    if (counts[shares == 0] > 0).any():
        return math.inf
    counts, shares = counts[shares > 0], shares[shares > 0]
    prior, total = strength * shares, float(counts.sum())
    marginal = gammaln(strength) - gammaln(strength + total) + (gammaln(prior + counts) - gammaln(prior)).sum()
    return float(marginal - (counts * np.log(shares)).sum())
