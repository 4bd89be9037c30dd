"""All commits by delta-rs: new tables, staged files, merges, the platform's records, and those of upkeep.

The commits by delta-spark are in `lakehouse.spark`. A commit adds one file to the table's log: a process that is killed
before that leaves the table as it was, with data files that no version names and that `vacuum` removes.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipelines.errors import CommitConflict, DefinitionError
from pipelines.lakehouse import file_merge
from pipelines.lakehouse.catalog import Catalog
from pipelines.lakehouse.staging import Merge, Overwrite, Replace, Staged, StagedFile, Write
from pipelines.retrying import Backoff
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
    from deltalake.transaction import AddAction, RemoveAction

#: Properties of every table: no engine removes old log entries, since only upkeep knows which versions the records of
#: models name; replaced files are kept for 30 days; a checkpoint is written every 10 commits.
PROPERTIES: dict[str, str | None] = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.deletedFileRetentionDuration": "interval 30 days",
    "delta.checkpointInterval": "10",
}
#: A partition folder whose name needs no percent-encoding. The folders only serve people: the log has each file's
#: partition.
PLAIN_FOLDER = re.compile(r"[A-Za-z0-9_./=-]+")
#: What begins the names of a file's partition values among the columns that delta-rs gives of it.
PARTITION_VALUE = "partition."
#: The app of a transaction that every commit records with its version: of two commits that began at the same version
#: the second one fails, even if both only add files.
COMMIT_APP = "goldpath"


@contextlib.contextmanager
def _commit_conflicts(table: TableId) -> Iterator[None]:
    """Raises CommitConflict where delta-rs fails because another writer committed first."""
    from deltalake.exceptions import CommitFailedError

    try:
        yield
    except CommitFailedError as error:
        raise CommitConflict(
            object=f"table {table}",
            observed=str(error),
            expected="no commit by another writer since this one began",
            next_step="nothing to do: no rows are lost, and the run is tried again",
        ) from error


def create(catalog: Catalog, table: TableId, schema: pa.Schema, *, partition_by: Sequence[str] = ()) -> None:
    """Creates an empty table if there is none; raises CommitConflict if another writer creates it meanwhile."""
    from deltalake import DeltaTable, Schema

    path = catalog.path(table)
    path.mkdir(parents=True, exist_ok=True)
    with _commit_conflicts(table):
        DeltaTable.create(
            str(path),
            Schema.from_arrow(schema),
            mode="ignore",
            partition_by=list(partition_by),
            configuration=PROPERTIES,
        )


def append_rows(catalog: Catalog, table: TableId, rows: pa.Table) -> None:
    """Appends rows from memory; creates the table, and columns that it lacks.

    A conflict with another commit is retried, since its writers hold no lock. Raises CommitConflict after the last try.
    """
    from deltalake import write_deltalake

    path = catalog.path(table)
    path.parent.mkdir(parents=True, exist_ok=True)

    def append() -> None:
        with _commit_conflicts(table):
            write_deltalake(str(path), rows, mode="append", schema_mode="merge", configuration=PROPERTIES)

    Backoff(first_seconds=0.1).call(append)


def commit_staged(
    catalog: Catalog, table: TableId, staged: Staged, write: Write, *, metadata: Mapping[str, str]
) -> None:
    """Publishes staged files as the table's next version; does nothing if the app has committed this batch before.

    Creates the table if there is none. The files are moved into the table's folder.

    Raises:
        CommitConflict: if another writer committed in between.
        DefinitionError: if the table's files lie by other partition columns.
    """
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, Schema, Transaction

    path = catalog.path(table)
    if catalog.version(table) is None:
        create(catalog, table, staged.schema, partition_by=staged.partition_by)
    current = DeltaTable(str(path))
    _require_partitions(table, path, staged.partition_by, current.metadata().partition_columns)
    transactions = [Transaction(COMMIT_APP, current.version() + 1)]
    if not isinstance(write, Overwrite) and catalog.batch(table, write.app) >= write.batch:
        return
    if write.app:
        transactions.append(Transaction(write.app, write.batch))
    properties = CommitProperties(dict(metadata), app_transactions=transactions)
    with _commit_conflicts(table):
        if not isinstance(write, Overwrite) or write.partitions is not None:
            current = _with_columns(current, staged.schema)
        if isinstance(write, Merge) and staged.rows > file_merge.HELD_ROWS:
            file_merge.merge_streamed(current, staged, write, properties)
            return
        if isinstance(write, Replace):
            _replace(current, staged, write, properties)
            return
        actions: list[AddAction | RemoveAction] = []
        files = staged.files
        if isinstance(write, Merge) and (present := _files(current)):
            schema = pa.schema(current.schema().to_arrow())
            merged = file_merge.merge([path / name for name in present], schema, staged, write)
            actions += [_removal(present[name]) for name in present if path / name in merged.removed]
            files = merged.added
        elif isinstance(write, Overwrite) and write.partitions is not None:
            column, wanted = f"{PARTITION_VALUE}{staged.partition_by[0]}", set(write.partitions)
            actions += [_removal(file) for file in _files(current).values() if file[column] in wanted]
        actions += _adopted(files, path)
        # A commit that removes chosen files is an append that also removes them.
        everything = isinstance(write, Overwrite) and write.partitions is None
        current.create_write_transaction(
            actions,
            "overwrite" if everything else "append",
            Schema.from_arrow(staged.schema),
            partition_by=list(staged.partition_by),
            commit_properties=properties,
        )


def _require_partitions(table: TableId, path: Path, declared: Sequence[str], present: Sequence[str]) -> None:
    """Raises DefinitionError unless the table's files lie by the partition columns that are declared now."""
    if list(declared) != list(present):
        was, now = (f"by {', '.join(names)}" if names else "without partitions" for names in (present, declared))
        raise DefinitionError(
            object=f"table {table}",
            observed=f"its files lie {was}",
            expected=f"files {now}, as the table is declared now",
            next_step=f"take the change back; or move {path} away and materialize the table and those derived from it "
            "again: what landed is taken again",
        )


