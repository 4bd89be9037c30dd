"""The baseline that every trained model has to beat: logistic regression on the same columns, windows and encoding."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ray_jobs.core.dataset import TableVersion, evaluation_rows, training_rows
from ray_jobs.tabular.encoding import Columns, Encoded, Encoder
from ray_jobs.tabular.evaluate import Metrics, metrics
from ray_jobs.tabular.recipe import Recipe

INVERSE_REGULARIZATION = 0.1
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fitted logistic regression: one weight per category, score, rank and missing mark."""

    encoder: Encoder
    regression: LogisticRegression

    def predict_proba(self, rows: Columns) -> NDArray[np.float64]:
        """The probability that the label is 1, [rows]."""
        return self.regression.predict_proba(_design(self.encoder, self.encoder.encode(rows)))[:, 1]


@dataclass(frozen=True, slots=True)
class BaselineResult:
    """The baseline and what the gate window says of it."""

    baseline: Baseline
    metrics: Metrics
    seconds: float


def fit_baseline(recipe: Recipe, *, table: TableVersion) -> BaselineResult:
    """Fits on the whole train window, since nothing has to be calibrated, and measures on the gate window."""
    started = time.monotonic()
    rows = training_rows(table, recipe, "all")
    encoder = Encoder.fit(rows.columns, recipe)
    # With far more rows than columns, few Newton steps on a small Hessian beat many gradient steps.
    regression = LogisticRegression(C=INVERSE_REGULARIZATION, solver="newton-cholesky", tol=TOLERANCE)
    regression.fit(_design(encoder, encoder.encode(rows.columns)), rows.labels)
    baseline = Baseline(encoder, regression)
    gate = evaluation_rows(table, recipe, recipe.gate_window)
    return BaselineResult(
        baseline, metrics(gate.labels, baseline.predict_proba(gate.columns)), time.monotonic() - started
    )


def _design(encoder: Encoder, encoded: Encoded) -> NDArray[np.float32]:
    """[rows, ids + numbers]: one column per category id, then the numbers."""
    ones = [
        np.eye(c, dtype=np.float32)[ids] for c, ids in zip(encoder.cardinalities, encoded.categories.T, strict=True)
    ]
    return np.concatenate([*ones, encoded.numbers], axis=1)
