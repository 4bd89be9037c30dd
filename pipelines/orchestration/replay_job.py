"""The Dagster job `replay_quarantine`: judges again the rejected rows that its run configuration selects.

This module has no `from __future__ import annotations`, since Dagster reads an op's config from its signature.
"""

from collections.abc import Callable

import dagster as dg
from pydantic import Field

from pipelines.governed.declaration import PLATFORM
from pipelines.orchestration.replays import RowSelection, replay
from pipelines.quarantine.table import silver_table

REPLAY_JOB = "replay_quarantine"


class ReplayConfig(dg.Config):
    """The rows of one table to judge again, and the reason for it."""

    table: str = Field(description="domain/table")
    note: str = Field(description="why the rows are judged again; kept with each record")
    by: str | None = Field(None, description="who requests it; empty: the user that runs Dagster")
    records: list[str] = Field([], description="ids of records")
    reason: str | None = Field(None, description="all waiting rows that were rejected for this reason")
    partitions: list[str] = Field([], description="all rows of these partitions")
    pending: bool = Field(False, description="all rows with a decision that is newer than their last judgement")


def replay_job(definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    """The job `replay_quarantine` of a code location.

    Args:
        definitions: Returns the code location, which contains this job.
    """

    @dg.op(required_resource_keys={PLATFORM}, description="Judges rejected rows of one table again.")
    def replay_rows(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        platform = context.resources.platform
        selection = RowSelection(tuple(config.records), config.reason, tuple(config.partitions), config.pending)
        summary = replay(
            platform,
            silver_table(platform, config.table),
            selection,
            definitions=definitions(),
            note=config.note,
            by=config.by,
            instance=context.instance,
        )
        context.add_output_metadata(summary)

    @dg.job(
        name=REPLAY_JOB,
        description="Judges rejected rows again, in their partitions only; select the rows in the launchpad.",
    )
    def replay_quarantine() -> None:
        replay_rows()

    return replay_quarantine
