"""What Dagster is told about a run: the range of partitions that it covers, and how quiet its log is."""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

#: Tags that Dagster reads; it exports no constants for them.
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
#: Run configuration for a run in this process: errors alone are printed.
QUIET_LOG = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def range_tags(partitions: Collection[str]) -> dict[str, str]:
    """The tags of a run that covers all partitions from the first to the last of these, both included."""
    return {RANGE_START: min(partitions), RANGE_END: max(partitions)}
