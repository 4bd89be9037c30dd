"""The model: an encoder, a wide and deep network and the objective of its task, saved and loaded as one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.models.answers import Answer, Predictor, Task
from pipelines.models.program import Evaluation
from ray_jobs.core import model_folder
from ray_jobs.core.dataset import Columns
from ray_jobs.tabular import objective
from ray_jobs.tabular.encoding import Encoded, Encoder
from ray_jobs.tabular.objective import Objective
from ray_jobs.tabular.recipe import Recipe

FORMAT = "goldpath.wide_and_deep.v2"
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Shape:
    """The network's sizes; `cardinalities` are the numbers of ids per category, the id 0 included.

    `outputs` is the number of values that it computes for each row.
    """

    cardinalities: tuple[int, ...]
    numeric_width: int
    maximum_embedding_width: int
    hidden_widths: tuple[int, ...]
    dropout: float
    outputs: int

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Shape:
        tuples = {name: tuple(state[name]) for name in ("cardinalities", "hidden_widths")}
        values: dict[str, Any] = {**state, **tuples}
        return cls(**values)

    @classmethod
    def of(cls, encoder: Encoder, objective: Objective, recipe: Recipe) -> Shape:
        return cls(
            cardinalities=encoder.cardinalities,
            numeric_width=encoder.width,
            maximum_embedding_width=recipe.maximum_embedding_width,
            hidden_widths=recipe.hidden_widths,
            dropout=recipe.dropout,
            outputs=objective.outputs,
        )


class WideAndDeep(nn.Module):
    """The sum of a linear model and a small network (Cheng et al. 2016, arXiv:1606.07792).

    Both get the embeddings of the categories and all numbers. The linear part learns what is additive, so the network
    can be small and strongly regularized.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths = [min(shape.maximum_embedding_width, (c + 1) // 2) for c in shape.cardinalities]
        embeddings = [nn.Embedding(c, w) for c, w in zip(shape.cardinalities, widths, strict=True)]
        for embedding in embeddings:
            # Zero is neutral: the id 0 keeps it if no training row has that id.
            nn.init.zeros_(embedding.weight[0])
        self.embeddings = nn.ModuleList(embeddings)
        width = shape.numeric_width + sum(widths)
        self.wide = nn.Linear(width, shape.outputs)
        layers: list[nn.Module] = []
        for hidden in shape.hidden_widths:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(shape.dropout)]
            width = hidden
        self.deep = nn.Sequential(*layers, nn.Linear(width, shape.outputs))

    def forward(self, categories_BC: Tensor, numbers_BN: Tensor) -> Tensor:  # noqa: N803
        """Outputs [B], or [B, outputs] where they are several, of B rows with C category ids and N numbers."""
        embedded = [embedding(categories_BC[:, c]) for c, embedding in enumerate(self.embeddings)]
        x = torch.cat([*embedded, numbers_BN], dim=1)
        outputs = self.wide(x) + self.deep(x)
        return outputs.squeeze(1) if outputs.shape[1] == 1 else outputs


class TabularModel:
    """Predicts for raw rows, which it encodes exactly as in training."""

    def __init__(
        self, *, encoder: Encoder, shape: Shape, network: WideAndDeep, objective: Objective, label: str
    ) -> None:
        self.encoder = encoder
        self.shape = shape
        self.network = network.eval()
        self._exact = copy.deepcopy(self.network).double()
        self.objective = objective
        self.label = label

    @property
    def task(self) -> Task:
        """The kind of its answers."""
        return self.objective.task

    @property
    def inputs(self) -> tuple[str, ...]:
        """The raw columns that a prediction needs."""
        return self.encoder.inputs

    def answer(self, rows: Columns) -> Sequence[Answer]:
        """One answer for each row; raises ModelError as `predict` does."""
        return self.objective.answers(self.predict(rows))

    def predict(self, rows: Columns) -> Any:
        """The predictions of the rows, of the type that the task has.

        Raises:
            ModelError: if a column is absent, not numeric, or infinite.
        """
        return self.objective.predictions(self.outputs(self.encoder.encode(rows)))

    def evaluate(self, labels: NDArray[Any], predictions: Any) -> Evaluation:
        """Metrics and figures of its task; raises MetricError if one of them has no value."""
        return self.objective.evaluate(labels, predictions)

    @torch.inference_mode()
    def outputs(self, encoded: Encoded) -> NDArray[np.float64]:
        """The network's outputs, [rows] or [rows, outputs], with single precision.

        The order in which a product of matrices adds up depends on the number of rows and a row's place among them.
        Computed with double precision and rounded to single, equal rows get equal outputs wherever they stand.
        """
        parts: list[NDArray[np.float32]] = []
        for start in range(0, max(len(encoded), 1), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            numbers = torch.from_numpy(encoded.numbers[part]).double()
            outputs = self._exact(torch.from_numpy(encoded.categories[part]), numbers)
            parts.append(outputs.float().numpy())
        return np.concatenate(parts).astype(np.float64)

    def save(self, folder: Path) -> None:
        """Writes the two files into `folder`, which is created; raises ModelError if it holds a file."""
        config = {
            "format": FORMAT,
            "label": self.label,
            "shape": asdict(self.shape),
            "objective": self.objective.to_json(),
            "encoder": self.encoder.to_json(),
        }
        model_folder.write(folder, self.network.state_dict(), config)

    @classmethod
    def load(cls, folder: Path) -> TabularModel:
        """Reads a model that `save` wrote.

        Raises:
            ModelError: if the folder holds anything but the two files, or if one of them was changed.
        """
        with model_folder.reading(folder, FORMAT) as saved:
            config = saved.config
            shape = Shape.from_json(config["shape"])
            network = WideAndDeep(shape)
            network.load_state_dict(saved.weights)
            encoder, fitted = Encoder.from_json(config["encoder"]), objective.from_json(config["objective"])
            return cls(encoder=encoder, shape=shape, network=network, objective=fitted, label=config["label"])


def load(folder: Path) -> Predictor:
    """The model that was saved in a folder; raises ModelError as `TabularModel.load` does."""
    return TabularModel.load(folder)
