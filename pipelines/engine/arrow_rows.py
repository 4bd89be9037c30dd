"""The rows of a plan as Arrow data.

The embedded engine runs in this process, and so do the Python functions in its plans: one that keeps the batches that
it gets hands them over without a copy. Over the engine's connection the transfer of a result takes longer than many a
plan that computes it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

#: The sessions of engines that run in this process, and how many threads the engine of each has.
_threads: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


@dataclass(slots=True)
class _Kept:
    """The batches of each partition that was read to its end, until `room` bytes are used up."""

    room: float
    partitions: dict[str, list[pa.RecordBatch]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fits(self, batch: pa.RecordBatch) -> bool:
        with self.lock:
            self.room -= batch.nbytes
            return self.room >= 0


_kept: dict[str, _Kept] = {}


def runs_here(session: Any, threads: int) -> None:
    """Notes that the engine of a session runs in this process, with so many threads."""
    _threads[session] = threads


def in_this_process(frame: DataFrame) -> bool:
    """Whether the engine of a frame runs in this process."""
    return frame.sparkSession in _threads


def on_all_threads(frame: DataFrame) -> DataFrame:
    """The rows of a plan of an engine in this process, in a partition for each of its threads.

    A file comes in one partition, and what follows it would run on one thread.
    """
    return frame.repartition(_threads[frame.sparkSession])


def arrow_rows(frame: DataFrame) -> pa.Table:
    """The rows of a plan as Arrow data, in any order, even behind a sort."""
    if not in_this_process(frame):
        return frame.toArrow()
    rows = rows_up_to(frame, bytes_=float("inf"))
    assert rows is not None
    return rows


def rows_up_to(frame: DataFrame, bytes_: float) -> pa.Table | None:
    """The rows of a plan of an engine in this process, in any order; None if they take more than so many bytes."""
    import pyarrow as pa

    call = uuid.uuid4().hex
    kept = _kept[call] = _Kept(bytes_)
    try:
        read = frame.mapInArrow(partial(_keep, call), "partition string").toArrow()
    finally:
        del _kept[call]
    if kept.room < 0:
        return None
    # The answer, not what was kept, says which partitions count: a partition that was computed twice is named once.
    batches = [batch for name in read["partition"].to_pylist() for batch in kept.partitions[name]]
    return pa.Table.from_batches(batches) if batches else frame.limit(0).toArrow()


def _keep(call: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Runs in the engine: keeps the batches of one partition, and answers the name that they are kept under."""
    import pyarrow as pa

    kept, name, partition = _kept[call], uuid.uuid4().hex, []
    for batch in batches:
        if not kept.fits(batch):
            return
        partition.append(batch)
    kept.partitions[name] = partition
    yield pa.RecordBatch.from_pydict({"partition": [name]})
