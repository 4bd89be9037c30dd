"""Metrics as functions of how often each row counts, so that rows can be drawn again many times at once.

Each class is a `pipelines.models.program.Score`: called with counts [draws, rows] it returns values [draws], NaN where
the metric has no value; `of(rows)` is the same metric of some rows alone. With counts of 1 a score is the metric.
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


@dataclass(frozen=True)
class _Ranked:
    """A metric of the order that `scores` [rows] give to rows with `labels` [rows] 0 and 1."""

    labels: Array
    scores: Array

    def of(self, rows: NDArray[np.intp]) -> Self:
        return type(self)(self.labels[rows], self.scores[rows])

    @cached_property
    def _order(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
        """Rows by falling score, where each run of equal scores starts, and the labels in this order."""
        order = np.argsort(-self.scores, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(self.scores[order]) != 0]) if len(order) else order
        return order, starts, self.labels[order]

    def _counted(self, counts: Array) -> tuple[Array, Array]:
        """Positives and negatives [draws, runs of equal scores], by falling score."""
        order, starts, labels = self._order
        ordered = counts[:, order]
        positives = ordered * labels
        if len(starts) < len(order):
            ordered, positives = (np.add.reduceat(each, starts, axis=1) for each in (ordered, positives))
        return positives, ordered - positives


class AreaUnderRoc(_Ranked):
    """The share of pairs of a positive and a negative row in which the positive one has the higher score."""

    def __call__(self, counts: Array) -> Array:
        positives, negatives = self._counted(counts)
        below = negatives.sum(axis=1, keepdims=True) - negatives.cumsum(axis=1)
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        return _ratio((positives * (below + negatives / 2)).sum(axis=1), pairs)


class AveragePrecision(_Ranked):
    """The mean precision over the steps of recall, as scikit-learn defines it."""

    def __call__(self, counts: Array) -> Array:
        positives, negatives = self._counted(counts)
        found = positives.cumsum(axis=1)
        precision = found / np.maximum(found + negatives.cumsum(axis=1), 1.0)
        return _ratio((positives * precision).sum(axis=1), positives.sum(axis=1))


def measured(scores: Mapping[str, Score], rows: int) -> dict[str, float]:
    """The metrics that the scores are, each row counted once; and `n`, the number of rows."""
    once = np.ones((1, rows))
    return {name: float(score(once)[0]) for name, score in scores.items()} | {"n": float(rows)}


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full_like(above, np.nan, dtype=np.float64), where=below > 0)
