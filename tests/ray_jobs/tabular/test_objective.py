"""What a task decides: labels that fit it, what is fitted on held-out rows, and a state that is read back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipelines.models.answers import Estimate, Probabilities, Probability
from pipelines.models.program import RecipeError
from ray_jobs.core.errors import DatasetError, MetricError
from ray_jobs.core.multiclass import UNKNOWN, Multiclass
from ray_jobs.tabular import objective
from ray_jobs.tabular.recipe import Recipe
from ray_jobs.tabular.regression import Regression
from tests.ray_jobs.tabular.made_up import REGRESSION, multiclass

BINARY = replace(REGRESSION, task="binary", interval_level=None, baseline_column=None)
TEXTS = np.array(["red", "green", "red"], dtype=object)


@pytest.mark.parametrize(
    ("recipe", "labels", "outputs", "answer"),
    [
        (BINARY, np.array([0.0, 1.0, 1.0]), np.array([0.0]), Probability(0.5)),
        (REGRESSION, np.array([10.0, 20.0]), np.array([1.0]), Estimate(20.0, 20.0, 20.0, 0.9)),
        (multiclass(), TEXTS, np.array([[0.0, 0.0]]), Probabilities({"green": 0.5, "red": 0.5})),
    ],
)
def test_an_objective_that_was_written_as_json_answers_the_same(
    recipe: Recipe, labels: np.ndarray, outputs: np.ndarray, answer: Any
) -> None:
    fitted = objective.fit(labels, recipe)
    again = objective.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    assert again.task == recipe.task
    assert list(again.answers(again.predictions(outputs))) == [answer]


@pytest.mark.parametrize(
    ("recipe", "labels", "problem"),
    [
        (BINARY, np.array([0.0, 2.0]), r"values such as 2\.0"),
        (BINARY, TEXTS, "values such as 'red'"),
        (BINARY, np.array([0.0, np.nan]), "values such as nan"),
        (BINARY, np.array([1.0, 1.0]), "only 1.0 in 2 rows"),
        (REGRESSION, TEXTS, "texts"),
        (REGRESSION, np.array([1.0, np.inf, np.nan]), "2 values that are NaN or infinite"),
        (multiclass(), np.array([1.0, 2.0]), "numbers"),
        (multiclass(), np.array(["red", "red"], dtype=object), "only 'red' in 2 rows"),
    ],
)
def test_labels_that_do_not_fit_the_task_raise_an_error(recipe: Recipe, labels: np.ndarray, problem: str) -> None:
    with pytest.raises(DatasetError, match=f"label {recipe.label} of {recipe.model_name}: {problem}"):
        objective.fit(labels, recipe)


def test_a_label_that_the_base_model_does_not_know_raises_an_error_at_training_and_is_left_out_of_a_loss() -> None:
    base = Multiclass(("green", "red"))
    blue = np.array(["red", "blue"], dtype=object)
    assert base.targets(blue).tolist() == [1, UNKNOWN]
    with pytest.raises(DatasetError, match="'blue', which the base model does not know"):
        base.require(blue, multiclass())


def test_a_regression_learns_standard_scores_and_answers_in_the_unit_of_the_label() -> None:
    labels = np.array([100.0, 200.0, 300.0])
    fitted = Regression.fit(labels, REGRESSION)
    targets = fitted.targets(labels)
    assert targets.mean() == pytest.approx(0.0)
    assert fitted.predictions(targets.astype(float)).values == pytest.approx(labels)
    same = Regression.fit(np.array([5.0, 5.0]), REGRESSION)
    assert same.targets(np.array([5.0, 6.0])).tolist() == [0.0, 1.0]


def test_the_interval_of_a_regression_is_that_of_the_held_out_residuals_at_the_recipes_level() -> None:
    fitted = Regression(mean=0.0, deviation=2.0, level=0.5)
    residuals = np.arange(1.0, 100.0)
    after = fitted.calibrated(np.zeros(99), residuals, REGRESSION)
    assert (after.level, after.half_width) == (0.9, 90.0)
    (answer,) = after.answers(after.predictions(np.array([1.5])))
    assert answer == Estimate(3.0, -87.0, 93.0, 0.9)


def test_an_interval_that_is_kept_needs_the_level_of_the_base_model() -> None:
    base = Regression(0.0, 1.0, level=0.8, half_width=1.0)
    base.require(np.array([1.0]), replace(REGRESSION, calibration="keep", interval_level=0.8))
    with pytest.raises(RecipeError, match=r"interval_level: 0\.9, and the interval of the base model has 0\.8"):
        base.require(np.array([1.0]), replace(REGRESSION, calibration="keep"))


def test_the_temperature_makes_probabilities_those_that_were_observed() -> None:
    random = np.random.default_rng(3)
    true = random.standard_normal((20_000, 3))
    shares = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    labels = np.array(["a", "b", "c"], dtype=object)[(random.random((20_000, 1)) > shares.cumsum(axis=1)).sum(axis=1)]
    fitted = Multiclass(("a", "b", "c")).calibrated(3.0 * true, labels, multiclass())
    assert fitted.temperature == pytest.approx(3.0, rel=0.05)
    with pytest.raises(MetricError, match="no held-out row with a known label"):
        fitted.calibrated(true[:1], np.array(["d"], dtype=object), multiclass())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"interval_level": None}, "interval_level"),
        ({"interval_level": 1.0}, "interval_level"),
        ({"task": "binary", "baseline_column": None}, "interval_level"),
        ({"task": "binary", "interval_level": None}, "baseline_column"),
        ({"label": "now"}, "label"),
    ],
)
def test_a_recipe_that_does_not_fit_its_task_raises_an_error_with_the_field(
    changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(RecipeError, match=f"recipe of later: {field}"):
        replace(REGRESSION, **changes)
