"""Tags and configuration of Dagster runs: the range of partitions that a run covers, and what it prints."""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

#: Names of tags that Dagster reads; it exports no constants for them.
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
#: Run configuration that prints only errors, for runs in this process.
QUIET_LOG = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
#: Run configuration that prints nothing, for a caller that shows the failures itself.
NO_LOG = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
#: The states of runs that have ended.
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def range_tags(partitions: Collection[str]) -> dict[str, str]:
    """The tags of a run over all partitions from the first to the last of these, both included."""
    return {RANGE_START: min(partitions), RANGE_END: max(partitions)}
