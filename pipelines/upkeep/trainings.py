"""Removes the working folders of old trainings, finished or not: examples, checkpoints, copies of what was tracked."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.machine import locks
from pipelines.models.unfinished import LOCK, NOTE
from pipelines.upkeep.maintenance import KEEP, UpkeepResult

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform


def old_trainings(platform: Platform, *, keep: timedelta = KEEP) -> list[UpkeepResult]:
    """Removes the folders of trainings in which nothing was written for longer than `keep`, and that no run uses.

    What a finished training left is in the registry, signed. An unfinished one that is asked for again begins anew. A
    training that goes on in a job of a cluster, after its run was killed, writes into its folder all the time.

    Args:
        platform: Whose home folder holds the trainings.
        keep: How long a training can still be gone on with.

    Returns:
        One result for each folder that was removed.
    """
    limit, results = datetime.now(UTC) - keep, []
    for folder in sorted(path.parent for path in (platform.settings.root / "training").glob(f"*/{LOCK}")):
        if _last_written(folder) >= limit:
            continue
        try:
            with locks.held(folder / LOCK, purpose="upkeep", wait_seconds=0):
                results.append(_removed(folder, _last_written(folder)))
        except locks.LockTimeout:
            continue
    return results


def _last_written(folder: Path) -> datetime:
    """When a file of a training was last written; whoever looks at its lock changes that file alone."""
    times = [path.lstat().st_mtime for path in folder.rglob("*") if path.name != LOCK and not path.is_dir()]
    return datetime.fromtimestamp(max(times, default=folder.stat().st_mtime), UTC)


def _removed(folder: Path, last_written: datetime) -> UpkeepResult:
    state = "unfinished" if (folder / NOTE).exists() else "finished"
    sizes = [path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()]
    shutil.rmtree(folder)
    return UpkeepResult(
        f"training/{folder.name}", len(sizes), 0, sum(sizes), words=f"{state}, last written {last_written:%Y-%m-%d}"
    )
