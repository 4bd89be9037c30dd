"""Rows are read from one version, one window, and in one order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ray_jobs.core.dataset import TableVersion, evaluation_rows, training_rows
from ray_jobs.core.errors import DatasetError
from ray_jobs.tabular.recipe import Recipe, Window


def test_the_parts_of_the_train_window_are_disjoint_and_complete(table: TableVersion, recipe: Recipe) -> None:
    fit, holdout, everything = (training_rows(table, recipe, part) for part in ("fit", "holdout", "all"))
    assert len(fit) + len(holdout) == len(everything)
    assert 0.1 < len(holdout) / len(everything) < 0.4


def _asked_within(flights: pa.Table, window: Window) -> list[dict[str, Any]]:
    return [row for row in flights.to_pylist() if window.start <= row["event_timestamp"] < window.end]


def test_a_label_that_was_not_known_by_the_end_of_the_train_window_is_not_used(
    table: TableVersion, recipe: Recipe, flights: pa.Table
) -> None:
    rows = _asked_within(flights, recipe.train_window)
    labelled = [row for row in rows if row["arrived_late"] is not None]
    known = [row for row in labelled if row["outcome_known_at"] <= recipe.train_window.end]
    assert len(known) < len(labelled) < len(rows)
    assert len(training_rows(table, recipe, "all")) == len(known)


def test_unlabelled_flights_are_not_measured(table: TableVersion, recipe: Recipe, flights: pa.Table) -> None:
    labels = [row["arrived_late"] for row in _asked_within(flights, recipe.gate_window)]
    assert None in labels
    assert len(evaluation_rows(table, recipe, recipe.gate_window)) == sum(label is not None for label in labels)


def test_a_window_ends_before_its_end(table: TableVersion, recipe: Recipe) -> None:
    middle = recipe.gate_window.start + timedelta(days=3)
    halves = [Window(recipe.gate_window.start, middle), Window(middle, recipe.gate_window.end)]
    assert sum(len(evaluation_rows(table, recipe, half)) for half in halves) == len(
        evaluation_rows(table, recipe, recipe.gate_window)
    )


def test_the_order_of_rows_does_not_follow_the_files(
    table: TableVersion, recipe: Recipe, flights: pa.Table, tmp_path: Path
) -> None:
    shuffled = flights.take(pa.array(np.random.default_rng(1).permutation(flights.num_rows)))
    uri = str(tmp_path / "shuffled")
    for start in range(0, shuffled.num_rows, 6000):
        write_deltalake(uri, shuffled.slice(start, 6000), mode="append")
    expected = training_rows(table, recipe, "fit")
    found = training_rows(TableVersion(uri, 3), recipe, "fit")
    assert np.array_equal(found.labels, expected.labels)
    for name in ("dest", "distance"):
        assert np.array_equal(found.columns[name], expected.columns[name])


def test_a_version_is_read_as_it_was(recipe: Recipe, flights: pa.Table, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    write_deltalake(uri, flights)
    before = len(training_rows(TableVersion(uri, 0), recipe, "all"))
    write_deltalake(uri, flights.slice(0, 1000), mode="overwrite")
    assert len(training_rows(TableVersion(uri, 0), recipe, "all")) == before
    assert len(training_rows(TableVersion(uri, 1), recipe, "all")) < 1000


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_shards_are_equally_long_and_share_no_row(table: TableVersion, recipe: Recipe, workers: int) -> None:
    rows = training_rows(table, recipe, "fit")
    shards = [rows.shard(rank, workers) for rank in range(workers)]
    assert {len(shard) for shard in shards} == {len(rows) // workers}
    merged = np.stack([shard.columns["distance"] for shard in shards], axis=1).ravel()
    assert np.array_equal(merged, rows.columns["distance"][: len(merged)])


def test_a_missing_column_is_named(table: TableVersion, recipe: Recipe) -> None:
    with pytest.raises(DatasetError, match="humidity"):
        training_rows(table, replace(recipe, numeric=("humidity",)), "fit")


def test_a_missing_version_is_refused(table: TableVersion, recipe: Recipe) -> None:
    with pytest.raises(DatasetError, match="@99"):
        training_rows(TableVersion(table.uri, 99), recipe, "fit")


def test_a_missing_table_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere"):
        training_rows(TableVersion(str(tmp_path / "nowhere"), 0), recipe, "fit")


def test_a_window_without_rows_is_refused(table: TableVersion, recipe: Recipe) -> None:
    year = timedelta(days=365)
    later = Window(recipe.gate_window.start + year, recipe.gate_window.end + year)
    with pytest.raises(DatasetError, match="no labelled row"):
        evaluation_rows(table, recipe, later)
