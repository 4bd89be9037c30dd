"""Writing a run's input: the rows of a table version stream through the program once, into buckets sorted by key."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipelines.machine import files
from ray_jobs.core.dataset import (
    DatasetVersion,
    Rows,
    Selection,
    TrainingPart,
    count_training_rows,
    training_batches,
)
from ray_jobs.core.errors import DatasetError
from ray_jobs.core.sample import key_hash
from ray_jobs.core.shards import FORMAT, MANIFEST, ROW_KEY, Shards, bucket_file

#: A bucket of a table with very many rows is larger: a process may open about a thousand files.
ROWS_PER_BUCKET, MOST_BUCKETS = 65_536, 512


class MakesExamples(Protocol):
    """The part of a training program that is needed here."""

    def examples(self, rows: Rows) -> pa.Table: ...


def write(
    program: MakesExamples,
    table: DatasetVersion,
    selection: Selection,
    part: TrainingPart,
    folder: Path,
    *,
    rows_per_bucket: int = ROWS_PER_BUCKET,
) -> Shards:
    """Writes the examples of a part of the training rows; where the folder holds them already, opens them.

    The folder appears when all is written.

    Args:
        program: Turns rows into examples.
        table: The training set.
        selection: Says which rows, by its recipe.
        part: Of the rows to train on.
        folder: On storage that all nodes reach as this path.
        rows_per_bucket: About so many rows are shuffled, and sorted, in memory.

    Raises:
        DatasetError: if the version or a column does not exist, if there is no such row, or if two rows have one key.
    """
    if folder.exists():
        return Shards.open(folder)
    wanted = math.ceil(count_training_rows(table, selection) / rows_per_bucket)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _divide(program, table, selection, part, partial, buckets=min(max(wanted, 1), MOST_BUCKETS))
    unsorted = sorted(partial.iterdir())
    if not unsorted:
        raise DatasetError(
            object=f"rows of {table}, {part} part of {selection.train_window}",
            observed="no labelled row",
            expected="at least one",
            next_step="correct the recipe's windows, or build the training set for these days",
        )
    rows = [_sort(path, bucket_file(partial, number), table, selection) for number, path in enumerate(unsorted)]
    sizes = [bucket_file(partial, number).stat().st_size for number in range(len(rows))]
    files.replace(partial / MANIFEST, json.dumps({"format": FORMAT, "rows": rows, "bytes": sizes}))
    partial.rename(folder)
    return Shards(folder, tuple(rows))


def _divide(
    program: MakesExamples,
    table: DatasetVersion,
    selection: Selection,
    part: TrainingPart,
    folder: Path,
    *,
    buckets: int,
) -> None:
    """Appends the examples to the file of their bucket, as they come."""
    writers: dict[int, Any] = {}
    with contextlib.ExitStack() as stack:
        for rows, keys in training_batches(table, selection, part):
            examples = program.examples(rows).append_column(ROW_KEY, keys)
            bucket_of_row = key_hash(keys) % buckets
            examples = examples.take(pa.array(np.argsort(bucket_of_row, kind="stable")))
            start = 0
            for bucket, number in enumerate(np.bincount(bucket_of_row, minlength=buckets).tolist()):
                if number and bucket not in writers:
                    path = str(folder / f"{bucket:05d}.unsorted")
                    writers[bucket] = stack.enter_context(pa.ipc.new_stream(path, examples.schema))
                if number:
                    writers[bucket].write_table(examples.slice(start, number))
                start += number


def _sort(path: Path, target: Path, table: DatasetVersion, selection: Selection) -> int:
    """Sorts a bucket by key into its file, and removes the unsorted one; returns the number of rows."""
    with pa.memory_map(str(path)) as source:
        examples = pa.ipc.open_stream(source).read_all().sort_by(ROW_KEY).combine_chunks()
    keys = examples.column(ROW_KEY)
    if keys.null_count or len(keys.unique()) < len(keys):
        repeated = [entry["values"] for entry in keys.value_counts().to_pylist() if entry["counts"] > 1]
        raise DatasetError(
            object=f"column {selection.row_key} of table {table}",
            observed="a row without a key" if keys.null_count else f"several rows with the key {repeated[0]}",
            expected="one row of each key",
            next_step="correct the recipe's row_key, or the table",
        )
    with pa.ipc.new_file(str(target), examples.schema) as writer:
        writer.write_table(examples)
    path.unlink()
    return examples.num_rows
