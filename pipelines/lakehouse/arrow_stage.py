"""Writes record batches to Parquet files that no table names yet, one partition at a time, in bounded memory.

Consecutive small parts of one partition share a file. A large part gets files of its own, so that it can be left out as
a whole if reading it fails near its end. A new schema begins a new file.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import LandingError
from pipelines.lakehouse.staging import StagedFile
from pipelines.tables import PARTITION, RESCUED

if TYPE_CHECKING:
    import pyarrow as pa

#: A part that needs more memory than this is written as it comes.
HELD_BYTES = 64 << 20
ROW_GROUP_BYTES = 32 << 20


def _raise(error: LandingError) -> None:
    raise error


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that are staged together or left out together.

    Attributes:
        partition: The value of their `_partition` column.
        batches: The rows; iterating may raise LandingError.
        leave_out: Called with that error: none of the part's rows are staged. Without it the error is raised.
    """

    partition: str
    batches: Iterable[pa.RecordBatch]
    leave_out: Callable[[LandingError], None] = _raise


class _Writer:
    """Writes one file of one partition and one schema; the file is created when it has rows.

    A thread writes a full row group, and the rest of the file, while others are read.
    """

    def __init__(self, path: Path, partition: str, thread: Executor) -> None:
        self.path = path
        self.partition = partition
        self.rows = 0
        self._thread = thread
        self._writing: Future[None] | None = None
        self.schema: pa.Schema | None = None
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0
        self._nulls: Counter[str] = Counter()
        self._file: pa.parquet.ParquetWriter | None = None

    def takes(self, batch: pa.RecordBatch) -> bool:
        """Whether a batch has the schema of the file."""
        return self.schema is None or self.schema.equals(batch.schema)

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds rows; they are written once they fill a row group."""
        self.schema = batch.schema
        self.rows += batch.num_rows
        if RESCUED in batch.schema.names:
            self._nulls[RESCUED] += batch[RESCUED].null_count
        self._held.append(batch.drop_columns([PARTITION]))
        self._bytes += batch.nbytes
        if self._bytes >= ROW_GROUP_BYTES:
            self._wait()
            self._writing = self._thread.submit(self._write, self._held)
            self._held, self._bytes = [], 0

    def _wait(self) -> None:
        """Waits for the row group that is being written; raises its error."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, batches: list[pa.RecordBatch]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        group = pa.Table.from_batches(batches)
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(self.path, group.schema, compression="zstd")
        self._file.write_table(group, row_group_size=max(group.num_rows, 1))

    def close(self) -> list[StagedFile]:
        """Completes the file and returns it; an empty list if there were no rows."""
        self._wait()
        if self._held:
            self._write(self._held)
        if self._file is None:
            return []
        self._file.close()
        if not self.rows:
            return []
        size = self.path.stat().st_size
        return [StagedFile(self.path, {PARTITION: self.partition}, self.rows, size, dict(self._nulls))]

    def abandon(self) -> None:
        """Removes the file."""
        with contextlib.suppress(Exception):  # what made the stage fail is raised already
            self._wait()
        if self._file is not None:
            opened: tuple[Any, ...] = (self._file, self._file.file_handle)
            for resource in opened:
                with contextlib.suppress(OSError):  # closing writes the footer, which a full disk refuses
                    resource.close()
        self.path.unlink(missing_ok=True)


class ArrowStage:
    """The files of one commit, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[StagedFile] = []
        self.schemas: list[pa.Schema] = []
        self._shared: _Writer | None = None
        self._closing: tuple[_Writer, Future[list[StagedFile]]] | None = None
        self._count = 0
        self._thread = ThreadPoolExecutor(max_workers=1)

    def write(self, parts: Iterable[Part]) -> None:
        """Writes the parts in their order; a part that raises LandingError is left out as a whole."""
        try:
            for part in parts:
                try:
                    self._write_part(part.partition, part.batches)
                except LandingError as error:
                    part.leave_out(error)
            self._close_shared()
            self._wait()
        except BaseException:
            self._abandon([self._shared] if self._shared else [])
            raise
        finally:
            self._thread.shutdown()

    def _write_part(self, partition: str, batches: Iterable[pa.RecordBatch]) -> None:
        held: list[pa.RecordBatch] = []
        own: list[_Writer] = []
        size = 0
        try:
            for batch in batches:
                size += batch.nbytes
                held.append(batch)
                if size > HELD_BYTES:
                    for held_batch in held:
                        if not own or not own[-1].takes(held_batch):
                            own.append(self._writer(partition))
                        own[-1].add(held_batch)
                    held = []
            for batch in held:
                self._add(partition, batch)
            for writer in own:
                self._finish(writer)
        except BaseException:
            self._abandon(own)
            raise

    def _add(self, partition: str, batch: pa.RecordBatch) -> None:
        shared = self._shared
        if shared is None or shared.partition != partition or not shared.takes(batch):
            self._close_shared()
            self._shared = shared = self._writer(partition)
        shared.add(batch)

    def _writer(self, partition: str) -> _Writer:
        self._count += 1
        return _Writer(self.folder / f"{PARTITION}={partition}" / f"{self._count:06d}.parquet", partition, self._thread)

    def _close_shared(self) -> None:
        if self._shared is not None:
            self._finish(self._shared)
            self._shared = None

    def _finish(self, writer: _Writer) -> None:
        """Lets the thread complete a file, after the one before is complete: memory holds one of them."""
        self._wait()
        self._closing = writer, self._thread.submit(writer.close)

    def _wait(self) -> None:
        """Waits for the file that is being completed; raises its error."""
        if self._closing is not None:
            writer, closed = self._closing
            written = closed.result()
            self._closing = None
            self.files += written
            if written and writer.schema is not None:
                self.schemas.append(writer.schema)

    def _abandon(self, writers: Iterable[_Writer]) -> None:
        """Removes the files of these writers, after the thread has done with the file that it completes."""
        if self._closing is not None:
            wait([self._closing[1]])
            if self._closing[1].exception() is not None:
                self._closing[0].abandon()
        for writer in writers:
            writer.abandon()
