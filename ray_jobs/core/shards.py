"""The examples of a run on disk: written once, read by every worker in the order of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ray_jobs.core.dataset import DatasetVersion, Selection, training_rows
from ray_jobs.core.program import Program

EXAMPLES_FILE = "examples.arrow"


@dataclass(frozen=True, slots=True)
class Shards:
    """Examples in a folder; `rows` is their number."""

    folder: Path
    rows: int

    def batches(
        self, *, seed: int, epoch: int, first_step: int, batch_size: int, rank: int, of: int
    ) -> Iterator[pa.Table]:
        """One table for each step of an epoch from `first_step` on: a worker's part of the step's rows.

        The rows of a step are the same for every number of workers; a part may be empty.
        """
        with pa.memory_map(str(self.folder / EXAMPLES_FILE)) as file:
            examples = pa.ipc.open_file(file).read_all()
        order = np.random.default_rng((seed, epoch)).permutation(self.rows)
        for start in range(first_step * batch_size, self.rows, batch_size):
            step = order[start : start + batch_size]
            yield examples.take(step[len(step) * rank // of : len(step) * (rank + 1) // of])


def write(
    program: Program[Any], table: DatasetVersion, selection: Selection, part: Literal["fit", "holdout"], folder: Path
) -> Shards:
    """Writes the examples of a part of the training rows; raises DatasetError as `training_rows` does."""
    examples = program.examples(training_rows(table, selection, part))
    folder.mkdir(parents=True, exist_ok=True)
    with (
        pa.OSFile(str(folder / EXAMPLES_FILE), "wb") as file,
        pa.ipc.new_file(file, examples.schema) as writer,
    ):
        writer.write_table(examples)
    return Shards(folder, len(examples))
