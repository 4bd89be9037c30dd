"""Writes record batches to Parquet files that no table names yet, a partition at a time, in bounded memory.

Small deliveries of a partition share a file; a big one has its own, so that it can be left out whole if its end turns
out to be missing. A new schema begins a new file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import LandingError
from pipelines.tables import PARTITION

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.landing.zone import Delivery

#: A delivery that needs more than this is written as it comes.
HELD_BYTES = 64 << 20
ROW_GROUP_BYTES = 32 << 20
Part = tuple["Delivery", Iterable["pa.RecordBatch"]]
#: Path, partition, rows and bytes of a written file.
File = tuple[Path, str, int, int]


class _Writer:
    """One file of one partition and one schema; nothing is written before there is a row."""

    def __init__(self, path: Path, partition: str) -> None:
        self.path = path
        self.partition = partition
        self.rows = 0
        self.schema: pa.Schema | None = None
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0
        self._file: pa.parquet.ParquetWriter | None = None

    def takes(self, batch: pa.RecordBatch) -> bool:
        return self.schema is None or self.schema.equals(batch.schema)

    def add(self, batch: pa.RecordBatch) -> None:
        self.schema = batch.schema
        self.rows += batch.num_rows
        self._held.append(batch.drop_columns([PARTITION]))
        self._bytes += batch.nbytes
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        group = pa.Table.from_batches(self._held)
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(self.path, group.schema, compression="zstd")
        self._file.write_table(group, row_group_size=max(group.num_rows, 1))
        self._held, self._bytes = [], 0

    def close(self) -> list[File]:
        if self._held:
            self._flush()
        if self._file is None:
            return []
        self._file.close()
        return [(self.path, self.partition, self.rows, self.path.stat().st_size)] if self.rows else []

    def abandon(self) -> None:
        if self._file is not None:
            opened: tuple[Any, ...] = (self._file, self._file.file_handle)
            for each in opened:  # a full disk keeps the writer from its last bytes
                with contextlib.suppress(OSError):
                    each.close()
        self.path.unlink(missing_ok=True)


class ArrowStage:
    """The files of one commit, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[File] = []
        self.schemas: list[pa.Schema] = []
        self._shared: _Writer | None = None
        self._count = 0

    def write(self, parts: Iterable[Part], left: Callable[[Delivery, LandingError], None]) -> None:
        """Writes the parts in their order; one that raises LandingError is left out whole, and `left` is told."""
        try:
            for delivery, batches in parts:
                try:
                    self._part(delivery.interval, batches)
                except LandingError as error:
                    left(delivery, error)
            self._close_shared()
        except BaseException:
            if self._shared is not None:
                self._shared.abandon()
            raise

    def _part(self, partition: str, batches: Iterable[pa.RecordBatch]) -> None:
        held: list[pa.RecordBatch] = []
        own: list[_Writer] = []
        size = 0
        try:
            for batch in batches:
                size += batch.nbytes
                held.append(batch)
                if size > HELD_BYTES:
                    for each in held:
                        if not own or not own[-1].takes(each):
                            own.append(self._writer(partition))
                        own[-1].add(each)
                    held = []
        except BaseException:
            for writer in own:
                writer.abandon()
            raise
        for each in held:
            self._add(partition, each)
        for writer in own:
            self._finish(writer)

    def _add(self, partition: str, batch: pa.RecordBatch) -> None:
        shared = self._shared
        if shared is None or shared.partition != partition or not shared.takes(batch):
            self._close_shared()
            self._shared = shared = self._writer(partition)
        shared.add(batch)

    def _writer(self, partition: str) -> _Writer:
        self._count += 1
        return _Writer(self.folder / f"{PARTITION}={partition}" / f"{self._count:06d}.parquet", partition)

    def _close_shared(self) -> None:
        if self._shared is not None:
            self._finish(self._shared)
            self._shared = None

    def _finish(self, writer: _Writer) -> None:
        written = writer.close()
        self.files += written
        if written and writer.schema is not None:
            self.schemas.append(writer.schema)
