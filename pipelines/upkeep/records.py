"""What records of past work may go: entries of tables' logs, quality results, Dagster's events of old runs.

The newest state of everything stays, and so do the cost table, lineage, Dagster's list of runs and its asset events.
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
from pipelines.upkeep.maintenance import KEEP, Upkept

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform

#: So many commits after the last checkpoint a table gets one: who opens it reads that, and the commits since.
COMMITS_PER_CHECKPOINT = 10
#: A log is cleaned once that removes so many entries.
SPARED_ENTRIES = 20
#: Entries of a log begin with the version that they make.
ENTRY = re.compile(r"(\d{20})\.")


def checkpoint_and_clean(platform: Platform, pinned: Pins, *, keep: timedelta = KEEP) -> list[Upkept]:
    """Writes each table's checkpoint, and removes the log's entries before the oldest version that may be asked for.

    That is the oldest that is pinned, with the commit that says what it was made from, or the newest one older than
    `keep`, whichever comes first. Every version from there on opens as before.
    """
    house, done = platform.lakehouse, []
    for table in house.tables():
        with house.writing(table):
            newest = delta_commits.newest_version(house, table)
            log = house.path(table) / "_delta_log"
            if newest - max(_checkpoints(log), default=0) >= COMMITS_PER_CHECKPOINT:
                delta_commits.checkpoint(house, table)
            before = _entries(log)
            oldest = _oldest(platform, table, pinned, keep)
            if sum(version < oldest for version, _ in before) < SPARED_ENTRIES:
                continue
            if oldest not in _checkpoints(log):
                delta_commits.checkpoint(house, TableVersion(table, oldest))
            gone = [path for version, path in before if version < oldest]
            freed = _remove(gone)
        words = f"its log begins at version {oldest}"
        done.append(Upkept(str(table), len(before), len(before) - len(gone), freed, words=words))
    return done


def _oldest(platform: Platform, table: TableId, pinned: Pins, keep: timedelta) -> int:
    """The oldest version of a table that its log has to hold."""
    known, kept_since = time_travel.commits(platform.lakehouse, table), datetime.now(UTC) - keep
    aged = (commit.at.version for commit in known if commit.committed_at < kept_since)
    oldest = [next(aged, known[-1].at.version)]
    for version in pinned.versions(table):
        made_by = time_travel.made_by(known, TableVersion(table, version))
        oldest.append(min(version, made_by.at.version if made_by else version))
    return max(min(oldest), known[-1].at.version)


def _entries(log: Path) -> list[tuple[int, Path]]:
    """The entries of a log with their versions, oldest first."""
    found = ((ENTRY.match(path.name), path) for path in log.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def _checkpoints(log: Path) -> set[int]:
    return {version for version, path in _entries(log) if ".checkpoint." in path.name}


def quality_results(platform: Platform, *, keep: timedelta = KEEP) -> Upkept | None:
    """Removes validation results older than `keep`, but for each table's newest."""
    folders = [path for path in (platform.settings.root / "quality").glob("*") if path.is_dir()]
    old = (datetime.now(UTC) - keep).timestamp()
    every = [sorted(folder.glob("*.json")) for folder in folders]  # named by their time
    gone = [path for paths in every for path in paths[:-1] if path.stat().st_mtime < old]
    return removed("quality results", sum(map(len, every)), gone)


def removed(name: str, files: int, gone: list[Path]) -> Upkept | None:
    return Upkept(name, files, files - len(gone), _remove(gone), words=f"older than {KEEP.days} days") if gone else None


def _remove(paths: Iterable[Path]) -> int:
    """Removes files, in that order; returns their bytes."""
    freed = 0
    for path in paths:
        freed += path.stat().st_size
        path.unlink()
    return freed
