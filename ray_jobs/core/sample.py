"""A sample of the training rows, for what a program fits before weights are trained."""

from __future__ import annotations

import zlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_jobs.core.dataset import (
    DatasetVersion,
    Rows,
    Selection,
    TrainingPart,
    count_training_rows,
    training_batches,
    training_rows,
)

AT_MOST = 1_000_000


def sampled_rows(table: DatasetVersion, selection: Selection, part: TrainingPart, *, at_most: int = AT_MOST) -> Rows:
    """The rows of the part; of a table with more rows than `at_most`, about so many, in the order of their keys.

    A hash of its key decides whether a row is in the sample: neither a seed nor the table's files do.

    Raises:
        DatasetError: as `training_rows` does.
    """
    rows = count_training_rows(table, selection)
    if rows <= at_most:
        return training_rows(table, selection, part)
    limit = 2**32 * at_most // rows
    parts: list[Rows] = []
    keys: list[pa.Array] = []
    for batch, batch_keys in training_batches(table, selection, part):
        chosen = key_hash(batch_keys) < limit
        parts.append(_chosen(batch, chosen))
        keys.append(batch_keys.filter(pa.array(chosen)))
    if not parts:
        return training_rows(table, selection, part)  # raises: no row
    joined = Rows(
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        np.concatenate([part.labels for part in parts]),
    )
    order = pa.chunked_array(keys).combine_chunks().to_numpy(zero_copy_only=False).argsort(kind="stable")
    return _chosen(joined, order)


def key_hash(keys: pa.Array) -> NDArray[np.int64]:
    """A number from 0 to 2³² - 1 for each key, the same in every process and release: the CRC-32 of its text."""
    texts = keys.cast(pa.string()).cast(pa.binary()).to_pylist()
    return np.array([zlib.crc32(text or b"") for text in texts], dtype=np.int64)


def _chosen(rows: Rows, places: NDArray) -> Rows:
    return Rows({name: column[places] for name, column in rows.columns.items()}, rows.labels[places])
