"""The baseline learns from the train window alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from pipelines.models.program import Window
from ray_jobs.core.dataset import DatasetVersion, evaluation_rows, training_rows
from ray_jobs.tabular.baseline import fit_baselines
from ray_jobs.tabular.metrics_binary import evaluate
from ray_jobs.tabular.recipe import Recipe
from tests.instants import instants


def test_the_baseline_orders_rows_better_than_chance(table: DatasetVersion, recipe: Recipe) -> None:
    rows = evaluation_rows(table, recipe, recipe.gate_window)
    probabilities = fit_baselines(recipe, training_rows(table, recipe, "all"))["baseline"].predict(rows.columns)
    assert evaluate(rows.labels, probabilities).metrics["auc"] > 0.6


def test_another_gate_window_gives_the_same_baseline(table: DatasetVersion, recipe: Recipe) -> None:
    gate = instants(recipe.gate_window)
    shorter = replace(recipe, gate_window=Window(gate.start, gate.start + timedelta(days=2)))
    rows = evaluation_rows(table, recipe, gate).columns
    one, other = (fit_baselines(r, training_rows(table, r, "all"))["baseline"].predict(rows) for r in (recipe, shorter))
    assert np.array_equal(one, other)


def test_changed_rows_after_the_train_window_do_not_change_the_baseline(
    table: DatasetVersion, recipe: Recipe, flights: pa.Table, tmp_path: Path
) -> None:
    changed = flights.to_pylist()
    for row in changed:
        if row["event_timestamp"] >= instants(recipe.train_window).end:
            row |= {"distance": row["distance"] * 1000, "carrier": "ZZ"}
    write_deltalake(str(tmp_path / "table"), pa.Table.from_pylist(changed, schema=flights.schema))
    rows = evaluation_rows(table, recipe, recipe.gate_window).columns
    expected = fit_baselines(recipe, training_rows(table, recipe, "all"))["baseline"].predict(rows)
    probabilities = fit_baselines(recipe, training_rows(DatasetVersion(str(tmp_path / "table"), 0), recipe, "all"))[
        "baseline"
    ].predict(rows)
    assert np.array_equal(probabilities, expected)
