"""What a training program says of its model; the fabric in this package does everything else.

A program is a class that implements `Program`, in a module of its own, and its line in `ray_jobs/programs.py`. The
fabric calls it in this order: `fitted` once, before any worker starts; `examples` once for each training row; `network`
in every worker; `batch` and `loss` for every step; `trained` once, with the weights of the last step. `baselines` is
called once, meanwhile, in the process that waits for the workers. A step's random numbers are torch's, which the fabric
seeds by step and worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import pyarrow as pa
from torch import Tensor, nn

from pipelines.models.answers import Predictor
from pipelines.models.program import Evaluation, RecipeError, Unit
from ray_jobs.core.contest import Contender
from ray_jobs.core.dataset import Columns, Rows
from ray_jobs.core.recipe import TrainingRecipe

#: Tensors by name; the first dimension of each counts rows, or packed sequences.
Batch = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Loss:
    """The losses of a batch: their sum, and the number of rows or tokens that it is a sum of. Both are scalars.

    The fabric divides the sum over all workers and accumulated batches by the sum of the weights, so that the mean is
    the same however a step's rows are divided.
    """

    total: Tensor
    weight: Tensor


class Model(Predictor, Protocol):
    """A trained model: what a service asks, and what the fabric compares and saves."""

    def predict(self, rows: Columns) -> Any:
        """One prediction for each row, in a type that `evaluate` takes; raises ModelError as `answer` does."""
        ...

    def evaluate(self, labels: Any, predictions: Any) -> Evaluation:
        """Metrics and figures of predictions; raises MetricError if one of them has no value."""
        ...

    def save(self, folder: Path) -> None:
        """Writes the model into an empty folder, without pickles; raises ModelError if the folder holds a file."""
        ...


R_contra = TypeVar("R_contra", contravariant=True)


class Program(Protocol[R_contra]):
    """The model of one training run before it has weights: a value that is pickled to every worker."""

    #: What a loss's weight counts, in the words of progress and cost.
    unit: ClassVar[Unit]

    @classmethod
    def fitted(cls, recipe: R_contra, rows: Rows, base: Path | None) -> Self:
        """What training rows decide before weights are trained: vocabularies, scales, labels.

        Args:
            recipe: The complete configuration.
            rows: The training rows; of a table with very many rows, a sample that the seed does not decide.
            base: The folder of the model that training begins with; None to train from scratch.

        Raises:
            DatasetError: if the rows do not fit the task.
            RecipeError: if the base model does not fit the recipe.
        """
        ...

    def examples(self, rows: Rows) -> pa.Table:
        """The rows as `batch` reads them, in the same order; numbers, or lists of numbers."""
        ...

    def network(self) -> nn.Module:
        """The network with its first weights. Parameters that need no gradient are neither trained nor checkpointed."""
        ...

    def batch(self, examples: pa.Table) -> Batch:
        """The tensors of some examples, on the CPU; of a step's random numbers, none are drawn here.

        A thread makes the batches of the next steps while the present one is computed.
        """
        ...

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        """The loss of a batch, which must call `network` itself: it may be wrapped for several workers."""
        ...

    def trained(self, network: nn.Module, holdout: Rows) -> Model:
        """The finished model; `holdout` are rows that no weight was fitted on, for calibration.

        Raises:
            MetricError: if the held-out rows do not decide the calibration.
        """
        ...

    def baselines(self, rows: Rows) -> Mapping[str, Contender]:
        """The models that a challenger must beat, `BASELINE` among them; `rows` are those of the whole train window.

        They stay in memory while workers train: a large one is better loaded when it is asked.
        """
        ...


def require_task(model: Model, recipe: TrainingRecipe, *, object: str) -> None:
    """Raises RecipeError unless the model, which `object` names, is one of the recipe's task."""
    if model.task != recipe.task:
        raise RecipeError(
            object=object,
            observed=f"its task is {model.task}",
            expected=f"a model of the task {recipe.task}, as the recipe of {recipe.model_name} says",
            next_step="declare the model of another task under a name of its own",
        )
