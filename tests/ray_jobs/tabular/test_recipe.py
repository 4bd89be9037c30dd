"""A recipe with a contradiction raises an error that names the field."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import timedelta

import pytest

from pipelines.models.program import Fold, RecipeError, Window
from ray_jobs.core.scale import Scale
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
        ("batch_size", 511),  # 2 workers
        ("batch_size", 0),
        ("maximum_gradient_norm", 0.0),
        ("checkpoint_interval_steps", 0),
        ("scale", Scale(accumulate=0)),
        ("scale", Scale(accumulate=3)),
        ("scale", Scale(elastic_from=3)),
        ("scale", Scale(elastic_from=0)),
    ],
)
def test_a_contradiction_raises_an_error_with_the_field(recipe: Recipe, field: str, value: object) -> None:
    with pytest.raises(RecipeError, match="batch_size" if value == Scale(accumulate=3) else field):
        _changed(recipe, field, value)


def test_one_worker_has_nobody_to_shard_its_weights_with(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match=r"scale\.strategy"):
        replace(recipe, num_workers=1, scale=Scale(strategy="fsdp"))


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
