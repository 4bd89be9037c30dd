"""The baseline that a trained model must beat: logistic regression on the same columns, train window and encoding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ray_jobs.core.dataset import Columns, DatasetVersion, training_rows
from ray_jobs.tabular.encoding import Encoded, Encoder
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


def fit_baseline(recipe: Recipe, *, table: DatasetVersion) -> Baseline:
    """Fits on the whole train window: the regression needs no calibration, so no days are held out."""
    rows = training_rows(table, recipe, "all")
    encoder = Encoder.fit(rows.columns, recipe)
    # With far more rows than columns, few Newton steps on a small Hessian are faster than many gradient steps.
    regression = LogisticRegression(C=INVERSE_REGULARIZATION, solver="newton-cholesky", tol=TOLERANCE)
    regression.fit(_design(encoder, encoder.encode(rows.columns)), rows.labels)
    return Baseline(encoder, regression)


def _design(encoder: Encoder, encoded: Encoded) -> NDArray[np.float32]:
    """[rows, ids + numbers]: one column of 0 and 1 per category id, then the numbers."""
    one_hot = [
        np.eye(size, dtype=np.float32)[ids]
        for size, ids in zip(encoder.cardinalities, encoded.categories.T, strict=True)
    ]
    return np.concatenate([*one_hot, encoded.numbers], axis=1)
