"""The task binary: the probability that a label is 1, by cross entropy and Platt scaling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.models.answers import Probability, Task
from pipelines.models.program import Evaluation
from ray_jobs.core.errors import DatasetError
from ray_jobs.core.program import Loss
from ray_jobs.tabular import calibration, metrics_binary
from ray_jobs.tabular.calibration import Calibration
from ray_jobs.tabular.recipe import Recipe

INVERSE_REGULARIZATION = 0.1
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Binary:
    """An `Objective`, which explains the methods; predictions are probabilities [rows]."""

    calibration: Calibration = field(default_factory=Calibration)
    task: ClassVar[Task] = "binary"
    outputs: ClassVar[int] = 1

    @classmethod
    def fit(cls, labels: NDArray[Any], recipe: Recipe) -> Binary:
        if len(alike := set(labels.tolist())) == 1:
            raise DatasetError(
                object=f"label {recipe.label} of {recipe.model_name}",
                observed=f"only {alike.pop()!r} in {len(labels):,} rows",
                expected="0 and 1, since nothing is learned from one of them",
                next_step="correct the label in the training set, or choose a train window that has both",
            )
        return cls()

    def require(self, labels: NDArray[Any], recipe: Recipe) -> None:
        if labels.dtype == object or not np.isin(labels, (0.0, 1.0)).all():
            others = [value for value in dict.fromkeys(labels.tolist()) if value not in (0.0, 1.0)]
            raise DatasetError(
                object=f"label {recipe.label} of {recipe.model_name}",
                observed=f"values such as {', '.join(map(repr, others[:3]))}",
                expected="0 and 1, since the task is binary",
                next_step="correct the training set, or name the task multiclass or regression",
            )

    def targets(self, labels: NDArray[Any]) -> NDArray[Any]:
        return labels.astype(np.float32)

    def loss(self, outputs: Tensor, targets: Tensor) -> Loss:
        total = nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="sum")
        return Loss(total, torch.tensor(len(targets)))

    def calibrated(self, outputs: NDArray[np.float64], labels: NDArray[Any], recipe: Recipe) -> Binary:
        return replace(self, calibration=calibration.fit(outputs, labels.astype(np.float64)))

    def predictions(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.calibration.probabilities(outputs)

    def answers(self, predictions: NDArray[np.float64]) -> list[Probability]:
        return [Probability(probability) for probability in predictions.tolist()]

    def evaluate(self, labels: NDArray[Any], predictions: NDArray[np.float64]) -> Evaluation:
        return metrics_binary.evaluate(labels, predictions)

    def linear(self, design: NDArray[np.float32], labels: NDArray[Any]) -> Callable[[NDArray[np.float32]], Any]:
        """Logistic regression."""
        # With far more rows than columns, few Newton steps on a small Hessian are faster than many gradient steps.
        from sklearn.linear_model import LogisticRegression

        regression = LogisticRegression(C=INVERSE_REGULARIZATION, solver="newton-cholesky", tol=TOLERANCE)
        regression.fit(design, labels)
        return lambda rows: regression.predict_proba(rows)[:, 1]

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, "calibration": asdict(self.calibration)}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Binary:
        return cls(Calibration(**state["calibration"]))
