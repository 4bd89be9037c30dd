"""Upkeep of the tables: merges small files, deletes rows past their retention, removes files that no version needs.

delta-rs makes every commit, whichever engine is set; Spark reads the result. Other writers wait while a table is worked
on. A commit is one file in the log, so a killed run leaves the table as it was, and files that `vacuum` removes later.
Pinned versions (`provenance.pins`) stay readable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pipelines.contracts.model import Contract
from pipelines.lakehouse import delta_commits, time_travel
from pipelines.lakehouse.base import Lakehouse
from pipelines.lakehouse.file_merge import FILE_BYTES
from pipelines.landing import interval
from pipelines.provenance.pins import Pins
from pipelines.tables import INGESTED_AT, PARTITION, TableId, TableVersion

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform

#: A table is compacted if that reduces its files by at least this number.
SPARED_FILES = 8
#: The size of a file to which compaction merges small ones.
TARGET_BYTES = 128 * 2**20
#: How long a version stays readable after it was replaced; `delta_commits.PROPERTIES` sets the same for the logs.
KEEP = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class UpkeepResult:
    """What upkeep did to one table, or to one folder of records.

    Attributes:
        name: The table, `zone/domain/table`, or what the folder holds.
        files_before: The number of files before: of the newest version if files were merged or rows deleted, on disk
            if files were removed.
        files_after: The same after.
        bytes_freed: The bytes of these files before, less those after. Only if files were removed is it disk space.
        rows_deleted: How many rows the newest version has fewer than the one before.
        words: What was done, for people.
    """

    name: str
    files_before: int
    files_after: int
    bytes_freed: int
    rows_deleted: int = 0
    words: str = ""


def compact(platform: Platform, *, commit_metadata: Mapping[str, str]) -> list[UpkeepResult]:
    """Merges the small files of each table that has many.

    Rows are ordered along a space-filling curve of the contract's `cluster` columns if it names any, so that a look-up
    by one of them reads few files. The files of a table that rows are merged into stay smaller, since a merge writes
    whole files.

    Args:
        platform: Where the tables are.
        commit_metadata: What each commit records about its run.
    """
    results = []
    for table in platform.lakehouse.whole_tables():
        with platform.lakehouse.writing(table):
            before = platform.lakehouse.current(table)
            target_bytes = FILE_BYTES if _is_merged(platform.lakehouse, before) else TARGET_BYTES
            if _spared_files(platform.lakehouse, before, target_bytes) < SPARED_FILES:
                continue
            contract = platform.contracts.get(table)
            cluster = contract.cluster if contract else ()
            delta_commits.compact(
                platform.lakehouse, table, target_bytes=target_bytes, cluster=cluster, metadata=commit_metadata
            )
            words = f"ordered by {', '.join(cluster)}" if cluster else "merged"
            results.append(_compare_with_newest(platform.lakehouse, before, words))
    return results


def _is_merged(house: Lakehouse, at: TableVersion) -> bool:
    """Whether rows may be merged into a table by key: into a silver table without days."""
    return at.table.zone == "silver" and not house.snapshot(at).delta.metadata().partition_columns


def _spared_files(house: Lakehouse, at: TableVersion, target_bytes: int) -> int:
    """How many fewer files a version would have if the small files of each partition were merged.

    0 if a partition value has other than ASCII letters and Spark wrote its files: delta-rs spells the paths of such
    files in another way than the log, so it would add the merged file and not remove the small ones.
    """
    import pyarrow as pa

    actions = pa.table(house.snapshot(at).delta.get_add_actions(flatten=True))
    if not all(unquote(path).isascii() for path in actions["path"].to_pylist()):
        return 0
    columns = [name for name in actions.column_names if name.startswith("partition.")]
    small = Counter(
        tuple(action[name] for name in columns)
        for action in actions.select([*columns, "size_bytes"]).to_pylist()
        if action["size_bytes"] < target_bytes // 2
    )
    return sum(count - 1 for count in small.values())


def retain(platform: Platform, *, commit_metadata: Mapping[str, str]) -> list[UpkeepResult]:
    """Deletes rows older than their contract's retention from bronze, silver and quarantine, by the platform's clock.

    From a table with days, whole days are deleted, by the day that the rows belong to; the newest snapshot stays until
    a newer one comes, and a partition that is no interval stays too. From a quarantine without days, rows are deleted
    by the time of their ingestion. A silver table without days is left alone: each run replaces it, so it follows its
    bronze table. The files of the deleted rows stay until `vacuum` removes them, and as long as a version with them is
    pinned.

    Args:
        platform: Where the tables are.
        commit_metadata: What each commit records about its run.

    Returns:
        One result for each table that lost rows.
    """
    house, results = platform.lakehouse, []
    for table in house.whole_tables():
        contract = _retention_contract(platform.contracts, table)
        if contract is None:
            continue
        limit = platform.now() - timedelta(seconds=contract.retention_seconds)
        with house.writing(table):
            at = house.current(table)
            expired = _expired(house, at, limit, keep_newest=contract.delivery == "snapshot")
            if expired is None:
                continue
            delta_commits.delete_rows(house, table, expired, metadata=commit_metadata)
            result = _compare_with_newest(house, at, f"before {limit:%Y-%m-%d}")
        if result.rows_deleted:
            results.append(result)
    return results


def _retention_contract(contracts: Mapping[TableId, Contract], table: TableId) -> Contract | None:
    """The contract whose retention applies to a table; None for a table without retention."""
    if table.zone not in ("bronze", "silver", "quarantine"):
        return None
    return contracts.get(TableId("silver", table.domain, table.table) if table.zone == "quarantine" else table)


def _expired(house: Lakehouse, at: TableVersion, limit: datetime, *, keep_newest: bool) -> str | None:
    """A SQL predicate for the rows to delete; None if no row is that old, or the table does not hold its rows' age."""
    import pyarrow.dataset as ds

    snapshot = house.snapshot(at)
    delta = snapshot.delta
    if PARTITION in delta.metadata().partition_columns:
        first_kept = limit.replace(hour=0, minute=0, second=0, microsecond=0)
        starts = {day: begin for day in snapshot.partition_rows(PARTITION) if (begin := interval.start(day))}
        newest = max(starts, default=None, key=interval.order) if keep_newest else None
        expired = sorted(day for day, begin in starts.items() if begin < first_kept and day != newest)
        quoted = ", ".join("'" + day.replace("'", "''") + "'" for day in expired)
        return f"{PARTITION} IN ({quoted})" if expired else None
    if INGESTED_AT not in {field.name for field in delta.schema().fields}:
        return None
    expired_rows = snapshot.arrow(columns=[INGESTED_AT], where=ds.field(INGESTED_AT) < ds.scalar(limit))
    return f"{INGESTED_AT} < '{limit.isoformat()}'" if expired_rows.num_rows else None


