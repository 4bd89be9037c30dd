"""Training and evaluation rows: one window of one version of a Delta table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from numpy.typing import NDArray

from pipelines.models.program import Fold, Part, RecipeError
from ray_jobs.core.errors import DatasetError

#: Rows by column: equally long sequences by name. None, in a column or instead of one, stands for missing values.
Columns = Mapping[str, Sequence[Any] | NDArray[Any] | None]
#: Of the rows to train on: those that weights are fitted on, those that are held out, or both.
TrainingPart = Literal["fit", "holdout", "all"]


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """One version of a Delta table; `storage_options` are delta-rs's (endpoints and keys of an object store)."""

    uri: str
    version: int
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"{self.uri}@{self.version}"


class Selection(Protocol):
    """What a recipe says about the rows to read, as `ray_jobs.core.recipe.TrainingRecipe` explains it."""

    @property
    def model_name(self) -> str: ...

    @property
    def columns_read(self) -> tuple[str, ...]: ...

    @property
    def label(self) -> str: ...

    @property
    def row_key(self) -> str: ...

    @property
    def time_column(self) -> str | None: ...

    @property
    def known_at_column(self) -> str | None: ...

    @property
    def train_window(self) -> Part: ...

    @property
    def holdout_every_days(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled rows in the order of time, then of their keys: columns by name, `labels` [rows] of texts or float64."""

    columns: Mapping[str, NDArray[Any]]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)


def training_rows(table: DatasetVersion, selection: Selection, part: TrainingPart) -> Rows:
    """The rows of the train window whose label was known by the window's end, or those of the fold to train on.

    Args:
        table: The table to read.
        selection: Names the columns, the window, and the days or values that are held out.
        part: "fit" for weights and encoders, "holdout" for calibration, "all" for both.

    Raises:
        DatasetError: if the version or a column does not exist, or if there is no such row.
    """
    condition, needs = _of_part(selection, part)
    rows = _in_part(_read(table, selection, condition, needs=needs), selection, part)
    return _rows(rows, selection, f"{table}, {part} part of {selection.train_window}")


def training_batches(
    table: DatasetVersion, selection: Selection, part: TrainingPart, *, rows_at_once: int = 131_072
) -> Iterator[tuple[Rows, pa.Array]]:
    """The rows of `training_rows` in parts, with the keys of each, in an order that the table's files decide.

    Memory is bounded by `rows_at_once`, whatever the table's size. Arguments and errors as in `training_rows`; raises
    DatasetError only for an absent version or column.
    """
    condition, needs = _of_part(selection, part)
    dataset = _open(table)
    batches = dataset.to_batches(
        columns=_columns(dataset, table, selection, needs=needs),
        filter=condition & ds.field(selection.label).is_valid(),
        batch_size=rows_at_once,
        batch_readahead=1,
        fragment_readahead=1,
    )
    for batch in batches:
        rows = _in_part(pa.Table.from_batches([batch]), selection, part)
        if rows.num_rows:
            keys = rows.column(selection.row_key).combine_chunks()
            yield _unordered(rows, selection), keys


def training_columns(
    table: DatasetVersion, selection: Selection, columns: Sequence[str], *, labelled: bool = True
) -> Iterator[pa.Table]:
    """Some columns of the training rows, or of those of the window that have no label yet, in parts of bounded size.

    Raises:
        DatasetError: as `training_rows` does, but not for a table without such rows.
    """
    window = selection.train_window
    condition, needs = _of_part(selection, "all") if labelled else (_condition(window, selection), ())
    label = ds.field(selection.label)
    dataset = _open(table)
    _columns(dataset, table, selection, needs=needs, further=columns)
    within = condition & (label.is_valid() if labelled else label.is_null())
    for batch in dataset.to_batches(columns=list(columns), filter=within, batch_readahead=1, fragment_readahead=1):
        yield pa.Table.from_batches([batch])


def evaluation_columns(table: DatasetVersion, selection: Selection, window: Part, columns: Sequence[str]) -> pa.Table:
    """Some columns of the labelled rows of a window or fold; raises as `training_columns` does."""
    dataset = _open(table)
    _columns(dataset, table, selection, further=columns)
    condition = _condition(window, selection) & ds.field(selection.label).is_valid()
    return dataset.to_table(columns=list(columns), filter=condition)


def count_training_rows(table: DatasetVersion, selection: Selection) -> int:
    """The rows of the train window, held-out ones included; reads only the columns that select them."""
    condition, needs = _of_part(selection, "all")
    dataset = _open(table)
    _columns(dataset, table, selection, needs=needs)
    return dataset.count_rows(filter=condition & ds.field(selection.label).is_valid())


def evaluation_rows(table: DatasetVersion, selection: Selection, window: Part, further: Sequence[str] = ()) -> Rows:
    """The labelled rows of a window or fold that nothing was trained on; raises as `training_rows` does.

    Args:
        table: The table to read.
        selection: Names the columns.
        window: Which rows.
        further: Columns that a model of another recipe reads.
    """
    needs = (window.column,) if isinstance(window, Fold) else ()
    rows = _read(table, selection, _condition(window, selection), further=further, needs=needs)
    return _rows(rows, selection, f"{table}, {window}", further)


def _read(
    table: DatasetVersion,
    selection: Selection,
    condition: ds.Expression,
    *,
    needs: Sequence[str] = (),
    further: Sequence[str] = (),
) -> pa.Table:
    """Reads the labelled rows that fulfil a condition; `needs` are the columns that it alone reads."""
    dataset = _open(table)
    columns = _columns(dataset, table, selection, needs=needs, further=further)
    return dataset.to_table(columns=columns, filter=condition & ds.field(selection.label).is_valid())


def _columns(
    dataset: ds.Dataset,
    table: DatasetVersion,
    selection: Selection,
    *,
    needs: Sequence[str] = (),
    further: Sequence[str] = (),
) -> list[str]:
    """The columns to read; raises DatasetError if one of them is absent."""
    columns = list(dict.fromkeys((*selection.columns_read, *further, selection.label, *_order(selection))))
    absent = [name for name in (*columns, *needs) if name not in dataset.schema.names]
    if absent:
        raise DatasetError(
            object=f"table {table}",
            observed=f"no column {', '.join(absent)}",
            expected=f"the columns of recipe {selection.model_name}" + (", and of the champion" if further else ""),
            next_step="build the training set with the recipe's feature service, or correct the recipe",
        )
    return columns


def _of_part(selection: Selection, part: TrainingPart) -> tuple[ds.Expression, tuple[str, ...]]:
    """The condition of the rows to train on, and the columns that it alone reads; `_in_part` tells held-out days."""
    window = selection.train_window
    if isinstance(window, Fold):
        values = {"fit": window.values, "holdout": window.holdout, "all": (*window.values, *window.holdout)}[part]
        return ds.field(window.column).isin(values), (window.column,)
    known_at = _named(selection, "known_at_column")
    return _condition(window, selection) & (ds.field(known_at) <= _instant(window.end)), (known_at,)


def _condition(window: Part, selection: Selection) -> ds.Expression:
    if isinstance(window, Fold):
        return ds.field(window.column).isin(window.values)
    time = ds.field(_named(selection, "time_column"))
    return (time >= _instant(window.start)) & (time < _instant(window.end))


def _named(selection: Selection, name: Literal["time_column", "known_at_column"]) -> str:
    """The column by which a window selects; raises RecipeError for a recipe that names none."""
    column = getattr(selection, name)
    if column is None:
        raise RecipeError(
            object=f"recipe of {selection.model_name}: {name}",
            observed="none, and a window of instants",
            expected="the training set's column of instants, or a Fold instead of a Window",
            next_step="name the column in the recipe",
        )
    return column


def _order(selection: Selection) -> tuple[str, ...]:
    return tuple(filter(None, (selection.time_column, selection.row_key)))


def _in_part(rows: pa.Table, selection: Selection, part: TrainingPart) -> pa.Table:
    """The rows that are in the part. Whole days are held out: rows of one day share causes, such as a holiday."""
    window = selection.train_window
    if isinstance(window, Fold) or part == "all":
        return rows
    times = rows.column(_named(selection, "time_column"))
    start = np.datetime64(window.start.astimezone(UTC).replace(tzinfo=None), "us")
    days = (times.to_numpy().astype("datetime64[us]") - start) // np.timedelta64(1, "D")
    held_out = days % selection.holdout_every_days == selection.holdout_every_days - 1
    return rows.filter(pa.array(held_out if part == "holdout" else ~held_out))


def _rows(table: pa.Table, selection: Selection, name: str, further: Sequence[str] = ()) -> Rows:
    if not table.num_rows:
        raise DatasetError(
            object=f"rows of {name}",
            observed="no labelled row",
            expected="at least one",
            next_step="correct the recipe's windows, or build the training set for these days",
        )
    # The order must not depend on the table's files: the same seed gives the same model after they are rewritten.
    table = table.sort_by([(name, "ascending") for name in _order(selection)])
    return _unordered(table, selection, further)


def _unordered(table: pa.Table, selection: Selection, further: Sequence[str] = ()) -> Rows:
    columns = {name: _array(table.column(name)) for name in (*selection.columns_read, *further)}
    return Rows(columns, _array(table.column(selection.label)))


def _open(table: DatasetVersion) -> ds.Dataset:
    try:
        delta = DeltaTable(table.uri, version=table.version, storage_options=dict(table.storage_options) or None)
    except (DeltaError, OSError, ValueError) as error:
        raise DatasetError(
            object=f"table {table}",
            observed=f"{type(error).__name__}: {error}",
            expected="a committed version of a Delta table",
            next_step=f"goldpath materialize {'/'.join(table.uri.split('/')[-3:])}, or correct the version",
        ) from None
    return delta.to_pyarrow_dataset()


def _instant(instant: datetime) -> pa.Scalar:
    return pa.scalar(instant, pa.timestamp("us", tz="UTC"))


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    """Text as objects with None, instants as datetime64 in UTC, every other type as float64 with NaN."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.to_numpy()
    if pa.types.is_timestamp(column.type):
        return column.to_numpy().astype("datetime64[us]")
    return column.cast(pa.float64()).to_numpy()
