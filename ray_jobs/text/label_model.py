"""A trained classifier of texts: what was trained of it and the name of its base model, saved and loaded as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines import settings
from pipelines.models.answers import Probabilities, Task
from pipelines.models.program import Evaluation
from ray_jobs.core import model_folder
from ray_jobs.core.dataset import Columns
from ray_jobs.core.metrics_multiclass import LabelProbabilities
from ray_jobs.core.multiclass import Multiclass
from ray_jobs.text import base_models
from ray_jobs.text.base_models import BaseModel
from ray_jobs.text.chat import texts_of
from ray_jobs.text.networks import TextLabels, fill, labels_network_of, trained_weights
from ray_jobs.text.recipe import ClassifierRecipe

FORMAT = "goldpath.text_classifier.v1"
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Reads:
    """What a saved model knows of its recipe, in the words of `ClassifierRecipe`."""

    base: BaseModel
    texts: tuple[str, ...]
    label: str
    train_encoder: bool
    text_tokens: int

    @classmethod
    def of(cls, recipe: ClassifierRecipe) -> Reads:
        return cls(recipe.base, recipe.texts, recipe.label, recipe.train_encoder, recipe.text_tokens)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Reads:
        values: dict[str, Any] = {**state, "base": BaseModel(**state["base"]), "texts": tuple(state["texts"])}
        return cls(**values)

    def tokens(self, rows: Columns, home: Path) -> list[list[int]]:
        """The tokens of each row; raises ModelError for a column that is absent or holds no texts."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(base_models.prepared(self.base, home) / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.text_tokens)
        return [encoded.ids for encoded in tokenizer.encode_batch(joined(rows, self.texts))]


class LabelModel:
    """Predicts the label of a text."""

    task: Task = "multiclass"

    def __init__(self, reads: Reads, network: TextLabels, objective: Multiclass, home: Path) -> None:
        self.reads, self.network, self.objective, self.home = reads, network.eval(), objective, home

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that a prediction needs."""
        return self.reads.texts

    def answer(self, rows: Columns) -> Sequence[Probabilities]:
        """One answer for each row, each computed by itself; raises ModelError for a column that holds no texts."""
        return self.objective.answers(self.objective.predictions(self.outputs(rows, at_once=1)))

    def predict(self, rows: Columns) -> LabelProbabilities:
        """The probabilities of the labels, computed together, which differ from those of `answer` by rounding.

        Raises:
            ModelError: as `answer` does.
        """
        return self.objective.predictions(self.outputs(rows))

    def evaluate(self, labels: Any, predictions: LabelProbabilities) -> Evaluation:
        """Metrics and figures of predictions."""
        return self.objective.evaluate(labels, predictions)

    @torch.inference_mode()
    def outputs(self, rows: Columns, *, at_once: int = AT_ONCE) -> NDArray[np.float64]:
        """The network's outputs, [rows, labels]."""
        device = next(self.network.parameters()).device
        tokens = self.reads.tokens(rows, self.home)
        outputs = np.zeros((len(tokens), self.objective.outputs))
        # Texts of about the same length together: the shorter ones are padded.
        order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
        for start in range(0, len(order), at_once):
            places = order[start : start + at_once]
            parts = padded([tokens[place] for place in places])
            outputs[places] = self.network(*(part.to(device) for part in parts)).double().cpu().numpy()
        return outputs

    def save(self, folder: Path) -> None:
        """Writes what was trained, and the base model's name and checksums."""
        config = {"format": FORMAT, "recipe": asdict(self.reads), "objective": self.objective.to_json()}
        model_folder.write(folder, trained_weights(self.network), config)


def load(folder: Path) -> LabelModel:
    """Reads a model that `save` wrote.

    Raises:
        ModelError: if one of its files was changed, or if the base model is absent or was changed.
    """
    with model_folder.reading(folder, FORMAT) as saved:
        reads, objective = Reads.from_json(saved.config["recipe"]), Multiclass.from_json(saved.config["objective"])
        home = settings.get().root
        network = labels_network_of(reads.base, objective.outputs, home, train_encoder=reads.train_encoder)
        fill(network, saved.weights)
        return LabelModel(reads, network, objective, home)


def joined(rows: Columns, names: Sequence[str]) -> list[str]:
    """The texts of each row, one below the other; nulls and empty ones are left out."""
    columns = [texts_of(rows, name) for name in names]
    return ["\n".join(filter(None, texts)) for texts in zip(*columns, strict=True)]


def padded(tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """[rows, tokens] of the longest row, and which of them are no padding."""
    width = max(map(len, tokens))
    mask = torch.arange(width) < torch.tensor([len(own) for own in tokens])[:, None]
    return torch.tensor([[*own, *[0] * (width - len(own))] for own in tokens]), mask
