"""A recipe with a contradiction raises an error that names the field."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import timedelta

import pytest

from pipelines.models.program import RecipeError, Window
from ray_jobs.tabular.recipe import Recipe


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
    end = recipe.train_window.end
    with pytest.raises(RecipeError, match="gate_window"):
        replace(recipe, gate_window=Window(end - timedelta(days=1), end + timedelta(days=1)))


def test_the_fingerprint_changes_with_a_field_alone(recipe: Recipe) -> None:
    assert replace(recipe).fingerprint == recipe.fingerprint
    assert replace(recipe, dropout=0.21).fingerprint != recipe.fingerprint


def test_the_error_can_be_pickled(recipe: Recipe) -> None:
    with pytest.raises(RecipeError) as caught:
        replace(recipe, epochs=0)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
