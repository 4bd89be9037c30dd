"""The lakehouse of the embedded engine: Sail computes and writes Parquet, delta-rs commits the files."""

from __future__ import annotations

import contextlib
import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipelines.lakehouse.base import Lakehouse, conflicts_named
from pipelines.lakehouse.staging import Append, Merge, Overwrite, Staged, StagedFile
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable
    from deltalake.transaction import AddAction, RemoveAction
    from pyspark.sql import DataFrame

#: Rows that a merge holds in memory, to look up only the files that may have their keys.
MATERIALIZED_ROWS = 1_000_000
#: Folders named by their partition are for people; a table's log names each file and its partition anyway.
PLAIN = re.compile(r"[A-Za-z0-9_./=-]+")
#: An app transaction of every commit: of two that began at one version the second fails, even if both only add files.
COMMIT = "goldpath"


class EmbeddedLakehouse(Lakehouse):
    """Sail computes and writes Parquet; delta-rs commits the files as add actions."""

    def read(self, at: TableVersion) -> DataFrame:
        # Sail 0.7.2 fails below the hinted checkpoint once older entries are gone; without the hint it lists the log.
        hint = self.path(at.table) / "_delta_log" / "_last_checkpoint"
        with contextlib.suppress(FileNotFoundError):
            if json.loads(hint.read_text(encoding="utf-8"))["version"] > at.version:
                hint.unlink()
        return super().read(at)

    def commit(
        self, table: TableId, staged: Staged, write: Append | Merge | Overwrite, *, metadata: Mapping[str, str]
    ) -> TableVersion:
        from deltalake import CommitProperties, DeltaTable, Schema, Transaction

        path = self.path(table)
        self.create(table, staged.schema, partition_by=staged.partition_by)
        current = DeltaTable(str(path))
        transactions = [Transaction(COMMIT, current.version() + 1)]
        if isinstance(write, Append | Merge) and self.batch(table, write.app) >= write.batch:
            return self.current(table)
        if write.app:
            transactions.append(Transaction(write.app, write.batch))
        properties = CommitProperties(dict(metadata), app_transactions=transactions)
        with conflicts_named(table):
            if not isinstance(write, Overwrite) or write.partitions is not None:
                current = _with_columns(current, staged.schema)
            if isinstance(write, Merge) and current.get_add_actions().num_rows:
                self._merge(current, staged, write, properties)
                return self.current(table)
            actions: list[AddAction | RemoveAction] = [self._adopt(file, path) for file in staged.files]
            mode = "append" if isinstance(write, Append | Merge) else "overwrite"
            if isinstance(write, Overwrite) and write.partitions is not None:
                # Removing exactly the files of these partitions keeps the commit one action list, whatever the days.
                actions = _removals(current, staged.partition_by[0], write.partitions) + actions
                mode = "append"
            current.create_write_transaction(
                actions,
                mode,
                Schema.from_arrow(staged.schema),
                partition_by=list(staged.partition_by),
                commit_properties=properties,
            )
        return self.current(table)

    def _merge(self, current: DeltaTable, staged: Staged, write: Merge, properties: CommitProperties) -> None:
        import pyarrow.dataset as ds

        files = [str(file.path) for file in staged.files]
        rows = ds.dataset(files, schema=staged.schema, format="parquet").scanner().to_reader()
        (
            current.merge(
                rows,
                write.matches,
                source_alias="new",
                target_alias="old",
                streamed_exec=staged.rows > MATERIALIZED_ROWS,
                commit_properties=properties,
            )
            .when_matched_update_all(write.newcomer_wins)
            .when_not_matched_insert_all()
            .execute()
        )

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


def _with_columns(table: DeltaTable, schema: pa.Schema) -> DeltaTable:
    """The table, which gets the columns of the schema that it lacks; to its rows they are null."""
    from deltalake import Field, Schema

    known = {field.name for field in table.schema().fields}
    missing: list[Field] = [field for field in Schema.from_arrow(schema).fields if field.name not in known]
    if missing:
        table.alter.add_columns(missing)
    return table


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
                    path=unquote(path.as_py()),  # read as the log has it, and encoded again when written
                    data_change=True,
                    deletion_timestamp=int(time.time() * 1000),
                    partition_values={column: value.as_py()},
                    size=size.as_py(),
                )
            )
    return removed
