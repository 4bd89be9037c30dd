"""All contenders are measured on the same rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from ray_jobs.core.contest import contest
from ray_jobs.core.dataset import TableVersion, evaluation_rows
from ray_jobs.core.errors import MetricError
from ray_jobs.tabular.baseline import fit_baseline
from ray_jobs.tabular.encoding import Columns
from ray_jobs.tabular.evaluate import metrics
from ray_jobs.tabular.recipe import Recipe, Window


@dataclass(frozen=True, slots=True)
class Always:
    """Answers every flight with one probability."""

    probability: float

    def predict_proba(self, rows: Columns) -> NDArray[np.float64]:
        carriers = rows["carrier"]
        assert carriers is not None
        return np.full(len(carriers), self.probability)


def test_a_standing_holds_what_its_contender_alone_would_be_measured_as(table: TableVersion, recipe: Recipe) -> None:
    baseline = fit_baseline(recipe, table=table).baseline
    window = recipe.gate_window
    found = contest(recipe, table=table, window=window, contenders={"baseline": baseline, "constant": Always(0.2)})
    rows = evaluation_rows(table, recipe, window)
    assert found["baseline"].metrics == metrics(rows.labels, baseline.predict_proba(rows.columns))
    assert found["constant"].metrics.auc == pytest.approx(0.5)
    assert {standing.metrics.n for standing in found.values()} == {len(rows)}
    assert sum(b.n for b in found["baseline"].calibration) == len(rows)


def test_a_contender_without_probabilities_stops_the_contest(table: TableVersion, recipe: Recipe) -> None:
    with pytest.raises(MetricError, match="no probability"):
        contest(recipe, table=table, window=recipe.gate_window, contenders={"broken": Always(float("nan"))})


def test_the_baseline_is_the_same_whatever_window_it_is_measured_on(table: TableVersion, recipe: Recipe) -> None:
    gate = recipe.gate_window
    shorter = replace(recipe, gate_window=Window(gate.start, gate.start + timedelta(days=2)))
    rows = evaluation_rows(table, recipe, gate).columns
    one, other = (fit_baseline(r, table=table).baseline.predict_proba(rows) for r in (recipe, shorter))
    assert np.array_equal(one, other)
