"""How good probabilities are: the gate's numbers, and the points of two plots. What cannot be measured raises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from ray_jobs.core.dataset import TableVersion, evaluation_rows
from ray_jobs.core.errors import MetricError
from ray_jobs.tabular.model import TabularModel
from ray_jobs.tabular.recipe import Recipe, Window

#: As in Guo et al. 2017, "On calibration of modern neural networks" (arXiv:1706.04599).
CALIBRATION_BINS = 15
ROC_POINTS = 200
SMALLEST_PROBABILITY = 1e-15


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a window says of a model.

    Attributes:
        auc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve, as a step function.
        log_loss: Mean negative log likelihood, natural logarithm.
        brier: Mean squared error of the probability.
        ece: Expected calibration error over 15 bins of equal width.
        n: Rows.
        positives: Rows with label 1.
    """

    auc: float
    average_precision: float
    log_loss: float
    brier: float
    ece: float
    n: int
    positives: int


@dataclass(frozen=True, slots=True)
class RocPoint:
    """One threshold: share of negatives and of positives at or above it."""

    false_positive_rate: float
    true_positive_rate: float


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The rows whose probability falls into one bin."""

    mean_probability: float
    positive_share: float
    n: int


def evaluate(model: TabularModel, recipe: Recipe, *, table: TableVersion, window: Window) -> Metrics:
    """Measures a model on the labelled rows of a window.

    Raises:
        DatasetError: if the window has no labelled row.
        MetricError: if it has only one class.
    """
    rows = evaluation_rows(table, recipe, window)
    return metrics(rows.labels, model.predict_proba(rows.columns))


def metrics(labels: NDArray[np.floating], probabilities: NDArray[np.floating]) -> Metrics:
    """All metrics of one set of predictions.

    Args:
        labels: [rows] of 0 and 1.
        probabilities: [rows], of label 1.

    Raises:
        MetricError: if there are no rows, only one class, other labels than 0 and 1, or a value that is no probability.
    """
    y, p = _checked(labels, probabilities)
    clipped = np.clip(p, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    bins = calibration_bins(y, p)
    return Metrics(
        auc=float(roc_auc_score(y, p)),
        average_precision=float(average_precision_score(y, p)),
        log_loss=float(-np.mean(y * np.log(clipped) + (1 - y) * np.log1p(-clipped))),
        brier=float(np.mean((p - y) ** 2)),
        ece=sum(b.n * abs(b.mean_probability - b.positive_share) for b in bins) / len(y),
        n=len(y),
        positives=int(y.sum()),
    )


def roc_curve(labels: NDArray[np.floating], probabilities: NDArray[np.floating]) -> list[RocPoint]:
    """The ROC curve in at most 200 points, from (0, 0) to (1, 1); raises as `metrics` does."""
    false_rates, true_rates, _ = sklearn_roc_curve(*_checked(labels, probabilities))
    kept = np.unique(np.linspace(0, len(false_rates) - 1, min(ROC_POINTS, len(false_rates))).astype(int))
    return [RocPoint(float(false_rates[i]), float(true_rates[i])) for i in kept]


def calibration_bins(labels: NDArray[np.floating], probabilities: NDArray[np.floating]) -> list[CalibrationBin]:
    """The bins of equal width that hold rows, in rising order; raises as `metrics` does."""
    y, p = _checked(labels, probabilities)
    place = np.minimum((p * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    counts, shares, means = (np.bincount(place, weights=w, minlength=CALIBRATION_BINS) for w in (None, y, p))
    return [
        CalibrationBin(float(means[b] / counts[b]), float(shares[b] / counts[b]), int(counts[b]))
        for b in np.flatnonzero(counts)
    ]


def _checked(
    labels: NDArray[np.floating], probabilities: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    problem = None
    if y.shape != p.shape or y.ndim != 1 or not len(y):
        problem = f"labels of shape {y.shape} and probabilities of shape {p.shape}"
    elif not np.isin(y, (0.0, 1.0)).all():
        problem = f"labels {np.unique(y)[:5].tolist()}"
    elif not ((p >= 0) & (p <= 1)).all():
        problem = f"{int((~((p >= 0) & (p <= 1))).sum())} values that are no probability"
    elif y.min() == y.max():
        problem = f"only label {y[0]:.0f} in {len(y)} rows"
    if problem:
        raise MetricError(
            object="metrics",
            observed=problem,
            expected="at least one row of each label, and a probability for each row",
            next_step="evaluate a longer window, or find out why the model gives no probability",
        )
    return y, p
