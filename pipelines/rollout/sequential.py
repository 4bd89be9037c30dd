"""Bounds that hold at every look at once, so that a rollout may be looked at after each answer and ended at any time.

A confidence sequence at level `1 - alpha` covers the true value at all times together with this probability, whenever
and however often it is looked at, and whatever decides when to stop (Howard, Ramdas, McAuliffe, Sekhon 2021,
"Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49(2)). Those of rates are exact
at any number of trials; those of means are asymptotic, as a t-test is, and therefore begin at `FEWEST` values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Of the mixture's Beta distribution: Jeffreys' prior, under which rare failures are found early.
PRIOR = 0.5
#: Halvings of an interval of rates: exact to 1e-9.
HALVINGS = 30
#: Means of fewer values of a version have no bounds yet.
FEWEST = 50
#: The number of values at which the bounds of means are narrowest; ten times more or fewer cost little.
NARROWEST = 1_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """A confidence interval: [low, high], both included."""

    low: float
    high: float


def rate(hits: int, of: int, alpha: float) -> Bounds:
    """Bounds of the probability of an event that was seen `hits` times in `of` trials.

    By the method of mixtures (Robbins 1970, "Statistical methods related to the law of the iterated logarithm"): the
    likelihood under a Beta distribution of the probability, divided by that under one probability, is a martingale
    if that one is true, and exceeds 1/alpha at any time with a probability of at most alpha (Ville's inequality).
    """
    misses, seen = of - hits, hits / of if of else 0.5
    mixture = _log_beta(hits + PRIOR, misses + PRIOR) - _log_beta(PRIOR, PRIOR)

    def excluded(probability: float) -> bool:
        likelihood = _times_log(hits, probability) + _times_log(misses, 1 - probability)
        return mixture - likelihood >= -math.log(alpha)

    return Bounds(_edge(excluded, seen, 0.0), _edge(excluded, seen, 1.0))


def _edge(excluded: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where the probabilities begin that are excluded, between the one that was seen and an end of [0, 1]."""
    if not excluded(outside):
        return outside
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if excluded(middle) else (middle, outside)
    return outside


def _times_log(count: int, probability: float) -> float:
    if not count:
        return 0.0
    return count * math.log(probability) if probability > 0 else -math.inf


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


@dataclass(slots=True)
class Rate:
    """How often an event happened.

    Attributes:
        count: The number of trials.
        total: In how many of them it happened.
    """

    count: int = 0
    total: float = 0.0

    def add(self, values: Sequence[float]) -> None:
        """Adds trials: each 1 if it happened, else 0."""
        self.count += len(values)
        self.total += sum(values)

    @property
    def mean(self) -> float:
        """The share of trials in which it happened; NaN before the first."""
        return self.total / self.count if self.count else math.nan

    def bounds(self, alpha: float) -> Bounds:
        """The interval that holds its probability; [0, 1] before the first trial."""
        return rate(round(self.total), self.count, alpha) if self.count else Bounds(0.0, 1.0)


@dataclass(slots=True)
class Mean:
    """Values, by their number, mean and spread.

    Attributes:
        count: The number of values.
        total: Their sum.
    """

    count: int = 0
    total: float = 0.0
    _squares: float = 0.0

    def add(self, values: Sequence[float]) -> None:
        """Adds values."""
        for value in values:
            before = self.mean if self.count else 0.0
            self.count += 1
            self.total += value
            self._squares += (value - before) * (value - self.mean)

    @property
    def mean(self) -> float:
        """The mean of the values so far; NaN before the first."""
        return self.total / self.count if self.count else math.nan

    @property
    def _variance(self) -> float:
        """Of the mean. As if half a value more lay at a distance of 1, so that equal values prove nothing."""
        return (self._squares + 0.5) / self.count**2

    def bounds(self, alpha: float) -> Bounds:
        """The interval that holds the true mean; the whole line below `FEWEST` values."""
        if self.count < FEWEST:
            return Bounds(-math.inf, math.inf)
        return _around(self.mean, self._variance, self.count, alpha)

    def minus(self, other: Mean, alpha: float) -> Bounds:
        """The interval that holds the difference of two true means; the whole line below `FEWEST` values of either."""
        if min(self.count, other.count) < FEWEST:
            return Bounds(-math.inf, math.inf)
        variance = self._variance + other._variance
        return _around(self.mean - other.mean, variance, self.count + other.count, alpha)


def _around(estimate: float, variance: float, count: int, alpha: float) -> Bounds:
    """The asymptotic confidence sequence around an estimate from `count` values.

    By a mixture of normal distributions (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2024, "Time-uniform central limit
    theory and asymptotic confidence sequences", Annals of Statistics 52(6), theorem 2.2).
    """
    squared = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / NARROWEST
    inflated = count * squared + 1
    radius = math.sqrt(variance * 2 * inflated / (count * squared) * math.log(math.sqrt(inflated) / alpha))
    return Bounds(estimate - radius, estimate + radius)
