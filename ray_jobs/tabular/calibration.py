"""Platt scaling: two numbers turn a model's logits into probabilities that agree with observed frequencies."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ray_jobs.core.errors import MetricError

MAXIMUM_STEPS = 100
#: Of the mean loss's gradient; with it, scale and shift are exact to about 1e-12.
TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Calibration:
    """probability = sigmoid(scale * logit + shift); scale is the inverse of a temperature."""

    scale: float = 1.0
    shift: float = 0.0

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        return sigmoid(self.scale * logits + self.shift)


def fit(logits: NDArray[np.float64], labels: NDArray[np.float64]) -> Calibration:
    """Maximum likelihood with Platt's smoothed targets.

    The targets (Platt 1999, "Probabilistic outputs for support vector machines") keep the optimum finite where the
    logits separate the classes.

    Args:
        logits: [rows], of rows that no weight was fitted on.
        labels: [rows], 0 or 1.

    Raises:
        MetricError: if one class is absent, a logit is not finite, or the fit does not converge.
    """
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise _not_calibrated(f"{positives} positive and {negatives} negative rows", "both classes in the holdout")
    if not np.isfinite(logits).all():
        raise _not_calibrated(f"{int((~np.isfinite(logits)).sum())} logits that are not finite", "finite logits")
    targets = np.where(labels > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # LogisticRegression takes no targets between 0 and 1: each row stands there once for either class, weighted by it.
    regression = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=TOLERANCE, max_iter=MAXIMUM_STEPS)
    classes = np.repeat([1, 0], len(logits))
    weights = np.concatenate([targets, 1 - targets])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        # Equal logits leave scale and shift undetermined. scikit-learn then uses another solver and warns of that.
        warnings.simplefilter("ignore", LinAlgWarning)
        try:
            regression.fit(np.tile(logits, 2)[:, None], classes, sample_weight=weights)
        except ConvergenceWarning:
            raise _not_calibrated(
                f"no convergence in {MAXIMUM_STEPS} steps", "logits that differ between the classes"
            ) from None
    return Calibration(float(regression.coef_[0, 0]), float(regression.intercept_[0]))


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _not_calibrated(observed: str, expected: str) -> MetricError:
    return MetricError(object="calibration", observed=observed, expected=expected, next_step="hold out more days")
