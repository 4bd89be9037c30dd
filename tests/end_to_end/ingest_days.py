"""A program of test_faults.py: lands the first days of 2013 and runs the jobs that ingest them in this process.

Its argument is the number of days.
"""

from __future__ import annotations

import sys
from datetime import date, timedelta

import dagster as dg

from pipelines import settings
from pipelines.orchestration import dagster_home
from pipelines.orchestration.runs import QUIET_LOG, range_tags


def main(days: int) -> None:
    dagster_home.prepare(settings.get())
    from assets.flights import deliveries
    from assets.weather.deliveries import land as land_weather
    from pipelines.definitions import defs, shared_platform

    platform = shared_platform()
    start = date(2013, 1, 1)
    end = start + timedelta(days=days - 1)
    land_weather(platform.landing, start=start, end=end)
    deliveries.land(platform.landing, start=start, end=end, database=platform.settings.root / "operations.db")
    tags = range_tags([start.isoformat(), end.isoformat()])
    with dg.DagsterInstance.get() as instance:
        for name in ("weather_ingest", "flights_ingest"):
            job = defs.resolve_job_def(name)
            job.execute_in_process(instance=instance, tags=tags, run_config=QUIET_LOG, resources={"platform": platform})
    platform.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
