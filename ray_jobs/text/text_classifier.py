"""The program that learns which label a text has: an encoder of texts with a linear layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines import settings
from pipelines.models.program import BASELINE, RecipeError, Unit
from ray_jobs.core.contest import Contender
from ray_jobs.core.dataset import Columns, Rows
from ray_jobs.core.metrics_multiclass import LabelProbabilities
from ray_jobs.core.multiclass import Multiclass
from ray_jobs.core.program import Batch, Loss
from ray_jobs.text import base_models, label_model
from ray_jobs.text.label_model import LabelModel, Reads, joined, padded
from ray_jobs.text.networks import LabelsOfMeans, TextLabels, fill, labels_network_of, trained_weights, width_of
from ray_jobs.text.recipe import ClassifierRecipe


@dataclass(frozen=True, slots=True)
class TextClassifier:
    """A `Program`, which explains the methods.

    Attributes:
        recipe: The complete configuration.
        home: Where converted weights of base models are kept, on each machine.
        objective: The labels, and what is calibrated.
        weights: A model's that training begins with, by parameter name; None for the base model's alone.
    """

    recipe: ClassifierRecipe
    home: Path
    objective: Multiclass
    weights: Mapping[str, Tensor] | None
    unit: ClassVar[Unit] = "rows"

    @classmethod
    def fitted(cls, recipe: ClassifierRecipe, rows: Rows, base: Path | None) -> TextClassifier:
        home = settings.get().root
        if base is None:
            base_models.prepared(recipe.base, home)
            objective = Multiclass.fit(rows.labels, recipe)
            objective.require(rows.labels, recipe)
            return cls(recipe, home, objective, None)
        model = label_model.load(base)
        changed = [
            name
            for name, same in {
                "base": model.reads.base.digest == recipe.base.digest,
                "train_encoder": model.reads.train_encoder == recipe.train_encoder,
                "texts": model.inputs == recipe.inputs,
                "label": model.reads.label == recipe.label,
            }.items()
            if not same
        ]
        if changed:
            raise RecipeError(
                object=f"base model in {base}",
                observed=f"differs from the recipe of {recipe.model_name} in {', '.join(changed)}",
                expected="a model of the same encoder, columns and label",
                next_step="train from scratch, or correct the recipe",
            )
        model.objective.require(rows.labels, recipe)
        return cls(recipe, home, model.objective, trained_weights(model.network))

    def examples(self, rows: Rows) -> pa.Table:
        tokens = Reads.of(self.recipe).tokens(rows.columns, self.home)
        target = {"target": pa.array(self.objective.targets(rows.labels))}
        if self.recipe.train_encoder:
            return pa.table({"tokens": pa.array(tokens, pa.list_(pa.int32())), **target})
        return pa.table({"means": self._means(tokens), **target})

    def _means(self, tokens: Sequence[Sequence[int]]) -> pa.Array:
        """What an encoder that is not trained makes of each text, which it reads once.

        Each by itself, so that no text changes what another becomes; several at a time, by one thread each.
        """
        network, threads = self._whole().eval(), torch.get_num_threads()

        def mean(own: Sequence[int]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return network.means(*padded([own])).numpy()

        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                means = np.concatenate(list(pool.map(mean, tokens)))
        finally:
            torch.set_num_threads(threads)
        return pa.FixedSizeListArray.from_arrays(pa.array(means.ravel()), means.shape[1])

    def _whole(self) -> TextLabels:
        """The encoder with a new linear layer."""
        recipe = self.recipe
        return labels_network_of(recipe.base, self.objective.outputs, self.home, train_encoder=recipe.train_encoder)

    def network(self) -> nn.Module:
        if self.recipe.train_encoder:
            network: nn.Module = self._whole()
        else:
            network = LabelsOfMeans(width_of(self.recipe.base, self.home), self.objective.outputs)
        if self.weights is not None:
            fill(network, self.weights)
        return network

    def batch(self, examples: pa.Table) -> Batch:
        targets = {"targets": torch.tensor(examples["target"].to_numpy())}
        if self.recipe.train_encoder:
            tokens, mask = padded(examples["tokens"].to_pylist())
            return {"tokens": tokens, "mask": mask, **targets}
        means = examples["means"].combine_chunks()
        return {"means": torch.tensor(means.flatten().to_numpy()).reshape(len(means), -1), **targets}

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        outputs = network(*(tensor for name, tensor in batch.items() if name != "targets"))
        return self.objective.loss(outputs.float(), batch["targets"])

    def trained(self, network: nn.Module, holdout: Rows) -> LabelModel:
        if not isinstance(network, TextLabels):
            whole = self._whole()
            fill(whole, trained_weights(network))
            network = whole
        model = LabelModel(Reads.of(self.recipe), network, self.objective, self.home)
        model.objective = self.objective.calibrated(model.outputs(holdout.columns), holdout.labels, self.recipe)
        return model

    def baselines(self, rows: Rows) -> Mapping[str, Contender]:
        """A linear model of the words of a text."""
        return {BASELINE: _Words(self.recipe.texts, rows)}


class _Words:
    """Multinomial logistic regression on the weighted words of a text (tf-idf), and pairs of them."""

    def __init__(self, texts: tuple[str, ...], rows: Rows) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        self.texts = texts
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_features=50_000, sublinear_tf=True)
        self.model = make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000))
        self.model.fit(joined(rows.columns, texts), rows.labels.astype(str))

    def predict(self, rows: Columns) -> LabelProbabilities:
        """The probability of each label that the training rows have."""
        probabilities = self.model.predict_proba(joined(rows, self.texts)).astype(np.float64)
        return LabelProbabilities(tuple(map(str, self.model.classes_)), probabilities)
