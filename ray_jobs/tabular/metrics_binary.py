"""How good a binary classifier's probabilities are: metrics, and the points of two plots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.models.program import Evaluation
from ray_jobs.core.errors import MetricError

#: As in Guo et al. 2017, "On calibration of modern neural networks" (arXiv:1706.04599).
CALIBRATION_BINS = 15
ROC_POINTS = 200

Labels = NDArray[np.float64]
Probabilities = NDArray[np.float64]


def expected_calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """Mean distance between predicted probability and observed share, over 15 bins of equal width."""
    from sklearn.calibration import calibration_curve

    shares, means = calibration_curve(labels, probabilities, n_bins=CALIBRATION_BINS)
    # calibration_curve returns no counts; its bins include their upper edge, the first one also 0.
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    counts = np.bincount(np.searchsorted(edges[1:-1], probabilities))
    return float(np.average(np.abs(means - shares), weights=counts[counts > 0]))


def _metrics(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """The metrics by name. Losses use the natural logarithm."""
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    return {
        "auc": float(roc_auc_score(labels, probabilities)),
        "average_precision": float(average_precision_score(labels, probabilities)),
        "log_loss": float(log_loss(labels, probabilities)),
        "brier": float(brier_score_loss(labels, probabilities)),
        "ece": expected_calibration_error(labels, probabilities),
        "n": float(len(labels)),
        "positives": float(labels.sum()),
    }


def evaluate(labels: NDArray[np.floating], probabilities: NDArray[np.floating]) -> Evaluation:
    """All metrics and both curves of one set of predictions.

    Args:
        labels: [rows] of 0 and 1.
        probabilities: [rows], of label 1.

    Raises:
        MetricError: if there are no rows, only one class, other labels than 0 and 1, or a value that is no probability.
    """
    from sklearn.calibration import calibration_curve

    y, p = _checked(labels, probabilities)
    shares, means = calibration_curve(y, p, n_bins=CALIBRATION_BINS)
    return Evaluation(
        metrics=_metrics(y, p),
        figures={"roc": _roc_points(y, p), "calibration": list(zip(means.tolist(), shares.tolist(), strict=True))},
    )


def _roc_points(labels: Labels, probabilities: Probabilities) -> list[tuple[float, float]]:
    """The ROC curve in at most 200 points, from (0, 0) to (1, 1)."""
    from sklearn.metrics import roc_curve

    false_rates, true_rates, _ = roc_curve(labels, probabilities)
    kept = np.unique(np.linspace(0, len(false_rates) - 1, min(ROC_POINTS, len(false_rates))).astype(int))
    return list(zip(false_rates[kept].tolist(), true_rates[kept].tolist(), strict=True))


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
