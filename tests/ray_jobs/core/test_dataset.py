"""Rows are read from one version and one window, in an order that the files do not change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines.models.program import Fold, Window
from ray_jobs.core.dataset import DatasetVersion, evaluation_rows, training_rows
from ray_jobs.core.errors import DatasetError
from ray_jobs.tabular.recipe import Recipe
from tests.instants import instants


def test_fit_and_holdout_part_together_have_as_many_rows_as_the_train_window(
    table: DatasetVersion, recipe: Recipe
) -> None:
    fit, holdout, everything = (training_rows(table, recipe, part) for part in ("fit", "holdout", "all"))
    assert len(fit) + len(holdout) == len(everything)
    assert 0.1 < len(holdout) / len(everything) < 0.4


def _asked_within(flights: pa.Table, window: Window) -> list[dict[str, Any]]:
    return [row for row in flights.to_pylist() if window.start <= row["event_timestamp"] < window.end]


def test_a_label_known_after_the_end_of_the_train_window_is_not_used(
    table: DatasetVersion, recipe: Recipe, flights: pa.Table
) -> None:
    rows = _asked_within(flights, instants(recipe.train_window))
    labelled = [row for row in rows if row["arrived_late"] is not None]
    known = [row for row in labelled if row["outcome_known_at"] <= instants(recipe.train_window).end]
    assert len(known) < len(labelled) < len(rows)
    assert len(training_rows(table, recipe, "all")) == len(known)


def test_rows_without_a_label_are_no_evaluation_rows(table: DatasetVersion, recipe: Recipe, flights: pa.Table) -> None:
    labels = [row["arrived_late"] for row in _asked_within(flights, instants(recipe.gate_window))]
    assert None in labels
    assert len(evaluation_rows(table, recipe, recipe.gate_window)) == sum(label is not None for label in labels)


def test_the_end_of_a_window_is_excluded(table: DatasetVersion, recipe: Recipe) -> None:
    middle = instants(recipe.gate_window).start + timedelta(days=3)
    halves = [Window(instants(recipe.gate_window).start, middle), Window(middle, instants(recipe.gate_window).end)]
    assert sum(len(evaluation_rows(table, recipe, half)) for half in halves) == len(
        evaluation_rows(table, recipe, recipe.gate_window)
    )


def test_shuffled_files_give_the_same_rows_in_the_same_order(
    table: DatasetVersion, recipe: Recipe, flights: pa.Table, tmp_path: Path
) -> None:
    shuffled = flights.take(pa.array(np.random.default_rng(1).permutation(flights.num_rows)))
    uri = str(tmp_path / "shuffled")
    for start in range(0, shuffled.num_rows, 6000):
        write_deltalake(uri, shuffled.slice(start, 6000), mode="append")
    expected = training_rows(table, recipe, "fit")
    rows = training_rows(DatasetVersion(uri, 3), recipe, "fit")
    assert np.array_equal(rows.labels, expected.labels)
    for name in ("dest", "distance"):
        assert np.array_equal(rows.columns[name], expected.columns[name])


def test_an_older_version_is_read_as_it_was_written(recipe: Recipe, flights: pa.Table, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    write_deltalake(uri, flights)
    before = len(training_rows(DatasetVersion(uri, 0), recipe, "all"))
    write_deltalake(uri, flights.slice(0, 1000), mode="overwrite")
    assert len(training_rows(DatasetVersion(uri, 0), recipe, "all")) == before
    assert len(training_rows(DatasetVersion(uri, 1), recipe, "all")) < 1000


def test_a_missing_column_raises_an_error_with_its_name(table: DatasetVersion, recipe: Recipe) -> None:
    with pytest.raises(DatasetError, match="humidity"):
        training_rows(table, replace(recipe, numeric=("humidity",)), "fit")


def test_a_missing_version_raises_an_error_with_its_number(table: DatasetVersion, recipe: Recipe) -> None:
    with pytest.raises(DatasetError, match="@99"):
        training_rows(DatasetVersion(table.uri, 99), recipe, "fit")


def test_a_missing_table_raises_an_error_with_its_path(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere"):
        training_rows(DatasetVersion(str(tmp_path / "nowhere"), 0), recipe, "fit")


def test_a_window_without_rows_is_refused(table: DatasetVersion, recipe: Recipe) -> None:
    year = timedelta(days=365)
    later = Window(instants(recipe.gate_window).start + year, instants(recipe.gate_window).end + year)
    with pytest.raises(DatasetError, match="no labelled row"):
        evaluation_rows(table, recipe, later)


def test_evaluation_rows_have_the_columns_of_a_model_of_another_recipe_too(
    table: DatasetVersion, recipe: Recipe
) -> None:
    fewer = replace(recipe, numeric=("distance",))
    rows = evaluation_rows(table, fewer, recipe.gate_window, further=recipe.inputs)
    whole = evaluation_rows(table, recipe, recipe.gate_window)
    assert rows.columns.keys() == whole.columns.keys()
    assert np.array_equal(rows.columns["tail"], whole.columns["tail"], equal_nan=True)
    with pytest.raises(DatasetError, match="no column gone.*the columns of recipe late, and of the champion"):
        evaluation_rows(table, fewer, recipe.gate_window, further=("gone",))


def test_a_fold_selects_by_the_values_of_its_column_in_the_order_of_the_keys(recipe: Recipe, tmp_path: Path) -> None:
    rows = {
        "key": list("hgfedcba"),
        "fold": ["train", "gate", "calibrate", "train"] * 2,
        "x": range(8),
        "y": [None, 0, 1, 0, 1, 0, 1, 0],
    }
    write_deltalake(tmp_path, pa.table(rows))
    table = DatasetVersion(str(tmp_path), 0)
    folds = replace(
        recipe, row_key="key", label="y", numeric=("x",), categorical=(), differences=(), time_column=None,
        known_at_column=None, train_window=Fold("fold", ("train",), holdout=("calibrate",)), gate_window=Fold("fold", ("gate",)),
    )  # fmt: skip
    read = {part: training_rows(table, folds, part).columns["x"].tolist() for part in ("fit", "holdout", "all")}
    assert read == {"fit": [7, 4, 3], "holdout": [6, 2], "all": [7, 6, 4, 3, 2]}
    assert evaluation_rows(table, folds, folds.gate_window).columns["x"].tolist() == [5, 1]


def test_a_table_without_the_column_of_the_folds_raises_an_error(table: DatasetVersion, recipe: Recipe) -> None:
    folds = replace(recipe, train_window=Fold("part", ("a",), holdout=("b",)), gate_window=Fold("part", ("c",)))
    with pytest.raises(DatasetError, match="no column part"):
        training_rows(table, folds, "fit")
    with pytest.raises(DatasetError, match="no column part"):
        evaluation_rows(table, folds, folds.gate_window)
