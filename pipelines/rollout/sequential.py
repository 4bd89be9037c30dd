"""Bounds that hold at every look at once, so that a rollout may be looked at after each answer and ended at any time.

A confidence sequence at level `1 - alpha` covers the true value at all times together with this probability, whenever
and however often it is looked at, and whatever decides when to stop (Howard, Ramdas, McAuliffe, Sekhon 2021,
"Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49(2)). None of them assumes a
distribution of the values beyond their range.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

#: Of the mixture's Beta distribution: Jeffreys' prior, under which rare failures are found early.
PRIOR = 0.5
#: The largest bet on one value; less than 1, at which a single value could lose everything.
LARGEST_BET = 0.5
#: Halvings of an interval of rates: exact to 1e-9.
HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Bounds:
    """A confidence interval: [low, high], both included."""

    low: float
    high: float

    def minus(self, other: Bounds) -> Bounds:
        """Bounds of the difference of two values; its alpha is the sum of both."""
        return Bounds(self.low - other.high, self.high - other.low)


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
class MeanSequence:
    """Bounds of the mean of values between 0 and 1, in the order in which they came, in constant memory.

    By predictable bets against the mean, whose sizes follow the variance that was seen before (Waudby-Smith, Ramdas
    2024, "Estimating means of bounded random variables by betting", JRSS B 86(1), theorem 2): the values may depend on
    each other as long as each has the same mean given those before it.

    Attributes:
        alpha: The probability with which the bounds do not cover the mean at some time.
        count: The number of values.
        total: Their sum.
    """

    alpha: float
    count: int = 0
    total: float = 0.0
    _squares: float = 0.0
    _bets: float = 0.0
    _bet_values: float = 0.0
    _bet_variance: float = field(default=0.0)

    def add(self, values: np.ndarray) -> None:
        """Adds values: [n], each between 0 and 1."""
        if not len(values):
            return
        values = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
        places = self.count + np.arange(1, len(values) + 1)
        means = (0.5 + self.total + np.cumsum(values)) / (places + 1)
        before = np.concatenate([[(0.5 + self.total) / (self.count + 1)], means[:-1]])
        squares = self._squares + np.cumsum((values - means) ** 2)
        variances = (0.25 + np.concatenate([[self._squares], squares[:-1]])) / places
        bets = np.sqrt(2 * math.log(2 / self.alpha) / (variances * places * np.log1p(places)))
        bets = np.minimum(bets, LARGEST_BET)
        self._bets += float(bets.sum())
        self._bet_values += float((bets * values).sum())
        self._bet_variance += float((4 * (values - before) ** 2 * (-np.log1p(-bets) - bets) / 4).sum())
        self.count, self.total, self._squares = int(places[-1]), self.total + float(values.sum()), float(squares[-1])

    @property
    def mean(self) -> float:
        """The mean of the values so far; NaN before the first."""
        return self.total / self.count if self.count else math.nan

    def bounds(self) -> Bounds:
        """The interval that holds the true mean; [0, 1] before the first value."""
        if not self.count:
            return Bounds(0.0, 1.0)
        middle = self._bet_values / self._bets
        radius = (math.log(2 / self.alpha) + self._bet_variance) / self._bets
        return Bounds(max(0.0, middle - radius), min(1.0, middle + radius))
