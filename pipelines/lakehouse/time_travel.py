"""A table's history: its commits, the version as of an instant, and the commit that wrote the rows of a version.

Each commit of a governed run records in the table's log the run and the input versions that the run read: delta-rs
keeps them as entries of the commit, Spark as `userMetadata`. Upkeep (compaction, retention, vacuum) commits through
delta-rs on both engines and adds no rows: the rows of its versions come from the last write before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.errors import NotFoundError
from pipelines.lakehouse.catalog import Catalog
from pipelines.tables import TableId, TableVersion

#: Operations that add rows, as both engines name them in the log.
WRITES = ("WRITE", "MERGE")
#: Operations that change no row.
NEUTRAL = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "ADD COLUMN")


@dataclass(frozen=True, slots=True)
class Commit:
    """One entry of a table's log.

    Attributes:
        at: The version that it published.
        committed_at: The time of the commit in UTC, by the writer's wall clock.
        operation: WRITE, OPTIMIZE, DELETE, VACUUM END, ….
        run_id: The Dagster run; None for a commit outside a run.
        asset: The asset that the run materialized; None for a commit outside a run.
        inputs: The input versions that the run read, by parameter name; None for a commit that records none.
    """

    at: TableVersion
    committed_at: datetime
    operation: str
    run_id: str | None
    asset: str | None
    inputs: Mapping[str, TableVersion] | None


def commits(catalog: Catalog, table: TableId, *, newest: int | None = None) -> list[Commit]:
    """The commits that the table's log still holds, newest first.

    Args:
        catalog: Where the table is.
        table: The table.
        newest: How many of them to read at most; None for all.

    Raises:
        NotFoundError: if there is no such table.
    """
    return [_commit(table, entry) for entry in catalog.snapshot(table).delta.history(newest)]


def _commit(table: TableId, entry: Mapping[str, Any]) -> Commit:
    metadata = _json_object(entry.get("userMetadata")) or entry
    inputs = _json_object(metadata.get("inputs"))
    return Commit(
        at=TableVersion(table, int(entry["version"])),
        committed_at=datetime.fromtimestamp(entry["timestamp"] / 1000, tz=UTC),
        operation=str(entry.get("operation", "")),
        run_id=metadata.get("run_id"),
        asset=metadata.get("asset"),
        inputs=None if inputs is None else {name: TableVersion.parse(text) for name, text in inputs.items()},
    )


def _json_object(text: Any) -> dict[str, Any] | None:
    """The JSON object that the text holds; None for anything else, such as text that another tool wrote there."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def at(catalog: Catalog, table: TableId, instant: datetime) -> TableVersion:
    """The version as of an instant: the newest one that was committed at or before it, by the writer's wall clock.

    Args:
        catalog: Where the table is.
        table: The table.
        instant: The instant, with its time zone.

    Raises:
        NotFoundError: if the log begins later, or the version's files were vacuumed.
    """
    known = commits(catalog, table)
    newest = next((commit for commit in known if commit.committed_at <= instant), None)
    if newest is None:
        first = f"{known[-1].at.version} of {known[-1].committed_at.isoformat()}" if known else "none"
        raise NotFoundError(
            object=f"table {table} as of {instant.isoformat()}",
            observed=f"the first version that its log holds is {first}",
            expected="an instant at or after the first commit",
            next_step=f"choose a later instant; `goldpath tables history {table}` lists the commits",
        )
    catalog.snapshot(newest.at).require_readable()
    return newest.at


def made_by(known: list[Commit], at: TableVersion) -> Commit | None:
    """The commit that wrote the rows of a version: the last write at or before it, since upkeep adds no rows.

    Args:
        known: The table's commits, newest first, as `commits` returns them.
        at: The version.

    Returns:
        The commit; None if the log does not hold it any more.
    """
    return next((c for c in known if c.at.version <= at.version and c.operation in WRITES), None)


def holds_the_rows_of(catalog: Catalog, table: TableId, version: int) -> bool:
    """Whether the newest version has the same rows as an earlier one: no commit since then has changed a row."""
    newest = catalog.current(table).version
    if version >= newest:
        return version == newest
    since = catalog.snapshot(table).delta.history(newest - version)
    return len(since) == newest - version and all(entry.get("operation") in NEUTRAL for entry in since)


def is_readable(catalog: Catalog, at: TableVersion) -> bool:
    """Whether the log holds the version and all its data files exist."""
    try:
        return not catalog.snapshot(at).missing_files()
    except NotFoundError:
        return False


def history(catalog: Catalog, table: TableId, *, limit: int) -> list[dict[str, Any]]:
    """The newest commits, as `goldpath tables history` lists them, newest first. Grain: one entry per commit.

    `rows` is the number of the version's rows, known also if its files were vacuumed; `committed_at` is UTC.
    """
    return [
        {
            "version": commit.at.version,
            "committed_at": commit.committed_at.isoformat(),
            "operation": commit.operation,
            "rows": catalog.snapshot(commit.at).rows,
            "asset": commit.asset,
            "run_id": commit.run_id,
            "inputs": {name: str(version) for name, version in (commit.inputs or {}).items()},
        }
        for commit in commits(catalog, table)[:limit]
    ]
