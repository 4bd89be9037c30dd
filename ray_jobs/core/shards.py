"""A run's input: the training rows as examples, in files that each epoch reads in another order.

The rows of a table version stream through the program once, and are divided into buckets by a hash of their keys, each
sorted by key. What an epoch reads follows from the rows, seed and epoch alone: neither the table's files nor the number
of workers changes it. Workers map the buckets into memory, so that its use follows from a bucket's size, not from the
table's.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_jobs.core.errors import DatasetError

MANIFEST = "shards.json"
FORMAT = "goldpath.shards.v1"
#: The column of examples that names their row, as the table holds it.
ROW_KEY = "_row_key"
#: A worker copies so many rows of a bucket at once.
ROWS_AT_ONCE = 8_192


@dataclass(frozen=True, slots=True)
class Shards:
    """The examples of a part of the training rows: `buckets` are the numbers of rows of the files, at least one."""

    folder: Path
    buckets: tuple[int, ...]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The examples that `write` wrote; raises DatasetError if a file is absent or not as long as it was."""
        path = folder / MANIFEST
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}")
            rows, sizes = tuple(document["rows"]), document["bytes"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path, f"{type(error).__name__}: {error}", f"a file in format {FORMAT}") from None
        for bucket, size in enumerate(sizes):
            file = bucket_file(folder, bucket)
            observed = file.stat().st_size if file.exists() else None
            if observed != size:
                seen = "no such file" if observed is None else f"{observed:,} bytes"
                raise _damaged(file, seen, f"{size:,} bytes, which {MANIFEST} holds")
        return cls(folder, rows)

    @property
    def rows(self) -> int:
        """The number of examples."""
        return sum(self.buckets)

    def steps(self, batch_size: int) -> int:
        """The number of an epoch's batches."""
        return math.ceil(self.rows / batch_size)

    def batches(
        self, *, seed: int, epoch: int, batch_size: int, first_step: int = 0, rank: int = 0, of: int = 1
    ) -> Iterator[pa.Table]:
        """One worker's part of each batch of an epoch, in the order that seed and epoch decide.

        All batches have the same size: the last one is filled up with the first rows of the epoch.

        Args:
            seed: Decides the order.
            epoch: Decides the order.
            batch_size: Rows of a batch, all workers together; at least `of`.
            first_step: How many batches of the epoch to leave out.
            rank: The worker.
            of: The number of workers.

        Returns:
            Tables of `batch_size / of` rows, one more or fewer where that is no whole number: the columns of the
            program's examples, and `ROW_KEY`.
        """
        begin, stop = batch_size * rank // of, batch_size * (rank + 1) // of
        own = stop - begin
        first, end, position = first_step * batch_size, self.steps(batch_size) * batch_size, 0
        rest: list[pa.Table] = []
        for bucket in itertools.cycle(_random(seed, epoch).permutation(len(self.buckets)).tolist()):
            if position == end:
                return
            number = min(self.buckets[bucket], end - position)
            if position + number > first:
                places = np.arange(position, position + number)
                in_batch = places % batch_size
                mine = (in_batch >= begin) & (in_batch < stop) & (places >= first)
                order = _random(seed, epoch, bucket).permutation(self.buckets[bucket])[:number][mine]
                for taken in self._taken(bucket, order):
                    table = pa.concat_tables([*rest, taken]).combine_chunks()
                    whole = table.num_rows // own * own
                    for start in range(0, whole, own):
                        yield table.slice(start, own)
                    rest = [table.slice(whole)]
            position += number

    def in_order(self, *, batch_size: int, rank: int = 0, of: int = 1) -> Iterator[pa.Table]:
        """One worker's part of every row once, in an order that nothing decides but the rows: for measuring.

        Each worker gets equally many tables, none of them empty, and of `batch_size / of` rows or a few more or fewer.

        Raises:
            DatasetError: if there are fewer rows than workers.
        """
        if self.rows < of:
            raise DatasetError(
                object=f"examples in {self.folder}",
                observed=f"{self.rows} rows",
                expected=f"at least one for each of the {of} workers",
                next_step="hold out more rows, or lower the recipe's num_workers",
            )
        steps = min(self.steps(batch_size), self.rows // of)
        ends = np.cumsum(self.buckets)
        for step in range(steps):
            start, end = self.rows * step // steps, self.rows * (step + 1) // steps
            start, end = start + (end - start) * rank // of, start + (end - start) * (rank + 1) // of
            parts = []
            while start < end:
                bucket = int(np.searchsorted(ends, start, side="right"))
                before = int(ends[bucket]) - self.buckets[bucket]
                part = self._bucket(bucket).slice(start - before, end - start)
                parts.append(part)
                start += part.num_rows
            yield pa.concat_tables(parts)

    def _bucket(self, bucket: int) -> pa.Table:
        """A bucket's examples, mapped into memory."""
        with pa.memory_map(str(bucket_file(self.folder, bucket))) as source:
            return pa.ipc.open_file(source).read_all()

    def _taken(self, bucket: int, order: NDArray[np.int64]) -> Iterator[pa.Table]:
        if len(order):
            table = self._bucket(bucket)
            for start in range(0, len(order), ROWS_AT_ONCE):
                yield table.take(pa.array(order[start : start + ROWS_AT_ONCE]))


def _random(*seeds: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**63 for seed in seeds])


def bucket_file(folder: Path, bucket: int) -> Path:
    return folder / f"{bucket:05d}.arrow"


def _damaged(path: Path, observed: str, expected: str) -> DatasetError:
    return DatasetError(
        object=f"examples of a training run, {path}",
        observed=observed,
        expected=expected,
        next_step=f"remove the folder {path.parent}: the run writes it again when it goes on",
    )
