"""The schedules. All are off until a user switches them on in Dagster."""

from __future__ import annotations

import dagster as dg

from pipelines.orchestration.jobs import outcomes, upkeep

SCHEDULES = [
    dg.ScheduleDefinition(
        name="outcomes_every_morning",
        job=outcomes,
        cron_schedule="0 6 * * *",
        execution_timezone="America/New_York",
        description="Compares the predictions of the day before with the outcomes, after its last flights have landed.",
    ),
    dg.ScheduleDefinition(
        name="upkeep_every_week",
        job=upkeep,
        cron_schedule="0 3 * * 0",
        execution_timezone="UTC",
        description="Compacts tables and removes what is no longer needed, at the quietest hour of the week.",
    ),
]
