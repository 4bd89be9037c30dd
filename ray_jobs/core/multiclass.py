"""The task multiclass: the probability of each label, by cross entropy and temperature scaling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from pipelines.models.answers import Probabilities, Task
from pipelines.models.program import Evaluation
from ray_jobs.core import metrics_multiclass
from ray_jobs.core.errors import DatasetError, MetricError
from ray_jobs.core.metrics_multiclass import LabelProbabilities
from ray_jobs.core.program import Loss
from ray_jobs.core.recipe import TrainingRecipe

INVERSE_REGULARIZATION = 0.1
TOLERANCE = 1e-3
#: The target of a row whose label the model does not know; PyTorch's cross entropy leaves it out.
UNKNOWN = -100
#: The natural logarithm of the temperature lies between these.
LOG_TEMPERATURES = (-4.0, 4.0)


@dataclass(frozen=True, slots=True)
class Multiclass:
    """An `Objective`, which explains the methods; predictions are `LabelProbabilities`.

    Attributes:
        labels: The labels of the rows that weights were fitted on, sorted.
        temperature: Divides the logits (Guo et al. 2017, arXiv:1706.04599).
    """

    labels: tuple[str, ...]
    temperature: float = 1.0
    task: ClassVar[Task] = "multiclass"

    @property
    def outputs(self) -> int:
        return len(self.labels)

    @classmethod
    def fit(cls, labels: NDArray[Any], recipe: TrainingRecipe) -> Multiclass:
        _require_texts(labels, recipe)
        return cls(tuple(sorted(set(labels.tolist()))))

    def require(self, labels: NDArray[Any], recipe: TrainingRecipe) -> None:
        _require_texts(labels, recipe)
        unknown = sorted(set(labels.tolist()) - set(self.labels))
        if unknown or len(self.labels) < 2:
            raise DatasetError(
                object=f"label {recipe.label} of {recipe.model_name}",
                observed=f"{', '.join(map(repr, unknown[:3]))}, which the base model does not know"
                if unknown
                else f"only {self.labels[0]!r} in {len(labels)} rows",
                expected="labels of the base model alone" if unknown else "two labels or more",
                next_step="train from scratch" if unknown else "correct the recipe's train window or its label",
            )

    def targets(self, labels: NDArray[Any]) -> NDArray[Any]:
        places = {label: place for place, label in enumerate(self.labels)}
        return np.array([places.get(label, UNKNOWN) for label in labels.tolist()], dtype=np.int64)

    def loss(self, outputs: Tensor, targets: Tensor) -> Loss:
        total = nn.functional.cross_entropy(outputs, targets, ignore_index=UNKNOWN, reduction="sum")
        return Loss(total, (targets != UNKNOWN).sum())

    def calibrated(self, outputs: NDArray[np.float64], labels: NDArray[Any], recipe: TrainingRecipe) -> Multiclass:
        """The temperature of maximum likelihood, over the held-out rows whose label is known."""
        targets = self.targets(labels)
        known = targets != UNKNOWN
        logits, places = outputs[known], targets[known]
        if not len(places) or not np.isfinite(logits).all():
            raise MetricError(
                object="calibration",
                observed="logits that are not finite" if len(places) else "no held-out row with a known label",
                expected="finite logits of at least one row",
                next_step="lower the learning rate" if len(places) else "hold out more days",
            )

        def loss(log_temperature: float) -> float:
            scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
            return float(-scaled[np.arange(len(places)), places].mean())

        best = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
        return replace(self, temperature=float(np.exp(best.x)))

    def predictions(self, outputs: NDArray[np.float64]) -> LabelProbabilities:
        return LabelProbabilities(self.labels, softmax(outputs / self.temperature, axis=1))

    def answers(self, predictions: LabelProbabilities) -> list[Probabilities]:
        rows = predictions.probabilities.tolist()
        return [Probabilities(dict(zip(predictions.labels, row, strict=True))) for row in rows]

    def evaluate(self, labels: NDArray[Any], predictions: LabelProbabilities) -> Evaluation:
        return metrics_multiclass.evaluate(labels, predictions)

    def linear(
        self, design: NDArray[np.float32], labels: NDArray[Any]
    ) -> Callable[[NDArray[np.float32]], LabelProbabilities]:
        """Multinomial logistic regression."""
        from sklearn.linear_model import LogisticRegression

        regression = LogisticRegression(C=INVERSE_REGULARIZATION, solver="newton-cholesky", tol=TOLERANCE)
        regression.fit(design, labels.astype(str))
        known = tuple(map(str, regression.classes_))
        return lambda rows: LabelProbabilities(known, regression.predict_proba(rows).astype(np.float64))

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, "labels": list(self.labels), "temperature": self.temperature}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Multiclass:
        return cls(tuple(state["labels"]), state["temperature"])


def _require_texts(labels: NDArray[Any], recipe: TrainingRecipe) -> None:
    if labels.dtype != object:
        raise DatasetError(
            object=f"label {recipe.label} of {recipe.model_name}",
            observed="numbers",
            expected="texts, since the task is multiclass",
            next_step="cast the label to string in the training set",
        )
