"""Training and evaluation rows: one window of one version of a Delta table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from numpy.typing import NDArray

from ray_jobs.core.errors import DatasetError
from ray_jobs.tabular.recipe import Recipe, Window


@dataclass(frozen=True, slots=True)
class TableVersion:
    """One version of a Delta table; `storage_options` are delta-rs's (endpoints and keys of an object store)."""

    uri: str
    version: int
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"{self.uri}@{self.version}"


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled rows in the order of time: input columns by name, and `labels` [rows] of 0.0 and 1.0."""

    columns: Mapping[str, NDArray[Any]]
    labels: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def shard(self, rank: int, of: int) -> Rows:
        """Every `of`-th row from the `rank`-th on; all are equally long, so up to `of - 1` rows are left out."""
        part = slice(rank, len(self) // of * of, of)
        return Rows({name: column[part] for name, column in self.columns.items()}, self.labels[part])


def training_rows(table: TableVersion, recipe: Recipe, part: Literal["fit", "holdout", "all"]) -> Rows:
    """The train window's rows whose label was known by its end.

    Args:
        table: What to read; only the columns that the recipe names.
        recipe: Says which days are held out.
        part: "fit" for weights and encoders, "holdout" for calibration, or both.

    Raises:
        DatasetError: if the version or a column does not exist, or if there is no such row.
    """
    window = recipe.train_window
    known = ds.field(recipe.known_at_column) <= _instant(window.end)
    found = _read(table, recipe, window, also=known, needs=recipe.known_at_column)
    if part != "all":
        found = found.filter(_held_out(found.column(recipe.time_column), recipe, part))
    return _rows(found, recipe, f"{table}, {part} part of {window}")


def evaluation_rows(table: TableVersion, recipe: Recipe, window: Window) -> Rows:
    """The labelled rows of a window after training; raises as `training_rows` does."""
    return _rows(_read(table, recipe, window), recipe, f"{table}, {window}")


def _read(
    table: TableVersion, recipe: Recipe, window: Window, *, also: ds.Expression | None = None, needs: str | None = None
) -> pa.Table:
    dataset = _open(table)
    columns = [*recipe.inputs, recipe.label, recipe.time_column, recipe.row_key]
    absent = [name for name in [*columns, *filter(None, [needs])] if name not in dataset.schema.names]
    if absent:
        raise DatasetError(
            object=f"table {table}",
            observed=f"no column {', '.join(absent)}",
            expected=f"the columns of recipe {recipe.model_name}",
            next_step="build the training set with the recipe's feature service, or correct the recipe",
        )
    time = ds.field(recipe.time_column)
    wanted = (time >= _instant(window.start)) & (time < _instant(window.end)) & ds.field(recipe.label).is_valid()
    return dataset.to_table(columns=columns, filter=wanted if also is None else wanted & also)


def _held_out(times: pa.ChunkedArray, recipe: Recipe, part: Literal["fit", "holdout"]) -> pa.Array:
    """Marks the rows of a part. Whole days, since flights of one day are delayed by the same weather."""
    start = np.datetime64(recipe.train_window.start.astimezone(UTC).replace(tzinfo=None), "us")
    days = (times.to_numpy().astype("datetime64[us]") - start) // np.timedelta64(1, "D")
    held_out = days % recipe.holdout_every_days == recipe.holdout_every_days - 1
    return pa.array(held_out if part == "holdout" else ~held_out)


def _rows(found: pa.Table, recipe: Recipe, name: str) -> Rows:
    if not found.num_rows:
        raise DatasetError(
            object=f"rows of {name}",
            observed="no labelled row",
            expected="at least one",
            next_step="correct the recipe's windows, or build the training set for these days",
        )
    # Rewriting a table's files must not change what a seed leads to.
    found = found.sort_by([(recipe.time_column, "ascending"), (recipe.row_key, "ascending")])
    columns = {name: _array(found.column(name)) for name in recipe.inputs}
    return Rows(columns, found.column(recipe.label).to_numpy().astype(np.float32))


def _open(table: TableVersion) -> ds.Dataset:
    try:
        delta = DeltaTable(table.uri, version=table.version, storage_options=dict(table.storage_options) or None)
    except (DeltaError, OSError, ValueError) as error:
        raise DatasetError(
            object=f"table {table}",
            observed=f"{type(error).__name__}: {error}",
            expected="a committed version of a Delta table",
            next_step="materialize the training set, or correct the version",
        ) from None
    return delta.to_pyarrow_dataset()


def _instant(instant: datetime) -> pa.Scalar:
    return pa.scalar(instant, pa.timestamp("us", tz="UTC"))


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    """Text becomes objects with None, everything else float64 with NaN."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.to_numpy()
    return column.cast(pa.float64()).to_numpy()