def _replace(current: DeltaTable, staged: Staged, write: Replace, properties: CommitProperties) -> None:
    import pyarrow as pa
    import pyarrow.dataset as ds
    from deltalake import write_deltalake

    partitions = pa.schema([staged.schema.field(name) for name in staged.partition_by])
    rows = ds.dataset(
        [str(file.path) for file in staged.files],
        schema=staged.schema,
        format="parquet",
        partitioning=ds.partitioning(partitions, flavor="hive"),
        partition_base_dir=str(staged.folder),
    )
    values = ", ".join("'" + value.replace("'", "''") + "'" for value in write.values)
    write_deltalake(
        current,
        rows.scanner().to_reader(),
        mode="overwrite",
        predicate=f"{write.column} IN ({values})",
        schema_mode="merge",
        commit_properties=properties,
    )


def _adopted(files: Iterable[StagedFile], path: Path) -> Iterator[AddAction]:
    """Moves staged files into the table's folder; yields the actions that add them to the table."""
    from deltalake.transaction import AddAction

    made = set()
    for file in files:
        folder = "/".join(f"{column}={value}" for column, value in file.partition.items())
        if not PLAIN_FOLDER.fullmatch(folder):  # delta-rs returns such paths encoded; a removal of that has no effect
            folder = ""
        if folder not in made:
            (path / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        name = f"{folder}/{uuid.uuid4().hex}.parquet".lstrip("/")
        file.path.rename(path / name)
        yield AddAction(
            path=name,
            size=file.bytes,
            partition_values=dict(file.partition),
            modification_time=int(time.time() * 1000),
            data_change=True,
            stats=json.dumps({"numRecords": file.rows} | ({"nullCount": dict(file.nulls)} if file.nulls else {})),
        )


def _with_columns(table: DeltaTable, schema: pa.Schema) -> DeltaTable:
    """Adds the schema's columns that the table lacks, null in its present rows; returns the table."""
    from deltalake import Field, Schema

    known = {field.name for field in table.schema().fields}
    missing: list[Field] = [field for field in Schema.from_arrow(schema).fields if field.name not in known]
    if missing:
        table.alter.add_columns(missing)
    return table


def _files(table: DeltaTable) -> dict[str, dict[str, Any]]:
    """Path, size and partition values of each file of the table, by its path below the table's folder."""
    import pyarrow as pa

    files = pa.table(table.get_add_actions(flatten=True))
    names = [n for n in files.column_names if n in ("path", "size_bytes") or n.startswith(PARTITION_VALUE)]
    return {unquote(file["path"]): file for file in files.select(names).to_pylist()}  # delta-rs encodes paths


def _removal(file: Mapping[str, Any]) -> RemoveAction:
    """The action that removes a file from the table."""
    from deltalake.transaction import RemoveAction

    return RemoveAction(
        path=unquote(file["path"]),  # which delta-rs encodes again
        data_change=True,
        deletion_timestamp=int(time.time() * 1000),
        partition_values={
            name.removeprefix(PARTITION_VALUE): value
            for name, value in file.items()
            if name.startswith(PARTITION_VALUE)
        },
        size=file["size_bytes"],
    )


def compact(
    catalog: Catalog, table: TableId, *, target_bytes: int, cluster: Sequence[str], metadata: Mapping[str, str]
) -> None:
    """Merges small files to about `target_bytes`; with `cluster` columns, rewrites all rows in Z-order over them."""
    delta, (commit, hooks) = _with_properties(catalog, table), _upkeep_commit(metadata)
    options: dict[str, Any] = {"target_size": target_bytes, "commit_properties": commit}
    if cluster:
        delta.optimize.z_order(cluster, post_commithook_properties=hooks, **options)
    else:
        delta.optimize.compact(post_commithook_properties=hooks, **options)


def delete_rows(catalog: Catalog, table: TableId, predicate: str, *, metadata: Mapping[str, str]) -> None:
    """Commits a version without the rows for which a SQL predicate is true; earlier versions keep them."""
    commit, hooks = _upkeep_commit(metadata)
    _with_properties(catalog, table).delete(predicate, commit_properties=commit, post_commithook_properties=hooks)


def vacuum(
    catalog: Catalog, table: TableId, *, keep: timedelta, keep_versions: Sequence[int], metadata: Mapping[str, str]
) -> bool:
    """Removes the files that no kept version needs.

    Kept are the newest version, `keep_versions`, and the versions that were current within the last `keep`.

    Returns:
        Whether there was a file to remove.
    """
    commit, hooks = _upkeep_commit(metadata)
    options: dict[str, Any] = {
        "retention_hours": keep // timedelta(hours=1),
        "enforce_retention_duration": False,
        "full": True,  # also files that no entry of the log names
        "keep_versions": list(keep_versions) or None,
    }
    delta, folder = _with_properties(catalog, table), catalog.path(table)
    if not any((folder / name).exists() for name in delta.vacuum(dry_run=True, **options)):
        return False  # the dry run also names files that an earlier vacuum removed
    delta.vacuum(dry_run=False, commit_properties=commit, post_commithook_properties=hooks, **options)
    return True


def checkpoint(catalog: Catalog, of: TableId | TableVersion) -> None:
    """Writes a checkpoint of a version (of a table: the newest), after which readers need no older log entry."""
    catalog.snapshot(of).delta.create_checkpoint()


def newest_version(catalog: Catalog, table: TableId) -> int:
    """The number of the newest version, after a commit that sets PROPERTIES if the table lacks one of them."""
    return _with_properties(catalog, table).version()


def _with_properties(catalog: Catalog, table: TableId) -> DeltaTable:
    """The newest version of the table, after a commit that sets PROPERTIES if it lacks one of them.

    It is opened for the caller alone: a commit moves it to another version, which a snapshot must not do.
    """
    from deltalake import DeltaTable

    delta = DeltaTable(str(catalog.path(table)), version=catalog.current(table).version)
    stored = delta.metadata().configuration
    if any(stored.get(name) != value for name, value in PROPERTIES.items()):
        delta.alter.set_table_properties({name: str(value) for name, value in PROPERTIES.items()})
    return delta


def _upkeep_commit(metadata: Mapping[str, str]) -> tuple[CommitProperties, PostCommitHookProperties]:
    """The properties of a commit by upkeep, which removes no entries of the log."""
    from deltalake import CommitProperties, PostCommitHookProperties

    return CommitProperties(dict(metadata)), PostCommitHookProperties(cleanup_expired_logs=False)
