"""The baseline learns something, from the train window alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from ray_jobs.core.dataset import TableVersion, evaluation_rows
from ray_jobs.tabular.baseline import fit_baseline
from ray_jobs.tabular.recipe import Recipe


def test_the_baseline_orders_flights_better_than_chance(table: TableVersion, recipe: Recipe) -> None:
    found = fit_baseline(recipe, table=table).metrics
    assert found.auc > 0.6
    assert found.n == len(evaluation_rows(table, recipe, recipe.gate_window))


def test_nothing_outside_the_train_window_reaches_the_baseline(
    table: TableVersion, recipe: Recipe, flights: pa.Table, tmp_path: Path
) -> None:
    changed = flights.to_pylist()
    for row in changed:
        if row["event_timestamp"] >= recipe.train_window.end:
            row |= {"distance": row["distance"] * 1000, "carrier": "ZZ"}
    write_deltalake(str(tmp_path / "table"), pa.Table.from_pylist(changed, schema=flights.schema))
    rows = evaluation_rows(table, recipe, recipe.gate_window).columns
    expected = fit_baseline(recipe, table=table).baseline.predict_proba(rows)
    found = fit_baseline(recipe, table=TableVersion(str(tmp_path / "table"), 0)).baseline.predict_proba(rows)
    assert np.array_equal(found, expected)
