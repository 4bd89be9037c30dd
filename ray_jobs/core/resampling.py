"""The paired bootstrap: all contenders' metrics on the same rows, drawn again with replacement (Efron 1979)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.models.program import Score
from ray_jobs.core.dataset import Rows
from ray_jobs.core.errors import MetricError
from ray_jobs.core.scores import COUNTS_AT_ONCE

RESAMPLES = 2000
SEED = 0
#: The share of draws in which a metric may have no value, such as an AUC of one label alone.
WITHOUT_VALUE = 0.01


@dataclass(frozen=True, slots=True)
class Units:
    """What is drawn: `of_row` [rows] is each row's unit, whole numbers from 0; None where each row is one."""

    number: int
    of_row: NDArray[np.intp] | None

    @classmethod
    def of(cls, rows: Rows, together: Sequence[str]) -> Units:
        """Rows that agree in these columns are one unit; without columns, each row is one.

        Raises:
            MetricError: if there are fewer than two units.
        """
        of_row = _agreeing([rows.columns[name] for name in together]) if together else None
        number = len(rows) if of_row is None else int(of_row.max()) + 1
        if number < 2:
            raise MetricError(
                object="comparison of models",
                observed=f"one group of rows that agree in {' and '.join(together)}" if together else "one row",
                expected="two or more, since rows are drawn again to tell a difference from chance",
                next_step="compare a longer window, or name other columns in the gate's `together`",
            )
        return cls(number, of_row)


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the rows: their places, None for all; and the scores of these rows, by contender and metric.

    `shown` are metrics that are computed on the rows alone, not on draws.
    """

    rows: NDArray[np.intp] | None
    scores: Mapping[str, Mapping[str, Score]]
    shown: frozenset[str] = frozenset()

    def drawn(self) -> list[tuple[str, str, Score]]:
        """The scores that are computed on draws, by contender and metric."""
        return [
            (name, metric, score)
            for name, own in self.scores.items()
            for metric, score in own.items()
            if metric not in self.shown
        ]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The metrics of one part by contender and name: on its rows, and `draws` [RESAMPLES] on rows drawn again."""

    values: Mapping[str, Mapping[str, float]]
    draws: Mapping[str, Mapping[str, NDArray[np.float64]]]
    units: int

    def has_value(self, contender: str, metric: str) -> bool:
        """Whether the metric is defined, in nearly all draws too."""
        lacking = np.isnan(self.draws[contender][metric]).mean()
        return bool(np.isfinite(self.values[contender][metric]) and lacking <= WITHOUT_VALUE)


def draw(parts: Sequence[Part], units: Units, rows: int) -> list[Drawn]:
    """The metrics of each part, all on the same draws of the same number of units."""
    random = np.random.default_rng(SEED)
    draws: list[list[list[NDArray[np.float64]]]] = [[] for _ in parts]
    scores = [_scores(part, units) for part in parts]
    at_once = max(1, min(RESAMPLES, COUNTS_AT_ONCE // units.number))
    for first in range(0, RESAMPLES, at_once):
        counts = _counts(random, min(at_once, RESAMPLES - first), units.number)
        for part, scores_of_part, own in zip(parts, scores, draws, strict=True):
            if scores_of_part:
                drawn = counts if part.rows is None or units.of_row is not None else counts[:, part.rows]
                own.append([score(drawn) for score in scores_of_part])
    return [_drawn(part, own, units, rows) for part, own in zip(parts, draws, strict=True)]


def bounds(differences: NDArray[np.float64], tail: float, units: int) -> tuple[float, float]:
    """Bounds that the true value lies below, and above, with probability `tail` at most each.

    Quantiles of the draws, expanded for few units (Hesterberg 2015, "What teachers should know about the bootstrap",
    arXiv:1411.5279, section 3.2): the draws of n units spread less than n rows would, by sqrt((n - 1) / n), and their
    spread is itself an estimate. Without bounds, -inf and inf, where more than 1 % of the draws have no value.
    """
    from scipy.stats import norm, t

    if np.isnan(differences).mean() > WITHOUT_VALUE:
        return -np.inf, np.inf
    expanded = float(norm.cdf(np.sqrt(units / (units - 1)) * t.ppf(tail, units - 1)))
    low, high = np.nanquantile(differences, (expanded, 1 - expanded))
    return float(low), float(high)


def _drawn(part: Part, draws: Sequence[Sequence[NDArray[np.float64]]], units: Units, rows: int) -> Drawn:
    ones = np.ones((1, rows if part.rows is None else len(part.rows)))
    values = {name: {m: float(score(ones)[0]) for m, score in own.items()} for name, own in part.scores.items()}
    by_metric: dict[str, dict[str, NDArray[np.float64]]] = {name: {} for name in part.scores}
    for (name, metric, _), values_of_draws in zip(part.drawn(), zip(*draws, strict=True), strict=True):
        by_metric[name][metric] = np.concatenate(values_of_draws)
    number = units.number
    if part.rows is not None:
        number = len(part.rows) if units.of_row is None else len(np.unique(units.of_row[part.rows]))
    return Drawn(values, by_metric, number)


def _scores(part: Part, units: Units) -> list[Score]:
    """The scores that are computed on draws: of counts of the part's rows, or of units of rows."""
    scores = [score for _, _, score in part.drawn()]
    if units.of_row is None:
        return scores
    of_row = units.of_row if part.rows is None else units.of_row[part.rows]
    return [score.by_unit(of_row, units.number) for score in scores]


def _counts(random: np.random.Generator, draws: int, units: int) -> NDArray[np.float64]:
    """How often each unit counts, [draws, units]."""
    drawn = random.integers(units, size=(draws, units))
    drawn += np.arange(draws)[:, None] * units
    return np.bincount(drawn.ravel(), minlength=draws * units).reshape(draws, units).astype(np.float64)


def _agreeing(columns: Sequence[NDArray[Any]]) -> NDArray[np.intp]:
    """The number of each row's group of rows that agree in all columns; an instant is its UTC day."""
    codes = np.zeros(len(columns[0]), dtype=np.intp)
    for column in columns:
        values = column.astype("datetime64[D]") if column.dtype.kind == "M" else column.astype(str)
        inverse = np.unique(values, return_inverse=True)[1]
        codes = np.unique(codes * (int(inverse.max()) + 1) + inverse, return_inverse=True)[1]
    return codes
