"""How good a regression's values and intervals are: metrics, and what its plots are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.models.program import Evaluation
from ray_jobs.core.errors import MetricError
from ray_jobs.core.scores import Mean, measured

SCATTER_POINTS = 500
HISTOGRAM_BINS = 40
COVERAGE_BINS = 10

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimates:
    """Predicted values [rows], all with the same interval: the value plus and minus `half_width`, at `level`."""

    values: Values
    half_width: float
    level: float


def evaluate(labels: NDArray[np.floating], estimates: Estimates) -> Evaluation:
    """All metrics, in the unit of the label, and the data of the plots.

    Args:
        labels: The true values, [rows].
        estimates: The predictions of the same rows.

    Raises:
        MetricError: if there are no rows, or a value is not finite.
    """
    actual = _checked(labels, estimates)
    predicted = estimates.values
    residuals = predicted - actual
    covered = np.abs(residuals) <= estimates.half_width
    counts, edges = np.histogram(residuals, bins=HISTOGRAM_BINS, range=_range(residuals))
    order = np.argsort(actual, kind="stable")
    kept = order[np.unique(np.linspace(0, len(order) - 1, min(SCATTER_POINTS, len(order))).astype(int))]
    scores = {
        "mae": Mean(np.abs(residuals)),
        "rmse": Mean(residuals**2, then=np.sqrt),
        "bias": Mean(residuals),
        "coverage": Mean(covered.astype(np.float64)),
    }
    interval = {"interval_level": estimates.level, "interval_width": 2.0 * estimates.half_width}
    return Evaluation(
        metrics=measured(scores, len(actual)) | interval,
        scores=scores,
        figures={
            "predicted_against_actual": list(zip(actual[kept].tolist(), predicted[kept].tolist(), strict=True)),
            "residuals": {"edges": edges.tolist(), "shares": (counts / len(actual)).tolist()},
            "interval_coverage": {"level": estimates.level, "points": _coverage(predicted, covered)},
        },
    )


def _range(residuals: Values) -> tuple[float, float]:
    """The lowest and the highest residual; a little more where they are equal but for rounding."""
    low, high = float(residuals.min()), float(residuals.max())
    least = 1e-6 * max(1.0, abs(low), abs(high))
    return (low, high) if high - low > least else (low - least, high + least)


def _coverage(predicted: Values, covered: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Points (mean predicted value, share of true values inside the interval) of rows of similar predictions."""
    parts = np.array_split(np.argsort(predicted, kind="stable"), min(COVERAGE_BINS, len(predicted)))
    return [(float(predicted[part].mean()), float(covered[part].mean())) for part in parts]


def _checked(labels: NDArray[np.floating], estimates: Estimates) -> Values:
    actual = np.asarray(labels, dtype=np.float64)
    problem = None
    if actual.shape != estimates.values.shape or actual.ndim != 1 or not len(actual):
        problem = f"labels of shape {actual.shape} and values of shape {estimates.values.shape}"
    elif not np.isfinite(actual).all():
        problem = f"{int((~np.isfinite(actual)).sum())} labels that are not finite"
    elif not np.isfinite(estimates.values).all():
        problem = f"{int((~np.isfinite(estimates.values)).sum())} predicted values that are not finite"
    if problem:
        raise MetricError(
            object="metrics",
            observed=problem,
            expected="at least one row, and a finite label and prediction for each row",
            next_step="evaluate a longer window, or find out why the label or the prediction is not finite",
        )
    return actual
