"""Removal of the events and logs of Dagster runs that ended long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from pipelines.orchestration.runs import FINISHED
from pipelines.upkeep.maintenance import KEEP, UpkeepResult
from pipelines.upkeep.records import remove_files


def run_events(instance: dg.DagsterInstance, *, keep: timedelta = KEEP) -> UpkeepResult | None:
    """Removes the events and logs of runs that ended longer than `keep` ago.

    The runs themselves stay, and so do Dagster's records of assets, checks and partitions, which are in an index file.

    Returns:
        What was removed; None for another event log storage, since only BatchedSqliteEventLogStorage keeps the events
        of each run in a file and works on when such a file is removed.
    """
    from pipelines.orchestration.event_log import BatchedSqliteEventLogStorage  # loads SQLAlchemy

    storage = instance.event_log_storage
    if not isinstance(storage, BatchedSqliteEventLogStorage):
        return None
    ended = dg.RunsFilter(statuses=list(FINISHED), updated_before=datetime.now(UTC) - keep)
    expired: list[Path] = []
    for run_id in instance.get_run_ids(ended):
        shard = Path(storage.path_for_shard(run_id))
        expired += [path for path in shard.parent.glob(f"{run_id}.db*") if path.is_file()]
        expired += [path for path in Path(instance.storage_directory(), run_id).rglob("*") if path.is_file()]
    return remove_files("events of runs", len(storage.get_all_run_ids()), expired)
