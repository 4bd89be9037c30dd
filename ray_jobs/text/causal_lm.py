"""The program that fine-tunes a language model on pairs of a prompt and its answer, whole or by adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import torch
from torch import Tensor, nn

from pipelines import settings
from pipelines.models.program import BASELINE, RecipeError, Unit
from ray_jobs.core.contest import Contender
from ray_jobs.core.dataset import Columns, Rows
from ray_jobs.core.errors import DatasetError
from ray_jobs.core.program import Batch, Loss
from ray_jobs.text import language_model
from ray_jobs.text.language_model import AnswerLoss, LanguageModel, Said, chat_of
from ray_jobs.text.metrics_text import Answers
from ray_jobs.text.networks import fill, network_of, require_layers, trained_weights
from ray_jobs.text.packing import pack
from ray_jobs.text.recipe import LanguageRecipe


@dataclass(frozen=True, slots=True)
class CausalLm:
    """A `Program`, which explains the methods.

    Attributes:
        recipe: The complete configuration.
        home: Where converted weights of base models are kept, on each machine.
        weights: A model's that training begins with, by parameter name; None for the base model's alone.
    """

    recipe: LanguageRecipe
    home: Path
    weights: Mapping[str, Tensor] | None
    unit: ClassVar[Unit] = "tokens"

    @classmethod
    def fitted(cls, recipe: LanguageRecipe, rows: Rows, base: Path | None) -> CausalLm:
        _require_texts(recipe, rows)
        home = settings.get().root
        if base is None:
            require_layers(recipe, home)
            return cls(recipe, home, None)
        model = language_model.load(base)
        changed = [
            name
            for name, same in {
                "base": model.base.digest == recipe.base.digest,
                "adapter": model.said.adapter == recipe.adapter,
                "inputs": set(model.inputs) == set(recipe.inputs),
                "label": model.said.label == recipe.label,
            }.items()
            if not same
        ]
        if changed:
            raise RecipeError(
                object=f"base model in {base}",
                observed=f"differs from the recipe of {recipe.model_name} in {', '.join(changed)}",
                expected="a model of the same base model and adapters, with the same columns",
                next_step="train from scratch, or correct the recipe",
            )
        return cls(recipe, home, trained_weights(model.network))

    def examples(self, rows: Rows) -> pa.Table:
        recipe = self.recipe
        chat = chat_of(recipe.base, Said.of(recipe), self.home)
        prompts = chat.prompts(rows.columns, recipe.inputs)
        answers = [chat.answer(str(label)) for label in rows.labels]
        longer = [len(answer) for answer in answers if len(answer) > recipe.answer_tokens]
        if longer:
            raise DatasetError(
                object=f"label {recipe.label} of {recipe.model_name}",
                observed=f"{len(longer)} answers of more than {recipe.answer_tokens} tokens, up to {max(longer)}",
                expected="answers that the model can write: cut, it would learn not to end",
                next_step="raise answer_tokens, or leave these rows out of the training set",
            )
        return pa.table(
            {
                "tokens": pa.array(
                    [prompt.tokens + answer for prompt, answer in zip(prompts, answers, strict=True)],
                    pa.list_(pa.int32()),
                ),
                "prompt": pa.array([len(prompt.tokens) for prompt in prompts], pa.int32()),
            }
        )

    def network(self) -> AnswerLoss:
        network = network_of(self.recipe.base, self.recipe.adapter, self.home)
        if self.weights is not None:
            fill(network, self.weights)
        return network

    def batch(self, examples: pa.Table) -> Batch:
        tokens, prompts = examples["tokens"].to_pylist(), examples["prompt"].to_pylist()
        packed = pack(tokens, prompts, length=self.recipe.sequence_tokens, padding=0)
        return {
            "tokens": packed.tokens,
            "positions": packed.positions,
            "places": packed.places,
            "targets": packed.targets,
        }

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        losses = network(batch["tokens"], batch["positions"], batch["places"], batch["targets"])
        return Loss(losses.sum(), torch.tensor(float(len(losses)), device=losses.device))

    def trained(self, network: nn.Module, holdout: Rows) -> LanguageModel:
        assert isinstance(network, AnswerLoss)
        return self.model(network)

    def model(self, network: AnswerLoss) -> LanguageModel:
        """The network as a model that answers."""
        return LanguageModel(base=self.recipe.base, said=Said.of(self.recipe), network=network, home=self.home)

    def baselines(self, rows: Rows) -> Mapping[str, Contender]:
        """The base model, which is asked the same."""
        return {BASELINE: _BaseModel(self)}


@dataclass(frozen=True, slots=True)
class _BaseModel:
    """The base model of a program, which is loaded when it is asked."""

    program: CausalLm

    def predict(self, rows: Columns) -> Answers:
        """As `LanguageModel.predict`."""
        return self.program.model(network_of(self.program.recipe.base, None, self.program.home)).predict(rows)


def _require_texts(recipe: LanguageRecipe, rows: Rows) -> None:
    """Raises DatasetError for a label or a column that holds no texts."""
    for name, values in {recipe.label: rows.labels, **{name: rows.columns[name] for name in recipe.inputs}}.items():
        if values.dtype != object:
            raise DatasetError(
                object=f"column {name} of {recipe.model_name}",
                observed="numbers",
                expected="texts",
                next_step="cast the column to string in the training set",
            )
