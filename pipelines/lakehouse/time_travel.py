"""A table's past: its commits, the version of an instant, and which versions of which tables a version was made from.

Each commit of a governed run says in the table's log which run made it and which input versions that run had read:
delta-rs keeps these as entries of the commit, Spark as `userMetadata`. Upkeep (compaction, retention, vacuum) commits
through delta-rs on both engines and names itself; what it leaves was made by the last `WRITE` before it.
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

#: The operations of commits that brought rows, in the words of both engines.
WRITES = ("WRITE", "MERGE")
#: Those that leave every row as it is.
NEUTRAL = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "ADD COLUMN")


@dataclass(frozen=True, slots=True)
class Commit:
    """One entry of a table's log.

    Attributes:
        at: The version that it made.
        committed_at: When, UTC, by the writer's wall clock.
        operation: WRITE, OPTIMIZE, DELETE, VACUUM END, ….
        run_id: The Dagster run; None for what no run made.
        asset: The asset whose run it was.
        inputs: The input versions by parameter name; None for a commit that names none.
    """

    at: TableVersion
    committed_at: datetime
    operation: str
    run_id: str | None
    asset: str | None
    inputs: Mapping[str, TableVersion] | None


def commits(catalog: Catalog, table: TableId) -> list[Commit]:
    """Every commit that the table's log still holds, newest first; raises NotFoundError for no table."""
    return [_commit(table, entry) for entry in catalog.snapshot(table).delta.history()]


def _commit(table: TableId, entry: Mapping[str, Any]) -> Commit:
    told = _json(entry.get("userMetadata")) or entry
    inputs = _json(told.get("inputs"))
    return Commit(
        at=TableVersion(table, int(entry["version"])),
        committed_at=datetime.fromtimestamp(entry["timestamp"] / 1000, tz=UTC),
        operation=str(entry.get("operation", "")),
        run_id=told.get("run_id"),
        asset=told.get("asset"),
        inputs=None if inputs is None else {name: TableVersion.parse(text) for name, text in inputs.items()},
    )


def _json(text: Any) -> dict[str, Any] | None:
    """A JSON object; None for anything else, such as what another tool wrote there."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def at(catalog: Catalog, table: TableId, instant: datetime) -> TableVersion:
    """The newest version that was committed at or before an instant, UTC, by the wall clock.

    Raises:
        NotFoundError: if the log begins later, or the version's files were vacuumed.
    """
    known = commits(catalog, table)
    found = next((commit for commit in known if commit.committed_at <= instant), None)
    if found is None:
        first = f"{known[-1].at.version} of {known[-1].committed_at.isoformat()}" if known else "none"
        raise NotFoundError(
            object=f"table {table} as of {instant.isoformat()}",
            observed=f"the first version that its log holds is {first}",
            expected="an instant at or after the first commit",
            next_step=f"choose a later instant; `goldpath tables history {table}` lists the commits",
        )
    catalog.snapshot(found.at).require_readable()
    return found.at


def made_by(known: list[Commit], at: TableVersion) -> Commit | None:
    """The commit that the content of a version comes from: upkeep after it brought no rows. None if it is no longer
    in the log."""
    return next((c for c in known if c.at.version <= at.version and c.operation in WRITES), None)


def holds_the_rows_of(catalog: Catalog, table: TableId, version: int) -> bool:
    """Whether the newest version has the rows of an earlier one: whatever came since left them as they are."""
    newest = catalog.current(table).version
    if version >= newest:
        return version == newest
    since = catalog.snapshot(table).delta.history(newest - version)
    return len(since) == newest - version and all(entry.get("operation") in NEUTRAL for entry in since)


def is_readable(catalog: Catalog, at: TableVersion) -> bool:
    """Whether the log holds the version and every one of its files is there."""
    try:
        return not catalog.snapshot(at).missing_files()
    except NotFoundError:
        return False


def history(catalog: Catalog, table: TableId, *, limit: int) -> list[dict[str, Any]]:
    """The newest commits as `goldpath tables history` lists them, newest first. Grain: one entry per commit.

    `rows` counts the version's rows, also where its files are gone.
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
