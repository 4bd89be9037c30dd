"""A recipe with a contradiction raises an error that names the field."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import timedelta

import pytest

from pipelines.models.program import Fold, RecipeError, Window
from ray_jobs.tabular.recipe import Recipe
from tests.instants import instants


def _changed(recipe: Recipe, field: str, value: object) -> Recipe:
    changes: dict = {field: value}
    return replace(recipe, **changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_failures", 0),
        ("epochs", 0),
        ("num_workers", 0),
        ("batch_size", 1),
        ("holdout_every_days", 1),
        ("checkpoint_interval_epochs", 0),
        ("numeric", ("carrier",)),
    ],
)
def test_a_contradiction_raises_an_error_with_the_field(recipe: Recipe, field: str, value: object) -> None:
    with pytest.raises(RecipeError, match=field):
        _changed(recipe, field, value)


def test_a_gate_window_that_overlaps_the_train_window_raises_an_error(recipe: Recipe) -> None:
    end = instants(recipe.train_window).end
    with pytest.raises(RecipeError, match="gate_window"):
        replace(recipe, gate_window=Window(end - timedelta(days=1), end + timedelta(days=1)))


@pytest.mark.parametrize(
    ("field", "train", "gate"),
    [
        ("gate_window", Fold("fold", ("a", "c"), holdout=("b",)), Fold("fold", ("c",))),
        ("gate_window", Fold("fold", ("a",), holdout=("b",)), Fold("fold", ("b",))),
        ("gate_window", Fold("fold", ("a",), holdout=("b",)), Fold("group", ("c",))),
        ("train_window", Fold("fold", ("a",)), Fold("fold", ("c",))),
    ],
)
def test_folds_that_overlap_or_hold_nothing_out_raise_an_error(
    recipe: Recipe, field: str, train: Fold, gate: Fold
) -> None:
    with pytest.raises(RecipeError, match=field):
        replace(recipe, train_window=train, gate_window=gate)


def test_a_window_beside_a_fold_or_without_its_columns_raises_an_error(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="gate_window"):
        replace(recipe, train_window=Fold("fold", ("a",), holdout=("b",)))
    with pytest.raises(RecipeError, match="time_column"):
        replace(recipe, time_column=None)
    with pytest.raises(RecipeError, match="none of which is held out"):
        Fold("fold", ("a",), holdout=("a",))


def test_the_fingerprint_changes_with_a_field_alone(recipe: Recipe) -> None:
    assert replace(recipe).fingerprint == recipe.fingerprint
    assert replace(recipe, dropout=0.21).fingerprint != recipe.fingerprint


def test_the_error_can_be_pickled(recipe: Recipe) -> None:
    with pytest.raises(RecipeError) as caught:
        replace(recipe, epochs=0)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
