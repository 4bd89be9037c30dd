"""Metrics as functions of how often each row counts, so that rows can be drawn again many times at once.

Each class is a `pipelines.models.program.Score`: called with counts [draws, rows] it returns values [draws], NaN where
the metric has no value; `of(rows)` is the same metric of some rows alone. With counts of 1 a score is the metric.
`by_unit(units, number)` takes counts [draws, units] of rows that are drawn together: `units` [rows] are whole numbers
from 0, below `number`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.models.program import Score

Array = NDArray[np.float64]
#: Counts that are held at once: 800 kB of them stay in a core's cache, which is three times as fast as 32 MB.
COUNTS_AT_ONCE = 100_000
#: With more units it takes longer to count the pairs of all units than to count those of each draw.
MOST_UNITS_IN_PAIRS = 500


@dataclass(frozen=True)
class ByRow:
    """A score of rows that are drawn together, by the count of each row: where there is no shorter way."""

    score: Score
    units: NDArray[np.intp]

    def __call__(self, counts: Array) -> Array:
        at_once = max(1, COUNTS_AT_ONCE // max(len(self.units), 1))
        firsts = range(0, len(counts), at_once)
        return np.concatenate([self.score(counts[first : first + at_once, self.units]) for first in firsts])

    def of(self, rows: NDArray[np.intp]) -> Self:
        return type(self)(self.score.of(rows), self.units[rows])

    def by_unit(self, units: NDArray[np.intp], number: int) -> Score:
        return ByRow(self, units)


@dataclass(frozen=True)
class Mean:
    """The sum of `values` [rows] divided by the sum of `weights` [rows], 1 each if there are none.

    `then` maps the mean to the metric, such as `np.sqrt` for a root of a mean square and `np.exp` for a perplexity.
    """

    values: Array
    weights: Array | None = None
    then: Callable[[Any], Any] | None = None

    def __call__(self, counts: Array) -> Array:
        weights = counts.sum(axis=1) if self.weights is None else counts @ self.weights
        mean = _ratio(counts @ self.values, weights)
        return mean if self.then is None else self.then(mean)

    def of(self, rows: NDArray[np.intp]) -> Self:
        return type(self)(self.values[rows], None if self.weights is None else self.weights[rows], self.then)

    def by_unit(self, units: NDArray[np.intp], number: int) -> Score:
        sums = [np.bincount(units, each, number) for each in (self.values, self.weights)]
        return Mean(sums[0].astype(np.float64), sums[1].astype(np.float64), self.then)


@dataclass(frozen=True)
class MeanOfGroups:
    """The mean over groups of the mean of a group's `values` [rows]; `groups` [rows] are whole numbers from 0."""

    values: Array
    groups: NDArray[np.intp]

    def __call__(self, counts: Array) -> Array:
        number = int(self.groups.max(initial=-1)) + 1
        member = np.eye(number)[self.groups]
        with np.errstate(invalid="ignore"):
            means = _ratio(counts @ (member * self.values[:, None]), counts @ member)
        present = ~np.isnan(means)
        return _ratio(np.where(present, means, 0.0).sum(axis=1), present.sum(axis=1).astype(np.float64))

    def of(self, rows: NDArray[np.intp]) -> Self:
        return type(self)(self.values[rows], self.groups[rows])

    def by_unit(self, units: NDArray[np.intp], number: int) -> Score:
        return ByRow(self, units)


@dataclass(frozen=True)
class CalibrationError:
    """The mean over rows of the distance between a bin's mean probability and its share of label 1.

    Args:
        residuals: Probability minus label, [rows].
        bins: The bin of each row, whole numbers from 0.
    """

    residuals: Array
    bins: NDArray[np.intp]

    def __call__(self, counts: Array) -> Array:
        member = np.eye(int(self.bins.max(initial=-1)) + 1)[self.bins]
        return _ratio(np.abs(counts @ (member * self.residuals[:, None])).sum(axis=1), counts.sum(axis=1))

    def of(self, rows: NDArray[np.intp]) -> Self:
        return type(self)(self.residuals[rows], self.bins[rows])

    def by_unit(self, units: NDArray[np.intp], number: int) -> Score:
        return ByRow(self, units)


