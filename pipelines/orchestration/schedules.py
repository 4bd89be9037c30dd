"""The schedules; all are off until somebody switches them on."""

from __future__ import annotations

import dagster as dg

from pipelines.orchestration.jobs import outcomes, upkeep

SCHEDULES = [
    dg.ScheduleDefinition(
        name="outcomes_every_morning",
        job=outcomes,
        cron_schedule="0 6 * * *",
        execution_timezone="America/New_York",
        description="Scores the predictions of the day before, once its last flights have landed.",
    ),
    dg.ScheduleDefinition(
        name="upkeep_every_week",
        job=upkeep,
        cron_schedule="0 3 * * 0",
        execution_timezone="UTC",
        description="Keeps tables quick to read and small, at the quietest hour of the week.",
    ),
]
