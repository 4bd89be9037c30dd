"""Every commit that delta-rs makes: new tables, staged files, rows of records, merges, and upkeep's.

The commits of delta-spark are in `lakehouse.spark`. A commit is one file in the table's log: a killed process leaves
the table as it was, with files that no version names and that `vacuum` removes.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipelines.errors import CommitConflict
from pipelines.lakehouse.catalog import Catalog
from pipelines.lakehouse.staging import Append, Merge, Overwrite, Staged, StagedFile
from pipelines.retrying import Backoff
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
    from deltalake.transaction import AddAction, RemoveAction

#: Properties of every table: no engine removes old entries of the log, since only upkeep knows which versions a model's
#: record names; and a checkpoint is written every 10 commits.
PROPERTIES: dict[str, str | None] = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.deletedFileRetentionDuration": "interval 30 days",
    "delta.checkpointInterval": "10",
}
#: Rows that a merge holds in memory, to look up only the files that may have their keys.
MATERIALIZED_ROWS = 1_000_000
TARGET_BYTES = 128 * 2**20
#: Folders named by their partition are for people; a table's log names each file and its partition anyway.
PLAIN = re.compile(r"[A-Za-z0-9_./=-]+")
#: An app transaction of every commit: of two that began at one version the second fails, even if both only add files.
COMMIT = "goldpath"


@contextlib.contextmanager
def conflicts_named(table: TableId) -> Iterator[None]:
    """Raises CommitConflict where delta-rs reports that another commit was faster."""
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


def create(catalog: Catalog, table: TableId, schema: pa.Schema, *, partition_by: Sequence[str] = ()) -> None:
    """Creates an empty table, unless there is one; raises CommitConflict if another writer does at this moment."""
    from deltalake import DeltaTable, Schema

    path = catalog.path(table)
    path.mkdir(parents=True, exist_ok=True)
    with conflicts_named(table):
        DeltaTable.create(
            str(path),
            Schema.from_arrow(schema),
            mode="ignore",
            partition_by=list(partition_by),
            configuration=PROPERTIES,
        )


def append_rows(catalog: Catalog, table: TableId, rows: pa.Table) -> None:
    """Appends rows from memory, and creates the table on first use; retried, since no lock holds its writers apart."""
    from deltalake import write_deltalake

    path = catalog.path(table)
    path.parent.mkdir(parents=True, exist_ok=True)

    def append() -> None:
        with conflicts_named(table):
            write_deltalake(str(path), rows, mode="append", schema_mode="merge", configuration=PROPERTIES)

    Backoff(first_seconds=0.1).call(append)


def commit_staged(
    catalog: Catalog, table: TableId, staged: Staged, write: Append | Merge | Overwrite, *, metadata: Mapping[str, str]
) -> None:
    """Publishes staged files as the table's next version; does nothing if the app has committed this batch before.

    Raises:
        CommitConflict: if another writer committed in between.
    """
    from deltalake import CommitProperties, DeltaTable, Schema, Transaction

    path = catalog.path(table)
    create(catalog, table, staged.schema, partition_by=staged.partition_by)
    current = DeltaTable(str(path))
    transactions = [Transaction(COMMIT, current.version() + 1)]
    if isinstance(write, Append | Merge) and catalog.batch(table, write.app) >= write.batch:
        return
    if write.app:
        transactions.append(Transaction(write.app, write.batch))
    properties = CommitProperties(dict(metadata), app_transactions=transactions)
    with conflicts_named(table):
        if not isinstance(write, Overwrite) or write.partitions is not None:
            current = _with_columns(current, staged.schema)
        if isinstance(write, Merge) and current.get_add_actions().num_rows:
            _merge(current, staged, write, properties)
            return
        actions: list[AddAction | RemoveAction] = [_adopt(file, path) for file in staged.files]
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


def _merge(current: DeltaTable, staged: Staged, write: Merge, properties: CommitProperties) -> None:
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


def _adopt(file: StagedFile, path: Path) -> AddAction:
    """Moves a staged file into the table's folder; returns the action that names it."""
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
    """The table with the schema's columns that it lacks; they are null in its rows."""
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

    removals = []
    wanted = set(values)
    files = pa.table(table.get_add_actions(flatten=True))
    for path, size, value in zip(files["path"], files["size_bytes"], files[f"partition.{column}"], strict=True):
        if value.as_py() in wanted:
            removals.append(
                RemoveAction(
                    path=unquote(path.as_py()),  # read as the log has it, and encoded again when written
                    data_change=True,
                    deletion_timestamp=int(time.time() * 1000),
                    partition_values={column: value.as_py()},
                    size=size.as_py(),
                )
            )
    return removals


def compact(catalog: Catalog, table: TableId, *, cluster: Sequence[str], metadata: Mapping[str, str]) -> None:
    """Merges small files, ordered along a space-filling curve of the `cluster` columns if there are any."""
    delta, (commit, hooks) = _with_properties(catalog, table), _upkeep_commit(metadata)
    options: dict[str, Any] = {"target_size": TARGET_BYTES, "commit_properties": commit}
    if cluster:
        delta.optimize.z_order(cluster, post_commithook_properties=hooks, **options)
    else:
        delta.optimize.compact(post_commithook_properties=hooks, **options)


def delete_rows(catalog: Catalog, table: TableId, predicate: str, *, metadata: Mapping[str, str]) -> None:
    """Deletes the rows for which a SQL predicate is true, from the newest version on."""
    commit, hooks = _upkeep_commit(metadata)
    _with_properties(catalog, table).delete(predicate, commit_properties=commit, post_commithook_properties=hooks)


def vacuum(
    catalog: Catalog, table: TableId, *, keep: timedelta, keep_versions: Sequence[int], metadata: Mapping[str, str]
) -> bool:
    """Removes the files that no version of the last `keep` needs, nor one of `keep_versions`, nor the newest.

    Returns:
        Whether there was a file to remove.
    """
    commit, hooks = _upkeep_commit(metadata)
    options: dict[str, Any] = {
        "retention_hours": keep // timedelta(hours=1),
        "enforce_retention_duration": False,
        "full": True,  # also what no entry of the log names
        "keep_versions": list(keep_versions) or None,
    }
    delta, folder = _with_properties(catalog, table), catalog.path(table)
    if not any((folder / name).exists() for name in delta.vacuum(dry_run=True, **options)):
        return False  # the dry run also names files that an earlier vacuum removed
    delta.vacuum(dry_run=False, commit_properties=commit, post_commithook_properties=hooks, **options)
    return True


def checkpoint(catalog: Catalog, of: TableId | TableVersion) -> None:
    """Writes a checkpoint of a version, the newest of a table by default: a reader needs no older entry of the log."""
    catalog.snapshot(of).delta.create_checkpoint()


def newest_version(catalog: Catalog, table: TableId) -> int:
    """The newest version, once the table has the properties of every table."""
    return _with_properties(catalog, table).version()


def _with_properties(catalog: Catalog, table: TableId) -> DeltaTable:
    delta = catalog.snapshot(table).delta
    stored = delta.metadata().configuration
    if any(stored.get(name) != value for name, value in PROPERTIES.items()):
        delta.alter.set_table_properties({name: str(value) for name, value in PROPERTIES.items()})
        delta = catalog.snapshot(table).delta
    return delta


def _upkeep_commit(metadata: Mapping[str, str]) -> tuple[CommitProperties, PostCommitHookProperties]:
    from deltalake import CommitProperties, PostCommitHookProperties

    return CommitProperties(dict(metadata)), PostCommitHookProperties(cleanup_expired_logs=False)
