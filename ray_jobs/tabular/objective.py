"""What the task of a model decides: what its network is fitted to, and what an output means.

A new task is a module with a class that implements `Objective`, and its line in `OBJECTIVES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipelines.models.answers import Answer, Task
from pipelines.models.program import Evaluation
from ray_jobs.core.multiclass import Multiclass
from ray_jobs.core.program import Loss
from ray_jobs.tabular.binary import Binary
from ray_jobs.tabular.recipe import Recipe
from ray_jobs.tabular.regression import Regression


class Objective(Protocol):
    """An immutable value that is saved with the model.

    `predictions`, `answers` and `evaluate` share a type of predictions, which differs by task.
    """

    @property
    def task(self) -> Task: ...

    @property
    def outputs(self) -> int:
        """Outputs of the network for each row."""
        ...

    @classmethod
    def fit(cls, labels: NDArray[Any], recipe: Recipe) -> Self:
        """What the labels of the rows decide that weights are fitted on; raises DatasetError as `require` does."""
        ...

    def require(self, labels: NDArray[Any], recipe: Recipe) -> None:
        """Checks that weights can be fitted to these labels [rows], by this recipe.

        Raises:
            DatasetError: for labels that do not fit the task, or that a base model's objective does not know.
            RecipeError: for a recipe that does not fit a base model's objective.
        """
        ...

    def targets(self, labels: NDArray[Any]) -> NDArray[Any]:
        """What the loss compares outputs with, [rows]."""
        ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Loss:
        """The loss of the rows whose target is known."""
        ...

    def calibrated(self, outputs: NDArray[np.float64], labels: NDArray[Any], recipe: Recipe) -> Self:
        """The objective with what is fitted on held-out rows; raises MetricError if these rows do not decide it."""
        ...

    def predictions(self, outputs: NDArray[np.float64]) -> Any:
        """What the network's outputs, [rows] or [rows, outputs], mean."""
        ...

    def answers(self, predictions: Any) -> Sequence[Answer]:
        """One answer for each row."""
        ...

    def evaluate(self, labels: NDArray[Any], predictions: Any) -> Evaluation:
        """Metrics and figures; raises MetricError if one of them has no value."""
        ...

    def linear(self, design: NDArray[np.float32], labels: NDArray[Any]) -> Callable[[NDArray[np.float32]], Any]:
        """A linear model of the task, fitted to rows of encoded columns [rows, columns]; it returns predictions."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The complete state, with the name of the task."""
        ...

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self: ...


OBJECTIVES: Mapping[Task, type[Objective]] = {"binary": Binary, "regression": Regression, "multiclass": Multiclass}


def fit(labels: NDArray[Any], recipe: Recipe) -> Objective:
    """The objective of a recipe's task for these labels; raises DatasetError if they do not fit the task."""
    objective = OBJECTIVES[recipe.task].fit(labels, recipe)
    objective.require(labels, recipe)
    return objective


def from_json(state: Mapping[str, Any]) -> Objective:
    """The objective that `to_json` describes."""
    task: Task = state["task"]
    return OBJECTIVES[task].from_json(state)
