"""The lakehouse: Delta tables below one root, read as of a version, written by stage and commit.

Both engines compute and write Parquet into a staging folder that no reader knows: what lies there can be audited, and a
killed run leaves files there that no table names. A commit makes them a table version, atomically: by delta-rs under
the embedded engine, by delta-spark under Spark. One writer at a time holds a table (`writing`).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
import socket
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.lakehouse import delta_commits
from pipelines.lakehouse.arrow_stage import ArrowStage, Part
from pipelines.lakehouse.catalog import Catalog
from pipelines.lakehouse.staging import Append, Merge, Overwrite, Staged, StagedFile, staged
from pipelines.machine import locks
from pipelines.tables import PARTITION, TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from pipelines.engine.session import Engine

#: Files that another machine staged and did not touch for this long are those of a process that has ended.
ABANDONED_SECONDS = 7 * 24 * 3600


class Lakehouse(Catalog, ABC):
    """Reads and writes the tables of a catalog with one engine."""

    def __init__(self, *, root: str, engine: Callable[[], Engine], locks: Path) -> None:
        super().__init__(root)
        self._engine = engine
        self.locks = locks

    @property
    def session(self) -> SparkSession:
        """The engine's session, started on first use."""
        return self._engine().session

    def read(self, at: TableVersion) -> DataFrame:
        """A DataFrame over exactly that version."""
        reader = self.session.read.format("delta").option("versionAsOf", at.version)
        return reader.load(str(self.path(at.table)))

    @contextlib.contextmanager
    def writing(self, table: TableId) -> Iterator[None]:
        """Holds the table against other writers on this machine, and removes what a killed one left staged.

        Raises:
            LockTimeout: naming the writer, if another one holds it for too long.
        """
        with locks.held(self.locks / f"{table.source_name}.lock", purpose=f"a writer of {table}"):
            self._clear_staging(table)
            try:
                yield
            finally:
                self._clear_staging(table)

    def _staging(self, table: TableId) -> Path:
        """A new folder below the table's, named by who writes: all that share the locks of one machine."""
        return self.root / "_staging" / table.source_name / f"{self._writer}-{uuid.uuid4().hex}"

    @functools.cached_property
    def _writer(self) -> str:
        return hashlib.sha256(f"{socket.gethostname()}:{self.locks.resolve()}".encode()).hexdigest()[:12]

    def _clear_staging(self, table: TableId) -> None:
        """Removes what this machine left, and what another one left so long ago that nobody works on it."""
        folder = self.root / "_staging" / table.source_name
        for left in folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                old = time.time() - left.stat().st_mtime > ABANDONED_SECONDS
                if old or left.name.startswith(self._writer):
                    shutil.rmtree(left, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rmdir()

    def stage(self, table: TableId, df: DataFrame, *, partition_by: Sequence[str] = ()) -> Staged:
        """Computes `df` once, into files that nobody reads yet."""
        folder = self._staging(table)
        folder.mkdir(parents=True)
        by_value = (
            df.repartition(*partition_by) if partition_by else df
        )  # one file per partition value, on both engines
        by_value.write.mode("append").partitionBy(*partition_by).parquet(str(folder))
        return staged(folder, df, tuple(partition_by))

    def stage_arrow(self, table: TableId, parts: Iterable[Part], *, schema: pa.Schema) -> Staged:
        """Stages the rows of parts as they come; a part that raises LandingError is left out as a whole.

        Args:
            table: The table that they will belong to.
            parts: The rows, by the value of the `_partition` column.
            schema: Columns that the result has in any case; those that the batches have besides are added.
        """
        import pyarrow as pa

        stage = ArrowStage(self._staging(table))
        stage.write(parts)
        files = [StagedFile(path, {PARTITION: partition}, rows, size) for path, partition, rows, size in stage.files]
        return Staged(stage.folder, pa.unify_schemas([schema, *stage.schemas]), tuple(files), (PARTITION,))

    def create(self, table: TableId, schema: pa.Schema, *, partition_by: Sequence[str] = ()) -> None:
        """Creates an empty table, unless there is one; raises CommitConflict if another writer does at this moment."""
        delta_commits.create(self, table, schema, partition_by=partition_by)

    def read_staged(self, staged: Staged) -> DataFrame:
        """All staged rows, for the audit."""
        return self._frame(staged, str(staged.folder))

    def _frame(self, staged: Staged, *paths: str) -> DataFrame:
        from pyspark.sql import functions as F
        from pyspark.sql.pandas.types import from_arrow_schema

        schema = from_arrow_schema(staged.schema, prefer_timestamp_ntz=False)
        if not staged.files:  # Sail leaves no file behind, and would read a frame without columns
            return self.session.createDataFrame(
                [], ", ".join(f"`{f.name}` {f.dataType.simpleString()}" for f in schema)
            )
        # Told the schema, Spark starts no job to find it, and takes a partition's value for the text that it is.
        df = self.session.read.schema(schema).option("basePath", str(staged.folder)).parquet(*paths)
        return df.select(*[F.col(field.name).cast(field.dataType.simpleString()).alias(field.name) for field in schema])

    @abstractmethod
    def commit(
        self, table: TableId, staged: Staged, write: Append | Merge | Overwrite, *, metadata: Mapping[str, str]
    ) -> TableVersion:
        """Publishes what was staged as the table's next version.

        Raises:
            CommitConflict: if another writer committed in between.
        """

    def record(self, table: TableId, rows: pa.Table) -> TableVersion:
        """Appends a few rows straight from Arrow; for the platform's own records."""
        delta_commits.append_rows(self, table, rows)
        return self.current(table)
