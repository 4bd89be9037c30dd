"""How good a binary classifier's probabilities are: metrics, and the points of two plots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.models.program import Evaluation, Score
from ray_jobs.core.errors import MetricError
from ray_jobs.core.scores import AreaUnderRoc, AveragePrecision, CalibrationError, Mean, measured

#: As in Guo et al. 2017, "On calibration of modern neural networks" (arXiv:1706.04599).
CALIBRATION_BINS = 15
ROC_POINTS = 200

Labels = NDArray[np.float64]
Probabilities = NDArray[np.float64]


def scores(labels: Labels, probabilities: Probabilities) -> dict[str, Score]:
    """The metrics that a gate can compare, and those by which slices are told apart. Losses are natural logarithms.

    The balances are the mean probabilities of rows with label 1 and 0 (Kleinberg et al. 2017, "Inherent trade-offs in
    the fair determination of risk scores", arXiv:1609.05807).
    """
    # The smallest step below 1, as scikit-learn clips: a wrong certain answer costs about 36, not infinitely much.
    least = np.finfo(np.float64).eps
    of_label = np.clip(np.where(labels > 0, probabilities, 1 - probabilities), least, 1 - least)
    residuals = probabilities - labels
    return {
        "auc": AreaUnderRoc(labels, probabilities),
        "average_precision": AveragePrecision(labels, probabilities),
        "log_loss": Mean(-np.log(of_label)),
        "brier": Mean(residuals**2),
        "ece": CalibrationError(residuals, calibration_bins(probabilities)),
        "bias": Mean(residuals),
        "mean_probability": Mean(probabilities),
        "balance_of_1": Mean(probabilities * labels, labels),
        "balance_of_0": Mean(probabilities * (1 - labels), 1 - labels),
    }


def calibration_bins(probabilities: Probabilities) -> NDArray[np.intp]:
    """The bin of each row, of 15 of equal width that include their upper edge; the first one also 0."""
    return np.searchsorted(np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)[1:-1], probabilities)


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
    own = scores(y, p)
    return Evaluation(
        metrics=measured(own, len(y)) | {"positives": float(y.sum())},
        figures={"roc": _roc_points(y, p), "calibration": list(zip(means.tolist(), shares.tolist(), strict=True))},
        scores=own,
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
