"""Training and evaluation rows: one window of one version of a Delta table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from numpy.typing import NDArray

from ray_jobs.errors import DatasetError
from ray_jobs.recipe import Recipe, Window


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
        """Every `of`-th row from the `rank`-th on; all shards have the same length, so up to `of - 1` rows are left out."""
        part = slice(rank, len(self) // of * of, of)
        return Rows({name: column[part] for name, column in self.columns.items()}, self.labels[part])


def training_rows(table: TableVersion, recipe: Recipe, window: Window) -> Rows:
    """The rows of a part of the train window whose label was known by the train window's end."""
    return _read(table, recipe, window, known_before=recipe.train_window)


def evaluation_rows(table: TableVersion, recipe: Recipe, window: Window) -> Rows:
    """The labelled rows of a window after training."""
    return _read(table, recipe, window, known_before=None)


def _read(table: TableVersion, recipe: Recipe, window: Window, *, known_before: Window | None) -> Rows:
    """Reads only the columns that the recipe names.

    Raises:
        DatasetError: if the version or a column does not exist, or if no labelled row is in the window.
    """
    dataset = _open(table)
    needed = [*recipe.inputs, recipe.label, recipe.time_column, recipe.row_key]
    filters = [recipe.known_at_column] if known_before else []
    absent = [name for name in (*needed, *filters) if name not in dataset.schema.names]
    if absent:
        raise DatasetError(
            object=f"table {table}",
            observed=f"no column {', '.join(absent)}",
            expected=f"the columns of recipe {recipe.model_name}",
            next_step="build the training set with the recipe's feature service, or correct the recipe",
        )
    wanted = _within(recipe.time_column, window) & ds.field(recipe.label).is_valid()
    if known_before:
        wanted &= ds.field(recipe.known_at_column) <= pa.scalar(known_before.end, pa.timestamp("us", tz="UTC"))
    found = dataset.to_table(columns=needed, filter=wanted)
    if not found.num_rows:
        raise DatasetError(
            object=f"table {table}",
            observed=f"no labelled row with {recipe.time_column} in {window}",
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
    except (TableNotFoundError, OSError, ValueError) as error:
        raise DatasetError(
            object=f"table {table}",
            observed=f"{type(error).__name__}: {error}",
            expected="a committed version of a Delta table",
            next_step="materialize the training set, or correct the version",
        ) from None
    return delta.to_pyarrow_dataset()


def _within(column: str, window: Window) -> ds.Expression:
    start, end = (pa.scalar(instant, pa.timestamp("us", tz="UTC")) for instant in (window.start, window.end))
    return (ds.field(column) >= start) & (ds.field(column) < end)


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    """Text becomes objects with None, everything else float64 with NaN."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.to_numpy()
    return column.cast(pa.float64()).to_numpy()
