"""Platt scaling: two numbers that turn a model's logits into probabilities that can be read as frequencies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ray_jobs.core.errors import MetricError

MAXIMUM_STEPS = 100
TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Calibration:
    """probability = sigmoid(scale * logit + shift); scale is the inverse of a temperature."""

    scale: float = 1.0
    shift: float = 0.0

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        return sigmoid(self.scale * logits + self.shift)


def fit(logits: NDArray[np.float64], labels: NDArray[np.float64]) -> Calibration:
    """Maximum likelihood with Platt's smoothed targets, by Newton's method.

    The targets (Platt 1999, "Probabilistic outputs for support vector machines") keep the optimum finite where the
    logits separate the classes.

    Args:
        logits: [rows], of rows that no weight was fitted on.
        labels: [rows], 0 or 1.

    Raises:
        MetricError: if one class is absent, or if Newton's method does not converge.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise _not_calibrated(f"{positives} positive and {negatives} negative rows", "both classes in the holdout")
    targets = np.where(labels > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    inputs = np.stack([logits, np.ones_like(logits)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(MAXIMUM_STEPS):
        p = sigmoid(inputs @ weights)
        curvature = inputs.T @ (inputs * (p * (1 - p))[:, None]) + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, inputs.T @ (p - targets))
        # Half of a long step keeps Newton from overshooting where the curve is flat.
        weights -= step if np.abs(step).max() < 1.0 else step / (2.0 * np.abs(step).max())
        if np.abs(step).max() < TOLERANCE:
            return Calibration(float(weights[0]), float(weights[1]))
    raise _not_calibrated(f"no convergence in {MAXIMUM_STEPS} steps", "finite logits that say something of the labels")


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _not_calibrated(observed: str, expected: str) -> MetricError:
    return MetricError(object="calibration", observed=observed, expected=expected, next_step="hold out more days")
