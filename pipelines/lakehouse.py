"""The lakehouse: Delta tables below one root, read as of a version, written by stage and commit.

Both engines compute and write Parquet into a staging folder that no reader knows: what lies there can be audited, and a
killed run leaves only litter there. Commit makes it a table version, atomically: with delta-rs under the embedded
engine, with delta-spark under Spark. One writer at a time holds a table (`writing`).
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipelines.errors import CommitConflict, NotFoundError
from pipelines.tables import PARTITION, TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, RemoveAction
    from pyspark.sql import DataFrame, SparkSession

    from pipelines.engine import Engine

#: Folders named by their partition are for people; a table's log names each file and its partition anyway.
PLAIN = re.compile(r"[A-Za-z0-9_./=-]+")


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One Parquet file that no table names yet; `partition` maps partition column to value."""

    path: Path
    partition: Mapping[str, str | None]
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Staged:
    """The computed, not yet visible content of a commit."""

    folder: Path
    schema: pa.Schema
    files: tuple[StagedFile, ...]
    partition_by: tuple[str, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def where(self, column: str, value: str) -> Staged:
        """The part whose partition column has that value, without the column."""
        files = tuple(
            StagedFile(f.path, {k: v for k, v in f.partition.items() if k != column}, f.rows, f.bytes)
            for f in self.files
            if f.partition[column] == value
        )
        return Staged(self.folder, self.schema, files, tuple(c for c in self.partition_by if c != column))

    def select(self, columns: Sequence[str]) -> Staged:
        """The same files under a narrower schema: readers see only these columns."""
        import pyarrow as pa

        schema = pa.schema([self.schema.field(name) for name in columns])
        return Staged(self.folder, schema, self.files, self.partition_by)


@dataclass(frozen=True, slots=True)
class Append:
    """Adds the staged rows. `app` and `batch` are the Delta app transaction: a batch is committed once."""

    app: str
    batch: int


@dataclass(frozen=True, slots=True)
class Overwrite:
    """Replaces the whole table, or only the given values of its partition column."""

    partitions: tuple[str, ...] | None = None


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

    def _open(self, table: TableId, version: int | None = None) -> DeltaTable:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(str(self.path(table)), version=version)
        except TableNotFoundError:
            raise NotFoundError(
                object=f"table {table}",
                observed=f"no version of it under {self.root}",
                expected="a table that was materialized",
                next_step="materialize the asset of that name first",
            ) from None

    def version(self, table: TableId) -> int | None:
        """The newest published version, or None where nothing was published."""
        try:
            return self._open(table).version()
        except NotFoundError:
            return None

    def current(self, table: TableId) -> TableVersion:
        """The newest published version; raises NotFoundError."""
        return TableVersion(table, self._open(table).version())

    def batch(self, table: TableId, app: str) -> int:
        """The last batch that `app` committed; -1 before the first."""
        try:
            version = self._open(table).transaction_version(app)
        except NotFoundError:
            return -1
        return -1 if version is None else version

    def files(self, at: TableVersion) -> list[str]:
        """The paths of the data files of one version."""
        return self._open(at.table, at.version).file_uris()

    def bytes(self, at: TableVersion) -> int:
        """The size of the data files of one version."""
        return sum(self._open(at.table, at.version).get_add_actions(flatten=True)["size_bytes"].to_pylist())

    def rows(self, at: TableVersion) -> int:
        """The number of rows of one version."""
        return self._open(at.table, at.version).count()

    def partition_values(self, at: TableVersion, column: str) -> set[str]:
        """The values of a partition column that one version holds."""
        return {partition[column] for partition in self._open(at.table, at.version).partitions()}

    def read(self, at: TableVersion) -> DataFrame:
        """A DataFrame over exactly that version."""
        reader = self.session.read.format("delta").option("versionAsOf", at.version)
        return reader.load(str(self.path(at.table)))

    def arrow(self, at: TableVersion, *, columns: Sequence[str] | None = None, where: Any = None) -> pa.Table:
        """Rows of one version as Arrow, without an engine: for small results and look-ups."""
        dataset = self._open(at.table, at.version).to_pyarrow_dataset()
        return dataset.to_table(columns=list(columns) if columns else None, filter=where)

    @contextlib.contextmanager
    def writing(self, table: TableId) -> Iterator[None]:
        """Holds the table against other writers on this machine, and clears what a killed one left staged."""
        import fcntl

        self.locks.mkdir(parents=True, exist_ok=True)
        with (self.locks / f"{table.source_name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            shutil.rmtree(self._staging(table), ignore_errors=True)
            try:
                yield
            finally:
                shutil.rmtree(self._staging(table), ignore_errors=True)

    def _staging(self, table: TableId) -> Path:
        return self.root / "_staging" / table.source_name

    def stage(self, table: TableId, df: DataFrame, *, partition_by: Sequence[str] = ()) -> Staged:
        """Computes `df` once, into files that nobody reads yet."""
        folder = self._staging(table) / uuid.uuid4().hex
        folder.mkdir(parents=True)
        by_value = (
            df.repartition(*partition_by) if partition_by else df
        )  # one file per partition value, on both engines
        by_value.write.mode("append").partitionBy(*partition_by).parquet(str(folder))
        return _staged(folder, df, tuple(partition_by))

    def stage_arrow(
        self, table: TableId, parts: Iterable[tuple[str, Iterable[pa.RecordBatch]]], *, schema: pa.Schema
    ) -> Staged:
        """Stages record batches as they come, one file for each part; a part's name is its `_partition`."""
        import pyarrow.parquet as pq

        folder = self._staging(table) / uuid.uuid4().hex
        written = schema.remove(schema.get_field_index(PARTITION))
        files = []
        for number, (partition, batches) in enumerate(parts):
            path = folder / f"{PARTITION}={partition}" / f"{number:06d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = 0
            with pq.ParquetWriter(path, written, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch.drop_columns([PARTITION]))
                    rows += batch.num_rows
            if rows:
                files.append(StagedFile(path, {PARTITION: partition}, rows, path.stat().st_size))
        return Staged(folder, schema, tuple(files), (PARTITION,))

    def create(self, table: TableId, schema: pa.Schema, *, partition_by: Sequence[str] = ()) -> None:
        """Creates an empty table, unless there is one."""
        from deltalake import DeltaTable, Schema

        path = self.path(table)
        path.mkdir(parents=True, exist_ok=True)
        DeltaTable.create(str(path), Schema.from_arrow(schema), mode="ignore", partition_by=list(partition_by))

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
        df = self.session.read.option("basePath", str(staged.folder)).parquet(*paths)
        return df.select(*[F.col(field.name).cast(field.dataType.simpleString()).alias(field.name) for field in schema])

    @abstractmethod
    def commit(
        self, table: TableId, staged: Staged, write: Append | Overwrite, *, metadata: Mapping[str, str]
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
        write_deltalake(str(path), rows, mode="append", schema_mode="merge")
        return self.current(table)


class EmbeddedLakehouse(Lakehouse):
    """Sail computes and writes Parquet; delta-rs commits the files as add actions."""

    def commit(
        self, table: TableId, staged: Staged, write: Append | Overwrite, *, metadata: Mapping[str, str]
    ) -> TableVersion:
        from deltalake import CommitProperties, DeltaTable, Schema, Transaction
        from deltalake.exceptions import CommitFailedError

        path = self.path(table)
        self.create(table, staged.schema, partition_by=staged.partition_by)
        current = DeltaTable(str(path))
        transactions = None
        if isinstance(write, Append):
            if self.batch(table, write.app) >= write.batch:
                return self.current(table)
            transactions = [Transaction(write.app, write.batch)]
        actions: list[AddAction | RemoveAction] = [self._adopt(file, path) for file in staged.files]
        mode = "append" if isinstance(write, Append) else "overwrite"
        if isinstance(write, Overwrite) and write.partitions is not None:
            # Removing exactly the files of the replaced partitions keeps the commit one action list, whatever the days.
            actions = _removals(current, staged.partition_by[0], write.partitions) + actions
            mode = "append"
        try:
            current.create_write_transaction(
                actions,
                mode,
                Schema.from_arrow(staged.schema),
                partition_by=list(staged.partition_by),
                commit_properties=CommitProperties(dict(metadata), app_transactions=transactions),
            )
        except CommitFailedError as error:
            raise CommitConflict(
                object=f"table {table}",
                observed=str(error),
                expected=f"version {current.version()} to be the newest",
                next_step="run the asset again",
            ) from error
        return self.current(table)

    def _adopt(self, file: StagedFile, path: Path) -> AddAction:
        from deltalake.transaction import AddAction

        folder = "/".join(f"{column}={value}" for column, value in file.partition.items())
        if not PLAIN.fullmatch(folder):  # delta-rs reads back a percent-encoded path, and removing that removes nothing
            folder = ""
        name = f"{folder}/{uuid.uuid4().hex}.parquet".lstrip("/")
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        file.path.rename(target)
        return AddAction(
            path=name,
            size=file.bytes,
            partition_values=dict(file.partition),
            modification_time=int(time.time() * 1000),
            data_change=True,
            stats=json.dumps({"numRecords": file.rows}),
        )


class SparkLakehouse(Lakehouse):
    """Spark computes and writes Parquet; delta-spark commits it."""

    def commit(
        self, table: TableId, staged: Staged, write: Append | Overwrite, *, metadata: Mapping[str, str]
    ) -> TableVersion:
        df = self._frame(staged, *[str(file.path) for file in staged.files])
        writer = df.write.format("delta").option("userMetadata", json.dumps(dict(metadata)))
        if staged.partition_by:
            writer = writer.partitionBy(*staged.partition_by)
        if isinstance(write, Append):
            if self.batch(table, write.app) >= write.batch:
                return self.current(table)
            writer = writer.mode("append").option("txnAppId", write.app).option("txnVersion", write.batch)
        elif write.partitions is None or self.version(table) is None:
            writer = writer.mode("overwrite").option("overwriteSchema", True)
        else:
            values = ", ".join(f"'{value}'" for value in write.partitions)
            writer = writer.mode("overwrite").option("replaceWhere", f"{staged.partition_by[0]} IN ({values})")
        writer.save(str(self.path(table)))
        return self.current(table)


def _staged(folder: Path, df: DataFrame, partition_by: tuple[str, ...]) -> Staged:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql.pandas.types import to_arrow_schema

    files = []
    for path in sorted(folder.rglob("*.parquet")):
        parts = [part.partition("=") for part in path.relative_to(folder).parts[:-1]]
        partition = {k: None if v == "__HIVE_DEFAULT_PARTITION__" else unquote(v) for k, _, v in parts}
        rows = pq.read_metadata(path).num_rows
        if rows:
            files.append(StagedFile(path, partition, rows, path.stat().st_size))
    schema = pa.schema([field.with_nullable(True) for field in to_arrow_schema(df.schema, timezone="UTC")])
    return Staged(folder, schema, tuple(files), partition_by)


def _removals(table: DeltaTable, column: str, values: Sequence[str]) -> list[Any]:
    """Remove actions for every file whose partition column has one of the values."""
    import pyarrow as pa
    from deltalake.transaction import RemoveAction

    removed = []
    wanted = set(values)
    files = pa.table(table.get_add_actions(flatten=True))
    for path, size, value in zip(files["path"], files["size_bytes"], files[f"partition.{column}"], strict=True):
        if value.as_py() in wanted:
            removed.append(
                RemoveAction(
                    path=path.as_py(),
                    data_change=True,
                    deletion_timestamp=int(time.time() * 1000),
                    partition_values={column: value.as_py()},
                    size=size.as_py(),
                )
            )
    return removed
