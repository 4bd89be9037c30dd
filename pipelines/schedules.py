"""The schedules; all are off until somebody switches them on."""

from __future__ import annotations

import dagster as dg

from pipelines.jobs import outcomes

SCHEDULES = [
    dg.ScheduleDefinition(
        name="outcomes_every_morning",
        job=outcomes,
        cron_schedule="0 6 * * *",
        execution_timezone="America/New_York",
        description="Scores the predictions of the day before, once its last flights have landed.",
    )
]
