"""The lakehouse: Delta tables below one root, read as of a version, written by stage and commit.

Both engines compute and write Parquet into a staging folder that no reader knows: what lies there can be audited, and a
killed run leaves only litter there. Commit makes it a table version, atomically: with delta-rs under the embedded
engine, with delta-spark under Spark. One writer at a time holds a table (`writing`).
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
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import CommitConflict, NotFoundError
from pipelines.lakehouse import time_travel
from pipelines.lakehouse.arrow_stage import ArrowStage, Part
from pipelines.lakehouse.staging import Append, Merge, Overwrite, Staged, StagedFile, staged
from pipelines.retrying import Backoff
from pipelines.tables import PARTITION, ZONES, TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    from deltalake import DeltaTable
    from pyspark.sql import DataFrame, SparkSession

    from pipelines.engine.session import Engine

#: What each table's log is told: old entries go only when upkeep says so, which knows what a model's record names.
PROPERTIES: dict[str, str | None] = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.deletedFileRetentionDuration": "interval 30 days",
    "delta.checkpointInterval": "10",  # whoever opens a table replays no more commits than these
}


#: What another machine staged and did not touch for so long was left by a process that is gone.
ABANDONED_SECONDS = 7 * 24 * 3600


def text(name: str) -> ds.Expression:
    """A text column in a filter: delta-rs writes merged rows as a kind of text that Arrow compares with no other."""
    import pyarrow.dataset as ds

    return ds.field(name).cast("string")


class Lakehouse(ABC):
    """Reads and writes Delta tables with one engine; `root` is the folder that holds `zone/domain/table`."""

    def __init__(self, *, root: str, engine: Callable[[], Engine], locks: Path) -> None:
        self.root = Path(root)
        self._engine = engine
        self.locks = locks

    @property
    def session(self) -> SparkSession:
        """The engine's session, started on first use."""
        return self._engine().session

    def path(self, table: TableId) -> Path:
        return self.root.joinpath(*table.key)

    def delta(self, table: TableId, version: int | None = None) -> DeltaTable:
        """The table (in one version) as delta-rs opens it; raises NotFoundError."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return DeltaTable(str(self.path(table)), version=version)
        except DeltaError as error:
            if version is not None:
                raise NotFoundError(
                    object=f"table version {table}@{version}",
                    observed=f"its log does not hold it: {error}",
                    expected="a version that the log still holds",
                    next_step=f"choose one of `goldpath tables history {table}`",
                ) from None
            if not isinstance(error, TableNotFoundError):
                raise
            raise NotFoundError(
                object=f"table {table}",
                observed=f"no version of it under {self.root}",
                expected="a table that was materialized",
                next_step="materialize the asset of that name first",
            ) from None

    def tables(self) -> list[TableId]:
        """Every table that was published."""
        logs = [log for zone in ZONES for log in (self.root / zone).glob("*/*/_delta_log")]
        return sorted(TableId.parse("/".join(log.parent.relative_to(self.root).parts)) for log in logs)

    def version(self, table: TableId) -> int | None:
        """The newest published version, or None where nothing was published."""
        try:
            return self.delta(table).version()
        except NotFoundError:
            return None

    def current(self, table: TableId) -> TableVersion:
        """The newest published version; raises NotFoundError."""
        return TableVersion(table, self.delta(table).version())

    def at(self, table: TableId, instant: datetime) -> TableVersion:
        """The newest version that was committed at or before an instant, UTC, by the wall clock.

        Raises:
            NotFoundError: if the log begins later, or the version's files were vacuumed.
        """
        return time_travel.at(self, table, instant)

    def batch(self, table: TableId, app: str) -> int:
        """The last batch that `app` committed; -1 before the first."""
        try:
            version = self.delta(table).transaction_version(app)
        except NotFoundError:
            return -1
        return -1 if version is None else version

    def batch_at(self, at: TableVersion, app: str) -> int:
        """The last batch that `app` had committed as of a version; -1 before the first."""
        version = self.delta(at.table, at.version).transaction_version(app)
        return -1 if version is None else version

    def files(self, at: TableVersion) -> list[str]:
        """The paths of the data files of one version."""
        return self.delta(at.table, at.version).file_uris()

    def bytes(self, at: TableVersion) -> int:
        """The size of the data files of one version."""
        return sum(self.delta(at.table, at.version).get_add_actions(flatten=True)["size_bytes"].to_pylist())

    def rows(self, at: TableVersion) -> int:
        """The number of rows of one version."""
        return self.delta(at.table, at.version).count()

    def partition_values(self, at: TableVersion, column: str) -> set[str]:
        """The values of a partition column that one version holds."""
        return {partition[column] for partition in self.delta(at.table, at.version).partitions()}

    def sample(self, at: TableVersion, rows: int) -> pa.Table:
        """The first rows of one version, in the order of its files."""
        return self._dataset(at).head(rows)

    def partition_rows(self, at: TableVersion, column: str) -> dict[str, int]:
        """The number of rows for each value of a partition column, from the log alone."""
        import pyarrow as pa

        files = pa.table(self.delta(at.table, at.version).get_add_actions(flatten=True))
        found: dict[str, int] = {}
        for value, rows in zip(files[f"partition.{column}"].to_pylist(), files["num_records"].to_pylist(), strict=True):
            found[value] = found.get(value, 0) + (rows or 0)
        return found

    def read(self, at: TableVersion) -> DataFrame:
        """A DataFrame over exactly that version."""
        reader = self.session.read.format("delta").option("versionAsOf", at.version)
        return reader.load(str(self.path(at.table)))

    def arrow(self, at: TableVersion, *, columns: Sequence[str] | None = None, where: Any = None) -> pa.Table:
        """Rows of one version as Arrow, without an engine: for small results and look-ups.

        Args:
            at: The version.
            columns: Their names; all by default.
            where: A filter; `text` names its text columns.

        Raises:
            NotFoundError: if the version never was, or was vacuumed.
        """
        try:
            return self._dataset(at).to_table(columns=list(columns) if columns else None, filter=where)
        except FileNotFoundError:
            time_travel.require_readable(self, at)
            raise

    def _dataset(self, at: TableVersion) -> ds.Dataset:
        from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

        # Through delta-rs's own file system Arrow's threads call Python, which aborts a process that is about to end.
        files = SubTreeFileSystem(str(self.path(at.table)), LocalFileSystem())
        return self.delta(at.table, at.version).to_pyarrow_dataset(filesystem=files)

    @contextlib.contextmanager
    def writing(self, table: TableId) -> Iterator[None]:
        """Holds the table against other writers on this machine, and clears what a killed one left staged."""
        import fcntl

        self.locks.mkdir(parents=True, exist_ok=True)
        with (self.locks / f"{table.source_name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
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

    def gathered(self, parts: Sequence[Staged]) -> Staged:
        """Several stagings of one table as one."""
        first, *others = parts
        files = list(first.files)
        for number, part in enumerate(others):
            for file in part.files:
                folder = first.folder / file.path.relative_to(part.folder).parent
                folder.mkdir(parents=True, exist_ok=True)
                path = file.path.rename(folder / f"{number}_{file.path.name}")
                files.append(StagedFile(path, file.partition, file.rows, file.bytes))
        return Staged(first.folder, first.schema, tuple(files), first.partition_by)

    def stage_arrow(
        self,
        table: TableId,
        parts: Iterable[Part],
        *,
        schema: pa.Schema,
    ) -> Staged:
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
        from deltalake import DeltaTable, Schema

        path = self.path(table)
        path.mkdir(parents=True, exist_ok=True)
        with conflicts_named(table):
            DeltaTable.create(
                str(path),
                Schema.from_arrow(schema),
                mode="ignore",
                partition_by=list(partition_by),
                configuration=PROPERTIES,
            )

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
        from deltalake import write_deltalake

        path = self.path(table)
        path.parent.mkdir(parents=True, exist_ok=True)

        def append() -> None:
            with conflicts_named(table):
                write_deltalake(str(path), rows, mode="append", schema_mode="merge", configuration=PROPERTIES)

        Backoff(first_seconds=0.1).call(append)  # every run writes here, and no lock holds them apart
        return self.current(table)


@contextlib.contextmanager
def conflicts_named(table: TableId) -> Iterator[None]:
    """Where delta-rs says that another commit was faster, says so as a CommitConflict."""
    from deltalake.exceptions import CommitFailedError

    try:
        yield
    except CommitFailedError as error:
        raise CommitConflict(
            object=f"table {table}",
            observed=str(error),
            expected="no other commit since this one began",
            next_step="nothing is lost: the run is tried again",
        ) from error
