"""A program for the tests: lands the first days of 2013 and runs the ingest job over them in this process."""

from __future__ import annotations

import sys
from datetime import date, timedelta

import dagster as dg

from pipelines import settings
from pipelines.orchestration import dagster_home
from pipelines.orchestration.runs import QUIET_LOG, RANGE_END, RANGE_START


def main(days: int) -> None:
    found = settings.get()
    dagster_home.prepare(found)
    from assets.flights import deliveries
    from pipelines.definitions import defs, shared_platform

    platform = shared_platform()
    start = date(2013, 1, 1)
    end = start + timedelta(days=days - 1)
    deliveries.land(platform.landing, start=start, end=end, database=found.root / "operations.db")
    tags = {RANGE_START: start.isoformat(), RANGE_END: end.isoformat()}
    with dg.DagsterInstance.get() as instance:
        job = defs.resolve_job_def("ingest")
        job.execute_in_process(instance=instance, tags=tags, run_config=QUIET_LOG, resources={"platform": platform})
    platform.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