@dataclass(frozen=True)
class AreaUnderRoc:
    """The share of pairs of a positive and a negative row in which the positive one has the higher score.

    Args:
        labels: 0 and 1, [rows].
        scores: [rows]; equal ones count half.
    """

    labels: Array
    scores: Array

    def __call__(self, counts: Array) -> Array:
        positive, negative, lower, not_higher = self._order
        below = np.zeros((len(counts), len(negative) + 1))
        np.cumsum(counts[:, negative], axis=1, out=below[:, 1:])
        positives = counts[:, positive]
        pairs = np.einsum("dp,dp->d", positives, below[:, lower])
        if (lower != not_higher).any():
            pairs = (pairs + np.einsum("dp,dp->d", positives, below[:, not_higher])) / 2
        return _ratio(pairs, positives.sum(axis=1) * below[:, -1])

    def of(self, rows: NDArray[np.intp]) -> Self:
        return type(self)(self.labels[rows], self.scores[rows])

    def by_unit(self, units: NDArray[np.intp], number: int) -> Score:
        if number > MOST_UNITS_IN_PAIRS:
            return ByRow(self, units)
        positive, negative, _, _ = self._order
        scores = self.scores[positive]
        pairs = np.zeros((number, number))
        for unit in range(number):
            own = self.scores[negative[units[negative] == unit]]
            below = np.searchsorted(own, scores, "left") + np.searchsorted(own, scores, "right")
            pairs[:, unit] = np.bincount(units[positive], below / 2, number)
        by_label = [np.bincount(units[rows], minlength=number).astype(np.float64) for rows in (positive, negative)]
        return PairsOfUnits(pairs, *by_label)

    @cached_property
    def _order(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Positive rows, negative rows by rising score, and how many negatives each positive has lower or equal."""
        order = np.argsort(self.scores, kind="stable")
        positive, negative = (order[self.labels[order] == label] for label in (1.0, 0.0))
        places = [np.searchsorted(self.scores[negative], self.scores[positive], side) for side in ("left", "right")]
        return positive, negative, places[0], places[1]


@dataclass(frozen=True)
class PairsOfUnits:
    """The area under the ROC curve of rows that are drawn together, the same number to the bit.

    Args:
        pairs: [units, units], of a positive row of the first and a negative row of the second the number of those where
            the positive one has the higher score; equal ones count half.
        positives: [units], rows.
        negatives: [units], rows.
    """

    pairs: Array
    positives: Array
    negatives: Array

    def __call__(self, counts: Array) -> Array:
        pairs = np.einsum("du,du->d", counts @ self.pairs, counts)
        return _ratio(pairs, (counts @ self.positives) * (counts @ self.negatives))

    def of(self, rows: NDArray[np.intp]) -> Self:
        return type(self)(self.pairs[np.ix_(rows, rows)], self.positives[rows], self.negatives[rows])

    def by_unit(self, units: NDArray[np.intp], number: int) -> Score:
        return ByRow(self, units)


@dataclass(frozen=True)
class AveragePrecision:
    """The mean precision over the steps of recall, as scikit-learn defines it; arguments as of `AreaUnderRoc`."""

    labels: Array
    scores: Array

    def __call__(self, counts: Array) -> Array:
        order = np.argsort(-self.scores, kind="stable")
        runs = np.flatnonzero(np.r_[True, np.diff(self.scores[order]) != 0])
        ordered = counts[:, order]
        positives, drawn = (np.add.reduceat(each, runs, axis=1) for each in (ordered * self.labels[order], ordered))
        precision = positives.cumsum(axis=1) / np.maximum(drawn.cumsum(axis=1), 1.0)
        return _ratio((positives * precision).sum(axis=1), positives.sum(axis=1))

    def of(self, rows: NDArray[np.intp]) -> Self:
        return type(self)(self.labels[rows], self.scores[rows])

    def by_unit(self, units: NDArray[np.intp], number: int) -> Score:
        return ByRow(self, units)


def measured(scores: Mapping[str, Score], rows: int) -> dict[str, float]:
    """The metrics that the scores are, each row counted once; and `n`, the number of rows."""
    once = np.ones((1, rows))
    return {name: float(score(once)[0]) for name, score in scores.items()} | {"n": float(rows)}


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full_like(above, np.nan, dtype=np.float64), where=below > 0)
