"""Which events of past Dagster runs may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from pipelines.orchestration.runs import FINISHED
from pipelines.upkeep.maintenance import KEEP, Upkept
from pipelines.upkeep.records import removed


def run_events(instance: dg.DagsterInstance, *, keep: timedelta = KEEP) -> Upkept | None:
    """Removes the events and logs of runs that ended longer than `keep` ago, where Dagster keeps each run's in a file.

    What Dagster knows of assets, checks and partitions lies in the index beside them and stays, as do the runs.
    """
    from pipelines.orchestration.event_log import BatchedSqliteEventLogStorage  # loads SQLAlchemy

    storage = instance.event_log_storage
    if not isinstance(storage, BatchedSqliteEventLogStorage):  # which does not mind that a run's file is gone
        return None
    ended = dg.RunsFilter(statuses=list(FINISHED), updated_before=datetime.now(UTC) - keep)
    gone: list[Path] = []
    for run_id in instance.get_run_ids(ended):
        shard = Path(storage.path_for_shard(run_id))
        gone += [path for path in shard.parent.glob(f"{run_id}.db*") if path.is_file()]
        gone += [path for path in Path(instance.storage_directory(), run_id).rglob("*") if path.is_file()]
    return removed("events of runs", len(storage.get_all_run_ids()), gone)
