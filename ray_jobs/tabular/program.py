"""The program of tables' rows: a wide and deep network over numbers and categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.models.program import RecipeError, Unit
from ray_jobs.core.contest import Contender
from ray_jobs.core.dataset import Rows
from ray_jobs.core.program import Batch, Loss, require_task
from ray_jobs.tabular import objective
from ray_jobs.tabular.baseline import fit_baselines
from ray_jobs.tabular.encoding import Encoder
from ray_jobs.tabular.model import Shape, TabularModel, WideAndDeep
from ray_jobs.tabular.objective import Objective
from ray_jobs.tabular.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Tabular:
    """A `Program`, which explains the methods; `weights` are a base model's, by parameter name."""

    recipe: Recipe
    encoder: Encoder
    objective: Objective
    shape: Shape
    weights: Mapping[str, NDArray[np.float32]] | None
    unit: ClassVar[Unit] = "rows"

    @classmethod
    def fitted(cls, recipe: Recipe, rows: Rows, base: Path | None) -> Tabular:
        model = _base(base, recipe)
        if model is not None:
            model.objective.require(rows.labels, recipe)
            weights = {name: tensor.numpy() for name, tensor in model.network.state_dict().items()}
            return cls(recipe, model.encoder, model.objective, model.shape, weights)
        encoder, fitted = Encoder.fit(rows.columns, recipe), objective.fit(rows.labels, recipe)
        return cls(recipe, encoder, fitted, Shape.of(encoder, fitted, recipe), None)

    def examples(self, rows: Rows) -> pa.Table:
        encoded = self.encoder.encode(rows.columns)
        # Lists of no length would lose the number of rows.
        categories = {"categories": _lists(encoded.categories)} if encoded.categories.shape[1] else {}
        targets = pa.array(self.objective.targets(rows.labels))
        return pa.table(categories | {"numbers": _lists(encoded.numbers), "targets": targets})

    def network(self) -> nn.Module:
        network = WideAndDeep(self.shape)
        if self.weights is not None:
            network.load_state_dict({name: torch.from_numpy(array) for name, array in self.weights.items()})
        return network

    def batch(self, examples: pa.Table) -> Batch:
        none = torch.zeros((len(examples), 0), dtype=torch.int64)
        return {
            "categories": _matrix(examples["categories"]) if "categories" in examples.column_names else none,
            "numbers": _matrix(examples["numbers"]),
            "targets": torch.tensor(examples["targets"].to_numpy()),
        }

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        outputs = network(batch["categories"], batch["numbers"])
        return self.objective.loss(outputs.float(), batch["targets"])

    def trained(self, network: nn.Module, holdout: Rows) -> TabularModel:
        assert isinstance(network, WideAndDeep)
        model = TabularModel(
            encoder=self.encoder, shape=self.shape, network=network, objective=self.objective, label=self.recipe.label
        )
        if self.recipe.calibration == "fit":
            outputs = model.outputs(self.encoder.encode(holdout.columns))
            model.objective = self.objective.calibrated(outputs, holdout.labels, self.recipe)
        return model

    def baselines(self, rows: Rows) -> Mapping[str, Contender]:
        return fit_baselines(self.recipe, rows)


def _base(folder: Path | None, recipe: Recipe) -> TabularModel | None:
    """The base model, if the recipe fits it; None to train from scratch."""
    if folder is None:
        if recipe.calibration == "fit":
            return None
        raise RecipeError(
            object=f"recipe of {recipe.model_name}: calibration",
            observed='"keep", and no base model',
            expected="a base model whose calibration is kept",
            next_step='name one, or set calibration to "fit"',
        )
    model = TabularModel.load(folder)
    require_task(model, recipe, object=f"base model in {folder}")
    if set(model.inputs) != set(recipe.inputs) or model.label != recipe.label:
        different = sorted(set(model.inputs) ^ set(recipe.inputs)) or [model.label]
        raise RecipeError(
            object=f"base model in {folder}",
            observed=f"differs from the recipe in {', '.join(different)}",
            expected="a model with the recipe's inputs and label",
            next_step="train from scratch, or fine-tune a model of the same feature service",
        )
    return model


def _lists(matrix: NDArray[np.generic]) -> pa.Array:
    """A matrix [rows, width] as a list of equal length for each row."""
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def _matrix(column: pa.ChunkedArray) -> Tensor:
    """What `_lists` made of a matrix, as a tensor [rows, width]."""
    lists = column.combine_chunks()
    return torch.tensor(lists.flatten().to_numpy()).reshape(len(lists), lists.type.list_size)
