"""The program that learns labels of texts: what is learned, saved, and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.errors import ModelError
from pipelines.models.program import BASELINE, RecipeError
from ray_jobs.core.dataset import Rows
from ray_jobs.core.errors import DatasetError
from ray_jobs.text import label_model
from ray_jobs.text.networks import TextLabels, trained_weights
from ray_jobs.text.recipe import ClassifierRecipe
from ray_jobs.text.text_classifier import TextClassifier


def fitted(recipe: ClassifierRecipe, rows: Rows, steps: int = 40) -> tuple[TextClassifier, nn.Module]:
    program = TextClassifier.fitted(recipe, rows, None)
    torch.manual_seed(recipe.seed)
    network, batch = program.network().eval(), program.batch(program.examples(rows))
    optimizer = torch.optim.AdamW([own for own in network.parameters() if own.requires_grad], lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = program.loss(network, batch)
        (loss.total / loss.weight).backward()
        optimizer.step()
    return program, network


@pytest.mark.parametrize("train_encoder", [True, False], ids=["whole", "head"])
def test_a_classifier_learns_the_labels_and_is_the_same_when_it_is_loaded(
    topics: ClassifierRecipe, rows: Rows, tmp_path: Path, *, train_encoder: bool
) -> None:
    program, network = fitted(replace(topics, train_encoder=train_encoder), rows)
    model = program.trained(network, rows)
    model.save(tmp_path / "model")
    loaded = label_model.load(tmp_path / "model")
    asked = {"thing": rows.columns["thing"], "note": rows.columns["note"]}
    assert [answer.label for answer in loaded.answer(asked)] == rows.labels.tolist()
    assert np.array_equal(loaded.predict(asked).probabilities, model.predict(asked).probabilities)
    assert loaded.objective == model.objective != program.objective
    assert set(trained_weights(network)) >= {"head.weight", "head.bias"}
    assert (len(trained_weights(network)) == 2) == (not train_encoder)


def test_an_encoder_that_is_not_trained_reads_a_text_alike_in_training_and_for_an_answer(
    topics: ClassifierRecipe, rows: Rows
) -> None:
    program, network = fitted(replace(topics, train_encoder=False), rows, steps=3)
    examples = program.examples(rows)
    backwards = Rows({name: column[::-1] for name, column in rows.columns.items()}, rows.labels[::-1])
    assert program.examples(backwards)["means"].to_pylist() == examples["means"].to_pylist()[::-1]
    asked = {"thing": rows.columns["thing"], "note": rows.columns["note"]}
    in_training = network(program.batch(examples)["means"]).detach().numpy()
    assert program.trained(network, rows).outputs(asked) == pytest.approx(in_training, abs=1e-5)


def test_an_answer_depends_on_no_other_row_and_padding_is_not_read(topics: ClassifierRecipe, rows: Rows) -> None:
    program = TextClassifier.fitted(topics, rows, None)
    torch.manual_seed(1)
    network = program.network()
    assert isinstance(network, TextLabels)
    model = label_model.LabelModel(label_model.Reads.of(topics), network, program.objective, program.home)
    asked = {"thing": rows.columns["thing"], "note": rows.columns["note"]}
    alone = [model.answer({name: column[place : place + 1] for name, column in asked.items()})[0] for place in range(8)]
    assert model.answer(asked) == alone
    together = model.predict(asked).probabilities
    assert together == pytest.approx(np.array([list(answer.by_label.values()) for answer in alone]), abs=1e-5)


def test_a_long_text_loses_its_end_and_a_null_is_left_out(topics: ClassifierRecipe, tmp_path: Path) -> None:
    reads = label_model.Reads.of(replace(topics, text_tokens=6))
    columns = {"thing": np.array(["sky", "sky " * 50], dtype=object), "note": np.array([None, ""], dtype=object)}
    short, long = reads.tokens(columns, tmp_path)
    assert len(short) == 3
    assert len(long) == 6
    assert (long[0], long[-1]) == (2, 3)


def test_training_goes_on_with_a_champion_and_refuses_other_labels(
    topics: ClassifierRecipe, rows: Rows, tmp_path: Path
) -> None:
    program, network = fitted(topics, rows, steps=1)
    program.trained(network, rows).save(tmp_path / "champion")
    again = TextClassifier.fitted(topics, rows, tmp_path / "champion").network()
    assert all(torch.equal(trained_weights(again)[name], own) for name, own in trained_weights(network).items())
    with pytest.raises(RecipeError, match="differs from the recipe of topics in texts"):
        TextClassifier.fitted(replace(topics, texts=("thing",)), rows, tmp_path / "champion")
    other = Rows(rows.columns, np.array(["red"] * 8, dtype=object))
    with pytest.raises(DatasetError, match="'red', which the base model does not know"):
        TextClassifier.fitted(topics, other, tmp_path / "champion")


def test_the_baseline_reads_the_words_of_the_same_texts(topics: ClassifierRecipe, rows: Rows) -> None:
    baseline = TextClassifier.fitted(topics, rows, None).baselines(rows)[BASELINE]
    predicted = baseline.predict(rows.columns)
    assert [predicted.labels[place] for place in predicted.probabilities.argmax(axis=1)] == rows.labels.tolist()


@pytest.mark.parametrize("labels", [np.array(["blue"] * 8, dtype=object), np.arange(8.0)], ids=["one", "numbers"])
def test_labels_that_are_no_classes_are_refused(topics: ClassifierRecipe, rows: Rows, labels: Any) -> None:
    with pytest.raises(DatasetError, match="label colour of topics"):
        TextClassifier.fitted(topics, Rows(rows.columns, labels), None)


def test_a_column_without_texts_is_refused(topics: ClassifierRecipe, rows: Rows) -> None:
    program = TextClassifier.fitted(topics, rows, None)
    with pytest.raises(ModelError, match="column note: a value of type float"):
        program.examples(Rows({**rows.columns, "note": np.arange(8.0)}, rows.labels))


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"texts": ()}, "texts"), ({"texts": ("a", "a")}, "texts"), ({"texts": ("colour",)}, "label"), ({"text_tokens": 2}, "text_tokens"),
     ({"task": "text"}, "task")],
)  # fmt: skip
def test_a_recipe_of_a_classifier_that_contradicts_itself_is_refused(
    topics: ClassifierRecipe, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(RecipeError, match=f"recipe of topics: {field}"):
        replace(topics, **changes)
