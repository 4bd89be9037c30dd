"""Comparing models: each contender is measured on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from ray_jobs.core.contest import contest
from ray_jobs.core.dataset import Columns, DatasetVersion, Rows, evaluation_rows
from ray_jobs.core.errors import MetricError
from ray_jobs.tabular.metrics_binary import evaluate
from ray_jobs.tabular.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Always:
    """Predicts one probability for every row."""

    probability: float

    def predict(self, rows: Columns) -> NDArray[np.float64]:
        carriers = rows["carrier"]
        assert carriers is not None
        return np.full(len(carriers), self.probability)


@dataclass(frozen=True, slots=True)
class LateInTheEvening:
    """Predicts a probability that rises with the minute of departure."""

    def predict(self, rows: Columns) -> NDArray[np.float64]:
        return np.asarray(rows["departure_minute"], dtype=np.float64) / 2880


@pytest.fixture(scope="module")
def rows(table: DatasetVersion, recipe: Recipe) -> Rows:
    return evaluation_rows(table, recipe, recipe.gate_window)


def test_a_contender_gets_the_evaluation_that_it_gets_alone(rows: Rows) -> None:
    contenders = {"evening": LateInTheEvening(), "constant": Always(0.2)}
    evaluations = contest(rows, contenders, measure=evaluate)
    assert list(evaluations) == ["evening", "constant"]
    assert evaluations["evening"] == evaluate(rows.labels, LateInTheEvening().predict(rows.columns))
    assert evaluations["constant"].metrics["auc"] == pytest.approx(0.5)
    assert {evaluation.metrics["n"] for evaluation in evaluations.values()} == {len(rows)}


def test_a_contender_that_predicts_nan_ends_the_contest_with_an_error(rows: Rows) -> None:
    with pytest.raises(MetricError, match="no probability"):
        contest(rows, {"constant": Always(0.2), "broken": Always(float("nan"))}, measure=evaluate)
