"""The job behind `replay_quarantine` in Dagster: choose rejected rows in the launchpad, and they are judged again.

No postponed annotations here: Dagster reads an op's config from its signature.
"""

from collections.abc import Callable

import dagster as dg
from pydantic import Field

from pipelines.governed.declaration import PLATFORM
from pipelines.orchestration.replays import Which, replay
from pipelines.quarantine.table import silver_table


class ReplayConfig(dg.Config):
    """Which rows of which table to judge again, and why."""

    table: str = Field(description="domain/table")
    note: str = Field(description="why; kept with each record concerned")
    by: str | None = Field(None, description="who asks; empty: the user that runs Dagster")
    records: list[str] = Field([], description="record ids")
    reason: str | None = Field(None, description="all waiting rows with this reason")
    partitions: list[str] = Field([], description="whole partitions")
    pending: bool = Field(False, description="all rows about which something was decided since they were judged")


def replay_job(definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    """The job `replay_quarantine` of a code location.

    Args:
        definitions: Returns the code location, in which the job itself stands.
    """

    @dg.op(required_resource_keys={PLATFORM}, description="Judges rejected rows of one table again.")
    def replay_rows(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        platform = context.resources.platform
        which = Which(tuple(config.records), config.reason, tuple(config.partitions), config.pending)
        summary = replay(
            platform,
            silver_table(platform, config.table),
            which,
            definitions=definitions(),
            note=config.note,
            by=config.by,
            instance=context.instance,
        )
        context.add_output_metadata(summary)

    @dg.job(description="Judges rejected rows again, over their partitions alone; choose the rows in the launchpad.")
    def replay_quarantine() -> None:
        replay_rows()

    return replay_quarantine
