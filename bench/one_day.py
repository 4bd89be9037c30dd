"""A day of some 900 flights into a table of a year: from landed to published in silver, governed, warm and cold.

The year lands first, a file for each day but the last ones, and is taken and judged in one run. Each later day is a run
of both assets, `dg.materialize` included: warm in the process that stays up, cold in a process of its own, whose whole
time counts.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

from bench.pairs import Row, seconds
from bench.scaled import DAYS, add_contract, document, materialize, unchanged
from pipelines import settings as settings_of
from pipelines.governed.platform import Platform
from pipelines.machine import garbage
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.orchestration import dagster_home
from pipelines.orchestration.runs import range_tags
from pipelines.settings import PROJECT, Settings
from pipelines.tables import TableId

ROUNDS = 5
YEAR = [date(2013, 1, 1) + timedelta(days=number) for number in range(365)]


def measure(settings: Settings) -> list[Row]:
    home = Path(tempfile.mkdtemp(prefix="goldpath-bench-"))
    try:
        days = _land(home)
        year, warm_days, cold_days = days[: -2 * ROUNDS], days[-2 * ROUNDS : -ROUNDS], days[-ROUNDS:]
        table = _Table(home)
        try:
            first = seconds(lambda: table.take(year[0], year[-1]))
            warm = statistics.median([seconds(lambda day=day: table.take(day, day)) for day in warm_days])
        finally:
            table.close()
        cold = statistics.median([seconds(lambda day=day: _process(home, day)) for day in cold_days])
    finally:
        shutil.rmtree(home, ignore_errors=True)
    note = f"bronze and silver, 20 rules, Dagster's events; median of {ROUNDS}"
    return [
        Row(f"{len(year)} days landed to published, first run", f"{first:.2f} s", "", None, "the engine's start"),
        Row("a day of 900 rows into a year, warm (aim 0.4 s)", f"{warm:.2f} s", "", None, note),
        Row("the same, cold (aim 3 s)", f"{cold:.2f} s", "", None, "a process for each day, imports included"),
    ]


def _land(home: Path) -> list[str]:
    """Lands the flights of 2013 below a home folder, a file for each day; returns the days."""
    from assets.flights.deliveries import flight_lines

    header, lines_by_day = flight_lines(YEAR)
    for day, lines in lines_by_day.items():
        folder = home / "landing" / "bench" / "governed" / f"dt={day}"
        folder.mkdir(parents=True)
        (folder / "flights.csv").write_bytes(b"copy," + header + b"".join(b"0," + line for line in lines))
    return [str(day) for day in lines_by_day]


class _Table:
    """The bronze and silver assets of the flights, over the tables of a home folder."""

    def __init__(self, home: Path) -> None:
        settings = settings_of.get().model_copy(update={"home": home, "lakehouse_uri": None, "landing_uri": None})
        self.platform = Platform(settings, dict)
        bronze, silver = (
            add_contract(self.platform, home, document(str(TableId(zone, "bench", "governed")), rules=True))
            for zone in ("bronze", "silver")
        )
        self.assets = [bronze_asset(bronze, partitions=DAYS), silver_asset(silver, partitions=DAYS)(unchanged)]
        self.instance = dagster_home.instance(settings)

    def take(self, first: str, last: str) -> None:
        """Takes, judges and publishes these days."""
        assert materialize(self.platform, self.instance, self.assets, tags=range_tags([first, last])).success
        snapshot = self.platform.lakehouse.snapshot(TableId("silver", "bench", "governed"))
        assert snapshot.partition_rows("_partition").get(last), f"{last} was not published"

    def close(self) -> None:
        self.platform.close()


def _process(home: Path, day: str) -> None:
    subprocess.run([sys.executable, "-m", "bench.one_day", str(home), day], cwd=PROJECT, check=True)


def main() -> None:
    garbage.collect_seldom()
    table = _Table(Path(sys.argv[1]))
    table.take(sys.argv[2], sys.argv[2])
    table.close()


if __name__ == "__main__":
    main()
