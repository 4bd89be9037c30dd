"""The baselines that a trained model must beat: a linear model, and for a regression the value of a column.

The linear model reads the same columns of the same train window in the same encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.models.program import BASELINE, PERSISTENCE
from ray_jobs.core.contest import Contender
from ray_jobs.core.dataset import Columns, Rows
from ray_jobs.tabular import objective
from ray_jobs.tabular.encoding import Encoded, Encoder
from ray_jobs.tabular.recipe import Recipe
from ray_jobs.tabular.regression import Regression


@dataclass(frozen=True, slots=True)
class Linear:
    """A fitted linear model: one weight per category, score, rank and missing mark."""

    encoder: Encoder
    model: Callable[[NDArray[np.float32]], Any]

    def predict(self, rows: Columns) -> Any:
        """Predictions of the type that the task has."""
        return self.model(_design(self.encoder, self.encoder.encode(rows)))


@dataclass(frozen=True, slots=True)
class Persistence:
    """Predicts that the label will be what a column is."""

    column: str
    model: Callable[[NDArray[np.float64]], Any]

    def predict(self, rows: Columns) -> Any:
        """Estimates of a regression."""
        return self.model(np.asarray(rows[self.column], dtype=np.float64))


def fit_baselines(recipe: Recipe, rows: Rows) -> dict[str, Contender]:
    """Fits on the rows of the whole train window: baselines need no calibration, so no days are held out.

    Returns:
        `BASELINE`, and `PERSISTENCE` for a recipe with a `baseline_column`.

    Raises:
        DatasetError: if the labels do not fit the task.
    """
    task = objective.fit(rows.labels, recipe)
    encoder = Encoder.fit(rows.columns, recipe)
    linear = task.linear(_design(encoder, encoder.encode(rows.columns)), rows.labels)
    contenders: dict[str, Contender] = {BASELINE: Linear(encoder, linear)}
    if recipe.baseline_column is not None and isinstance(task, Regression):
        column = recipe.baseline_column
        contenders[PERSISTENCE] = Persistence(column, task.persistence(rows.columns[column], rows.labels))
    return contenders


def _design(encoder: Encoder, encoded: Encoded) -> NDArray[np.float32]:
    """[rows, ids + numbers]: one column of 0 and 1 per category id, then the numbers."""
    one_hot = [
        np.eye(size, dtype=np.float32)[ids]
        for size, ids in zip(encoder.cardinalities, encoded.categories.T, strict=True)
    ]
    return np.concatenate([*one_hot, encoded.numbers], axis=1)
