"""The model: an encoder, a wide and deep network and the objective of its task, saved and loaded as one.

A model folder holds `model.safetensors` and `model.json` and nothing else. Each file holds the other's checksum, so a
file that was changed, or that belongs to another model, is refused. Loading a model runs no code from its files.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pipelines.errors import ModelError
from pipelines.models.answers import Answer, Predictor, Task
from pipelines.models.program import Evaluation
from ray_jobs.core.dataset import Columns
from ray_jobs.tabular import objective
from ray_jobs.tabular.encoding import Encoded, Encoder
from ray_jobs.tabular.objective import Objective
from ray_jobs.tabular.recipe import Recipe

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "model.json"
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
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise _refused(folder, "it already holds files", "an empty folder", "choose another folder")
        config = {
            "format": FORMAT,
            "label": self.label,
            "shape": asdict(self.shape),
            "objective": self.objective.to_json(),
            "encoder": self.encoder.to_json(),
        }
        weights = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(weights, folder / WEIGHTS_FILE, metadata={"config_sha256": _config_digest(config)})
        document = {"weights_sha256": _file_digest(folder / WEIGHTS_FILE), "config": config}
        (folder / CONFIG_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TabularModel:
        """Reads a model that `save` wrote.

        Raises:
            ModelError: if the folder holds anything but the two files, or if one of them was changed.
        """
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        expected = [CONFIG_FILE, WEIGHTS_FILE]
        if names != expected or any((folder / name).is_symlink() for name in expected):
            raise _refused(
                folder, f"holds {', '.join(names) or 'nothing'}", f"the files {' and '.join(expected)}, and no other",
                "download the model from the registry again; a pickle is never loaded",
            )  # fmt: skip
        try:
            document = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            config = document["config"]
            with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
                metadata = file.metadata() or {}
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            _require_unchanged(folder, document, metadata)
            if config["format"] != FORMAT:
                raise _refused(folder, f"format {config['format']!r}", FORMAT, "use the release that wrote it")
            shape = Shape.from_json(config["shape"])
            network = WideAndDeep(shape)
            network.load_state_dict(weights)
            encoder, fitted = Encoder.from_json(config["encoder"]), objective.from_json(config["objective"])
            return cls(encoder=encoder, shape=shape, network=network, objective=fitted, label=config["label"])
        except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise _refused(
                folder, f"{type(error).__name__}: {error}", f"a model in format {FORMAT}", "train or download it again"
            ) from None


def load(folder: Path) -> Predictor:
    """The model that was saved in a folder; raises ModelError as `TabularModel.load` does."""
    return TabularModel.load(folder)


def _require_unchanged(folder: Path, document: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    checksums = {
        WEIGHTS_FILE: (_file_digest(folder / WEIGHTS_FILE), document["weights_sha256"]),
        CONFIG_FILE: (_config_digest(document["config"]), metadata.get("config_sha256", "none")),
    }
    for name, (observed, expected) in checksums.items():
        if observed != expected:
            raise _refused(
                folder / name, f"checksum {observed[:16]}…", f"checksum {expected[:16]}…, which the other file holds",
                "do not use these files: download the model from the registry again",
            )  # fmt: skip


def _config_digest(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _refused(path: Path, observed: str, expected: str, next_step: str) -> ModelError:
    return ModelError(object=f"model in {path}", observed=observed, expected=expected, next_step=next_step)
