"""Upkeep of the tables: small files are merged, rows past their retention deleted, files that no version needs removed.

Every commit here is delta-rs's, on both engines; a Spark lakehouse reads what it leaves. Each table is held against
other writers while it is worked on. A commit is one file in the log, so a killed run leaves the table as it was, with
litter that `vacuum` finds. What a model's record names (`pins`) stays readable.
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
from pipelines.provenance.pins import Pins
from pipelines.tables import INGESTED_AT, PARTITION, TableId, TableVersion

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform

#: A table is compacted once that would spare so many files.
SPARED_FILES = 8
#: How long every version stays readable after it was replaced: what `delta_commits.PROPERTIES` tells the tables' logs.
KEEP = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Upkept:
    """What was done to one table, or one folder of records.

    Attributes:
        name: The table, `zone/domain/table`, or what the folder holds.
        files_before: Its files, before and after: of the newest version where rows are merged or deleted, on disk
            where files are removed.
        bytes_freed: What these files shrank by, in bytes; on disk only where files are removed.
        rows_deleted: Rows of the newest version that are gone.
        words: How, for people.
    """

    name: str
    files_before: int
    files_after: int
    bytes_freed: int
    rows_deleted: int = 0
    words: str = ""


def compact(platform: Platform, *, told: Mapping[str, str]) -> list[Upkept]:
    """Merges the small files of each table that has many; along a space-filling curve where the contract names
    `cluster` columns, so that a look-up by one of them reads few files. `told` is kept with the commits."""
    done = []
    for table in platform.lakehouse.tables():
        with platform.lakehouse.writing(table):
            before = platform.lakehouse.current(table)
            spared = _spared_files(platform.lakehouse, before)
            if spared < SPARED_FILES:
                continue
            contract = platform.contracts.get(table)
            cluster = contract.cluster if contract else ()
            delta_commits.compact(platform.lakehouse, table, cluster=cluster, metadata=told)
            words = f"ordered by {', '.join(cluster)}" if cluster else "merged"
            done.append(_changed(platform.lakehouse, before, words))
    return done


def _spared_files(house: Lakehouse, at: TableVersion) -> int:
    """How many files fewer a version would have with the small ones of each partition merged.

    None where a partition's folder has other letters than ASCII, as Spark writes them: delta-rs spells such a file in
    another way than the log, and would leave it beside the merged one.
    """
    import pyarrow as pa

    actions = pa.table(house.snapshot(at).delta.get_add_actions(flatten=True))
    if not all(unquote(path).isascii() for path in actions["path"].to_pylist()):
        return 0
    columns = [name for name in actions.column_names if name.startswith("partition.")]
    small = Counter(
        tuple(action[name] for name in columns)
        for action in actions.select([*columns, "size_bytes"]).to_pylist()
        if action["size_bytes"] < delta_commits.TARGET_BYTES // 2
    )
    return sum(count - 1 for count in small.values())


def retain(platform: Platform, *, told: Mapping[str, str]) -> list[Upkept]:
    """Deletes what is older than its contract's retention from bronze, silver and quarantine, by the platform's clock.

    A table with days loses whole days by the day that its rows belong to, but for the newest snapshot, which holds
    until the next; a quarantine without days loses rows by when they were ingested. A silver table without days is
    replaced whole by each run and follows its bronze table. Versions before that are files still: they go with
    `vacuum`, and stay for as long as a model's record names them.
    """
    house, done = platform.lakehouse, []
    for table in house.tables():
        contract = _retention_contract(platform.contracts, table)
        if contract is None:
            continue
        before = platform.now() - timedelta(seconds=contract.retention_seconds)
        with house.writing(table):
            at = house.current(table)
            expired = _expired(house, at, before, newest_stays=contract.delivery == "snapshot")
            if expired is None:
                continue
            delta_commits.delete_rows(house, table, expired, metadata=told)
            kept = _changed(house, at, f"before {before:%Y-%m-%d}")
        if kept.rows_deleted:
            done.append(kept)
    return done


def _retention_contract(contracts: Mapping[TableId, Contract], table: TableId) -> Contract | None:
    if table.zone not in ("bronze", "silver", "quarantine"):
        return None
    return contracts.get(TableId("silver", table.domain, table.table) if table.zone == "quarantine" else table)


def _expired(house: Lakehouse, at: TableVersion, before: datetime, *, newest_stays: bool) -> str | None:
    """What to delete, as a predicate; None if nothing is that old, or the table says no row's age."""
    import pyarrow.dataset as ds

    snapshot = house.snapshot(at)
    delta = snapshot.delta
    if PARTITION in delta.metadata().partition_columns:
        day = before.date().isoformat()
        values = set(snapshot.partition_rows(PARTITION))
        kept = max(values, default="") if newest_stays else None
        old = sorted(value for value in values if value < day and value != kept)
        quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in old)
        return f"{PARTITION} IN ({quoted})" if old else None
    if INGESTED_AT not in {field.name for field in delta.schema().fields}:
        return None
    aged = snapshot.arrow(columns=[INGESTED_AT], where=ds.field(INGESTED_AT) < ds.scalar(before))
    return f"{INGESTED_AT} < '{before.isoformat()}'" if aged.num_rows else None


def vacuum(platform: Platform, pinned: Pins, *, told: Mapping[str, str], keep: timedelta = KEEP) -> list[Upkept]:
    """Removes the files that no version needs: neither the newest, nor one replaced less than `keep` ago, nor a pinned.

    Also found is what a killed run left in a table's folder, once it is that old.
    """
    return [done for table in platform.lakehouse.tables() if (done := _vacuum(platform, table, pinned, told, keep))]


def _vacuum(
    platform: Platform, table: TableId, pinned: Pins, told: Mapping[str, str], keep: timedelta
) -> Upkept | None:
    house = platform.lakehouse
    with house.writing(table):
        held = [v for v in pinned.versions(table) if time_travel.is_readable(house, TableVersion(table, v))]
        folder = house.path(table)
        before = _on_disk(folder)
        if not delta_commits.vacuum(house, table, keep=keep, keep_versions=held, metadata=told):
            return None
        after = _on_disk(folder)
    words = f"kept for models: {', '.join(map(str, held))}" if held else "nothing pinned"
    return Upkept(str(table), before[0], after[0], before[1] - after[1], words=words)


def _on_disk(folder: Path) -> tuple[int, int]:
    """How many data files lie in a table's folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts]
    return len(sizes), sum(sizes)


def _changed(house: Lakehouse, before: TableVersion, words: str) -> Upkept:
    """The newest version in comparison with the one before."""
    old, new = house.snapshot(before), house.snapshot(before.table)
    return Upkept(
        name=str(before.table),
        files_before=len(old.files),
        files_after=len(new.files),
        bytes_freed=old.bytes - new.bytes,
        rows_deleted=old.rows - new.rows,
        words=words,
    )


def totals(done: Sequence[Upkept]) -> dict[str, int]:
    """The figures of all, added up."""
    return {
        "tables": len(done),
        "files_before": sum(part.files_before for part in done),
        "files_after": sum(part.files_after for part in done),
        "bytes_freed": sum(part.bytes_freed for part in done),
        "rows_deleted": sum(part.rows_deleted for part in done),
    }