def vacuum(
    platform: Platform, pinned: Pins, *, commit_metadata: Mapping[str, str], keep: timedelta = KEEP
) -> list[UpkeepResult]:
    """Removes the files of each table that belong to no version to keep.

    Kept are the newest version, versions that were replaced less than `keep` ago, and pinned versions. Files that a
    killed run left in a table's folder are removed once they are older than `keep`.

    Args:
        platform: Where the tables are.
        pinned: The pinned versions.
        commit_metadata: What each commit records about its run.
        keep: How long a version stays readable after it was replaced.

    Returns:
        One result for each table that lost files.
    """
    tables = platform.lakehouse.whole_tables()
    results = [_vacuum(platform.lakehouse, table, pinned, commit_metadata, keep) for table in tables]
    return [result for result in results if result is not None]


def _vacuum(
    house: Lakehouse, table: TableId, pinned: Pins, commit_metadata: Mapping[str, str], keep: timedelta
) -> UpkeepResult | None:
    with house.writing(table):
        kept = [v for v in pinned.versions(table) if time_travel.is_readable(house, TableVersion(table, v))]
        folder = house.path(table)
        files_before, bytes_before = _on_disk(folder)
        if not delta_commits.vacuum(house, table, keep=keep, keep_versions=kept, metadata=commit_metadata):
            return None
        files_after, bytes_after = _on_disk(folder)
    words = f"kept for models: {', '.join(map(str, kept))}" if kept else "nothing pinned"
    return UpkeepResult(str(table), files_before, files_after, bytes_before - bytes_after, words=words)


def _on_disk(folder: Path) -> tuple[int, int]:
    """The number of data files in a table's folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts]
    return len(sizes), sum(sizes)


def _compare_with_newest(house: Lakehouse, before: TableVersion, words: str) -> UpkeepResult:
    """How the newest version of a table differs from an earlier one."""
    old, new = house.snapshot(before), house.snapshot(before.table)
    return UpkeepResult(
        name=str(before.table),
        files_before=len(old.files),
        files_after=len(new.files),
        bytes_freed=old.bytes - new.bytes,
        rows_deleted=old.rows - new.rows,
        words=words,
    )


def totals(results: Sequence[UpkeepResult]) -> dict[str, int]:
    """The number of results, and the sum of each of their figures."""
    return {
        "tables": len(results),
        "files_before": sum(result.files_before for result in results),
        "files_after": sum(result.files_after for result in results),
        "bytes_freed": sum(result.bytes_freed for result in results),
        "rows_deleted": sum(result.rows_deleted for result in results),
    }
