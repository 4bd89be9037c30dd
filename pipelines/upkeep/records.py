"""Removes old records of past work: entries of the tables' logs, and quality results.

The newest state of everything stays, and so do costs and lineage. `orchestration.event_pruning` removes the events of
Dagster's old runs, and keeps Dagster's list of runs and its asset events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.lakehouse import delta_commits, time_travel
from pipelines.provenance.pins import Pins
from pipelines.tables import TableId, TableVersion
from pipelines.upkeep.maintenance import KEEP, UpkeepResult

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform

#: A table gets a checkpoint every so many commits; a reader needs the last checkpoint and the commits after it.
COMMITS_PER_CHECKPOINT = 10
#: A log is cleaned if that removes at least this number of entries.
SPARED_ENTRIES = 20
#: The name of a log entry begins with the version that it makes.
ENTRY = re.compile(r"(\d{20})\.")


def checkpoint_and_clean(platform: Platform, pinned: Pins, *, keep: timedelta = KEEP) -> list[UpkeepResult]:
    """Writes checkpoints, and removes the entries of each table's log that no version to keep needs.

    Every version stays readable from the oldest one to keep on. That is the oldest pinned version, with the commit that
    names its inputs, or the newest version older than `keep`, whichever is older.

    Args:
        platform: Where the tables are.
        pinned: The pinned versions.
        keep: How long a version stays readable after it was replaced.

    Returns:
        One result for each log that lost entries.
    """
    house, results = platform.lakehouse, []
    for table in house.whole_tables():
        with house.writing(table):
            newest = delta_commits.newest_version(house, table)
            log = house.path(table) / "_delta_log"
            if newest - max(_checkpoints(log), default=0) >= COMMITS_PER_CHECKPOINT:
                delta_commits.checkpoint(house, table)
            entries = _entries(log)
            oldest = _oldest_to_keep(platform, table, pinned, keep)
            expired = [path for version, path in entries if version < oldest]
            if len(expired) < SPARED_ENTRIES:
                continue
            if oldest not in _checkpoints(log):
                delta_commits.checkpoint(house, TableVersion(table, oldest))
            bytes_freed = _remove(expired)
        words = f"its log begins at version {oldest}"
        results.append(UpkeepResult(str(table), len(entries), len(entries) - len(expired), bytes_freed, words=words))
    return results


def _oldest_to_keep(platform: Platform, table: TableId, pinned: Pins, keep: timedelta) -> int:
    """The oldest version of a table that its log has to hold."""
    commits, limit = time_travel.commits(platform.lakehouse, table), datetime.now(UTC) - keep
    older = (commit.at.version for commit in commits if commit.committed_at < limit)
    first_in_log = commits[-1].at.version
    needed = [next(older, first_in_log)]
    for version in pinned.versions(table):
        made_by = time_travel.made_by(commits, TableVersion(table, version))
        needed.append(min(version, made_by.at.version if made_by else version))
    return max(min(needed), first_in_log)


def _entries(log: Path) -> list[tuple[int, Path]]:
    """The entries of a log with their versions, oldest first."""
    matches = ((ENTRY.match(path.name), path) for path in log.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def _checkpoints(log: Path) -> set[int]:
    """The versions of which a log holds a checkpoint."""
    return {version for version, path in _entries(log) if ".checkpoint." in path.name}


def quality_results(platform: Platform, *, keep: timedelta = KEEP) -> UpkeepResult | None:
    """Removes validation results older than `keep`, except the newest of each table; None if there are none."""
    folders = [path for path in (platform.settings.root / "quality").glob("*") if path.is_dir()]
    limit = (datetime.now(UTC) - keep).timestamp()
    results = [sorted(folder.glob("*.json")) for folder in folders]  # a file is named by its time
    expired = [path for paths in results for path in paths[:-1] if path.stat().st_mtime < limit]
    return remove_files("quality results", sum(map(len, results)), expired)


def remove_files(name: str, files_before: int, expired: list[Path]) -> UpkeepResult | None:
    """Removes expired files of a folder of records.

    Args:
        name: What the folder holds.
        files_before: How many files, or other units of records, it holds.
        expired: The files to remove.

    Returns:
        The result; None if there is nothing to remove.
    """
    if not expired:
        return None
    bytes_freed = _remove(expired)
    return UpkeepResult(
        name, files_before, files_before - len(expired), bytes_freed, words=f"older than {KEEP.days} days"
    )


def _remove(paths: Iterable[Path]) -> int:
    """Removes files, in that order; returns their bytes."""
    bytes_freed = 0
    for path in paths:
        bytes_freed += path.stat().st_size
        path.unlink()
    return bytes_freed
