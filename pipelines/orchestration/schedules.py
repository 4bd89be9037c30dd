"""The schedules of a domain. All are off until a user switches them on in Dagster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from pipelines.orchestration.members import Members

if TYPE_CHECKING:
    from pipelines.orchestration.jobs import Job


def domain_schedules(found: Members, jobs: Sequence[Job]) -> list[dg.ScheduleDefinition]:
    """The schedules that follow from a domain's jobs, and those that it declares itself.

    Args:
        found: The domain's members.
        jobs: The domain's jobs.
    """
    name = found.domain.name
    return [
        *(
            dg.ScheduleDefinition(
                name=f"{name}_outcomes_every_morning",
                job=job,
                cron_schedule="0 6 * * *",
                execution_timezone=found.domain.timezone,
                description="Compares the predictions of the day before with the outcomes that have landed since.",
            )
            for job in jobs
            if job.name == f"{name}_outcomes"
        ),
        *found.schedules,
    ]
