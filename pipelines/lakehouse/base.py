"""The lakehouse: Delta tables below one root folder, read as of a version, written in two steps: stage and commit.

Staging computes rows and writes them as Parquet files into a folder that no table names: they can be audited there, and
what a killed run leaves there is never read. A commit publishes the files as the table's next version, atomically: by
delta-rs under the embedded engine, by delta-spark under Spark. One writer at a time holds a table (`writing`).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import shutil
import socket
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import DamagedError
from pipelines.lakehouse import delta_commits, table_repair
from pipelines.lakehouse.arrow_stage import ArrowStage, Part
from pipelines.lakehouse.catalog import Catalog
from pipelines.lakehouse.staging import Staged, Write, staged
from pipelines.machine import locks
from pipelines.tables import PARTITION, TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from pipelines.engine.session import Engine

log = logging.getLogger(__name__)
#: Staged files of another machine that are older than this are taken for those of a process that has ended.
ABANDONED_SECONDS = 7 * 24 * 3600


class Lakehouse(Catalog, ABC):
    """Reads and writes the tables of a catalog with one engine.

    Args:
        root: The folder that holds `zone/domain/table`.
        engine: Returns the engine; called on first use.
        locks: The folder of the tables' lock files, which all writers of this machine share.
    """

    def __init__(self, *, root: str, engine: Callable[[], Engine], locks: Path) -> None:
        super().__init__(root)
        self._engine = engine
        self.locks = locks

    @property
    def session(self) -> SparkSession:
        """The engine's session, started on first use."""
        return self._engine().session

    def read(self, at: TableVersion) -> DataFrame:
        """A DataFrame over the rows of one version."""
        reader = self.session.read.format("delta").option("versionAsOf", at.version)
        return reader.load(str(self.path(at.table)))

    @contextlib.contextmanager
    def writing(self, table: TableId) -> Iterator[None]:
        """Locks the table against other writers on this machine while the block runs.

        Removes the files that a killed writer left staged; what this one leaves is removed after the block, while the
        process goes on: to remove folders takes as long as to write their files, and nobody waits for it.

        Raises:
            LockTimeout: if another writer holds the table for too long; names it.
        """
        with locks.held(self.locks / f"{table.source_name}.lock", purpose=f"a writer of {table}"):
            self._clear_staging(table)
            try:
                yield
            finally:
                left = list((self.root / "_staging" / table.source_name).glob(f"{self._writer}-*"))
                threading.Thread(target=_remove, args=(left,), name=f"staged files of {table}").start()

    def _staging(self, table: TableId) -> Path:
        """A new path for staged files, whose name begins with the id of this machine's writers."""
        return self.root / "_staging" / table.source_name / f"{self._writer}-{uuid.uuid4().hex}"

    @functools.cached_property
    def _writer(self) -> str:
        """The id of the writers that share this machine's locks, of which one at a time holds a table."""
        return hashlib.sha256(f"{socket.gethostname()}:{self.locks.resolve()}".encode()).hexdigest()[:12]

    def _clear_staging(self, table: TableId) -> None:
        """Removes the staged files of this machine, and those of others that are older than ABANDONED_SECONDS."""
        folder = self.root / "_staging" / table.source_name
        for staging in folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                abandoned = time.time() - staging.stat().st_mtime > ABANDONED_SECONDS
                if abandoned or staging.name.startswith(self._writer):
                    _remove([staging])

    def stage(
        self, table: TableId, df: DataFrame, *, partition_by: Sequence[str] = (), schema: StructType | None = None
    ) -> Staged:
        """Computes `df` once and writes it to staged files, partitioned by the given columns.

        Who knows the frame's `schema` saves the engine from analysing its plan another time.
        """
        folder = self._staging(table)
        folder.mkdir(parents=True)
        # Repartitioned, both engines write one file per partition value.
        repartitioned = df.repartition(*partition_by) if partition_by else df
        repartitioned.write.mode("append").partitionBy(*partition_by).parquet(str(folder))
        return staged(folder, schema or df.schema, tuple(partition_by))

    def stage_nothing(self, table: TableId, schema: StructType, *, partition_by: Sequence[str] = ()) -> Staged:
        """Stages no rows, of this schema, which no engine has to compute."""
        return staged(self._staging(table), schema, tuple(partition_by))

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
        return Staged(stage.folder, pa.unify_schemas([schema, *stage.schemas]), tuple(stage.files), (PARTITION,))

    def create(self, table: TableId, schema: pa.Schema, *, partition_by: Sequence[str] = ()) -> None:
        """Creates an empty table if there is none; raises CommitConflict if another writer creates it meanwhile."""
        delta_commits.create(self, table, schema, partition_by=partition_by)

    def read_staged(self, staged: Staged) -> DataFrame:
        """A DataFrame over the staged rows, for the audit before the commit."""
        return self._frame(staged, str(staged.folder))

    def _frame(self, staged: Staged, *paths: str) -> DataFrame:
        from pyspark.sql import functions as F
        from pyspark.sql.pandas.types import from_arrow_schema
        from pyspark.sql.types import StringType, StructField, StructType

        schema = from_arrow_schema(staged.schema, prefer_timestamp_ntz=False)
        if not staged.files:  # of no rows Sail writes no file, and it reads an empty folder as a frame without columns
            return self.session.createDataFrame(
                [], ", ".join(f"`{f.name}` {f.dataType.simpleString()}" for f in schema)
            )
        # With the schema given, Spark starts no job to infer it, and reads a partition's value as text.
        stored = StructType([*schema, *(StructField(name, StringType()) for name, _ in staged.only)])
        df = self.session.read.schema(stored).option("basePath", str(staged.folder)).parquet(*paths)
        for name, value in staged.only:
            df = df.where(F.col(name) == value)
        return df.select(*[F.col(field.name).cast(field.dataType.simpleString()).alias(field.name) for field in schema])

    @abstractmethod
    def commit(self, table: TableId, staged: Staged, write: Write, *, metadata: Mapping[str, str]) -> TableVersion:
        """Publishes the staged files as the table's next version.

        Args:
            table: The table; created if there is none.
            staged: The files, as `stage` returned them.
            write: How the rows enter the table. A batch that its app has committed before is not committed again.
            metadata: Recorded with the commit in the table's log, such as the id of the run.

        Returns:
            The table's newest version: the new one, or the current one if the batch had been committed before.

        Raises:
            CommitConflict: if another writer committed in between.
        """

    def record(self, table: TableId, rows: pa.Table) -> TableVersion:
        """Appends a few rows from memory, for the platform's own records; creates the table and new columns.

        A damaged table of records is mended first, with a warning: it must not stop the runs of all other tables.
        """
        try:
            self.require_whole(table)
        except DamagedError as error:
            with self.writing(table):
                report = table_repair.repair(self, table, mode="mend", depth="ends")
            log.warning("%s It was mended: %s.", error, "; ".join(report.steps + report.unmended))
        delta_commits.append_rows(self, table, rows)
        return self.current(table)


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
