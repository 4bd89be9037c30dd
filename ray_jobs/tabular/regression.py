"""The task regression: a value with an interval, by Huber's loss and split conformal prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.models.answers import Estimate, Task
from pipelines.models.program import Evaluation, RecipeError
from ray_jobs.core.errors import DatasetError, MetricError
from ray_jobs.core.program import Loss
from ray_jobs.tabular import metrics_regression
from ray_jobs.tabular.metrics_regression import Estimates
from ray_jobs.tabular.recipe import Recipe

RIDGE_PENALTY = 10.0


@dataclass(frozen=True, slots=True)
class Regression:
    """An `Objective`, which explains the methods; predictions are `Estimates`.

    Attributes:
        mean: Of the labels that weights were fitted on; the network's output is a standard score of the label.
        deviation: Their standard deviation.
        level: The probability with which an interval holds the true value.
        half_width: An interval is the value plus and minus this; 0 before it is calibrated.
    """

    mean: float
    deviation: float
    level: float
    half_width: float = 0.0
    task: ClassVar[Task] = "regression"
    outputs: ClassVar[int] = 1

    @classmethod
    def fit(cls, labels: NDArray[Any], recipe: Recipe) -> Regression:
        _require_numbers(labels, recipe)
        return cls(float(labels.mean()), float(labels.std()) or 1.0, _level(recipe))

    def require(self, labels: NDArray[Any], recipe: Recipe) -> None:
        _require_numbers(labels, recipe)
        if recipe.calibration == "keep" and recipe.interval_level != self.level:
            raise RecipeError(
                object=f"recipe of {recipe.model_name}: interval_level",
                observed=f"{recipe.interval_level}, and the interval of the base model has {self.level}",
                expected="the level of the base model, since its calibration is kept",
                next_step='take its level, or set calibration to "fit"',
            )

    def targets(self, labels: NDArray[Any]) -> NDArray[Any]:
        return ((labels - self.mean) / self.deviation).astype(np.float32)

    def loss(self, outputs: Tensor, targets: Tensor) -> Loss:
        return Loss(nn.functional.huber_loss(outputs, targets, reduction="sum"), torch.tensor(len(targets)))

    def calibrated(self, outputs: NDArray[np.float64], labels: NDArray[Any], recipe: Recipe) -> Regression:
        level = _level(recipe)
        return replace(self, level=level, half_width=half_width(labels - self._values(outputs), level))

    def predictions(self, outputs: NDArray[np.float64]) -> Estimates:
        return Estimates(self._values(outputs), self.half_width, self.level)

    def answers(self, predictions: Estimates) -> list[Estimate]:
        width, level = predictions.half_width, predictions.level
        return [Estimate(value, value - width, value + width, level) for value in predictions.values.tolist()]

    def evaluate(self, labels: NDArray[Any], predictions: Estimates) -> Evaluation:
        return metrics_regression.evaluate(labels, predictions)

    def linear(self, design: NDArray[np.float32], labels: NDArray[Any]) -> Callable[[NDArray[np.float32]], Estimates]:
        """Ridge regression; its interval is that of the rows that it was fitted on."""
        from sklearn.linear_model import Ridge

        ridge = Ridge(RIDGE_PENALTY).fit(design.astype(np.float64), labels)
        width = half_width(labels - ridge.predict(design.astype(np.float64)), self.level)
        return lambda rows: Estimates(ridge.predict(rows.astype(np.float64)), width, self.level)

    def persistence(
        self, column: NDArray[np.float64], labels: NDArray[Any]
    ) -> Callable[[NDArray[np.float64]], Estimates]:
        """A column as the prediction, and the mean label where it is null; its interval is that of these rows."""
        mean = float(labels.mean())

        def filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.where(np.isnan(values), mean, values)

        width = half_width(labels - filled(column), self.level)
        return lambda values: Estimates(filled(values), width, self.level)

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, **asdict(self)}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Regression:
        return cls(state["mean"], state["deviation"], state["level"], state["half_width"])

    def _values(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.mean + self.deviation * outputs


def half_width(residuals: NDArray[np.float64], level: float) -> float:
    """The width that holds a new row's residual with probability `level`, if it is exchangeable with these rows.

    Split conformal prediction (Lei et al. 2018, "Distribution-free predictive inference for regression",
    arXiv:1604.04173): the ceil((n + 1) level)-th smallest of the absolute residuals.

    Args:
        residuals: [rows], of rows that no weight was fitted on.
        level: Between 0 and 1.

    Raises:
        MetricError: if there are too few rows for this level, or a residual is not finite.
    """
    rank = math.ceil((len(residuals) + 1) * level)
    if rank > len(residuals) or not np.isfinite(residuals).all():
        few = rank > len(residuals)
        raise MetricError(
            object="interval",
            observed=f"{len(residuals)} held-out rows" if few else "predictions or labels that are not finite",
            expected=f"{math.ceil(level / (1 - level))} rows or more for level {level}" if few else "finite residuals",
            next_step="hold out more days, or lower interval_level" if few else "lower the learning rate",
        )
    return float(np.partition(np.abs(residuals), rank - 1)[rank - 1])


def _level(recipe: Recipe) -> float:
    assert recipe.interval_level is not None, "a recipe of a regression has one"
    return recipe.interval_level


def _require_numbers(labels: NDArray[Any], recipe: Recipe) -> None:
    if labels.dtype == object or not np.isfinite(labels).all():
        text = labels.dtype == object
        raise DatasetError(
            object=f"label {recipe.label} of {recipe.model_name}",
            observed="texts" if text else f"{int((~np.isfinite(labels)).sum())} values that are NaN or infinite",
            expected="finite numbers, since the task is regression; null where the value is not known",
            next_step="correct the training set" + (", or name the task multiclass" if text else ""),
        )
