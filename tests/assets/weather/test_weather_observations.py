"""Real days of observations from landing through bronze to silver, in Dagster runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.weather.deliveries import land
from assets.weather.observations import bronze_observations, silver_observations
from pipelines.governed.platform import Platform
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines.toy_pipeline import contract_check

OBSERVATIONS = [bronze_observations, silver_observations]
WIND_DAY, SPRING, AUTUMN = date(2013, 2, 12), date(2013, 3, 10), date(2013, 11, 3)


def rows(platform: Platform, zone: str) -> list[dict[str, Any]]:
    """The newest version's rows of the table of observations in a zone, in a fixed order."""
    content: pa.Table = platform.lakehouse.snapshot(TableId.parse(f"{zone}/weather/observations")).arrow()
    return content.sort_by("_record_id").to_pylist()


@pytest.fixture(scope="module")
def real_days(
    make_platform: Callable[[], Platform], materialize: Materialize
) -> tuple[Platform, dict[date, dg.ExecuteInProcessResult]]:
    """Three days in silver, each by a run of its own, and the runs."""
    platform = make_platform()
    runs = {}
    for day in (WIND_DAY, SPRING, AUTUMN):
        land(platform.landing, start=day, end=day)
        runs[day] = materialize(platform, OBSERVATIONS, day.isoformat())
    return platform, runs


@pytest.mark.parametrize(
    ("day", "observed", "rejected"), [(WIND_DAY, 72, 1), (SPRING, 69, 0), (AUTUMN, 72, 0)], ids=str
)
def test_clean_and_quarantined_rows_add_up_to_the_landed_rows(
    real_days: tuple[Platform, dict[date, dg.ExecuteInProcessResult]], day: date, observed: int, rejected: int
) -> None:
    figures = {name: value.value for name, value in contract_check(real_days[1][day]).metadata.items()}
    assert (figures["rows_in"], figures["rows_quarantined"]) == (observed, rejected)
    assert figures["rows_clean"] == observed - rejected


def test_an_impossible_wind_speed_is_quarantined_with_its_row(real_days: tuple[Platform, Any]) -> None:
    [row] = rows(real_days[0], "quarantine")
    [reason] = row["_reasons"]
    assert (reason["code"], reason["column"], reason["value"]) == ("wind_speed_range", "wind_speed", "1048.36058")
    place = "weather/observations/dt=2013-02-12/observations_20130212.jsonl"
    assert (row["_source_uri"], row["_source_row"]) == (place, 4)
    assert '"time_hour":"2013-02-12T08:00:00Z"' in row["_row"]


def test_the_hour_that_the_clock_repeats_has_two_observations(real_days: tuple[Platform, Any]) -> None:
    hours = [datetime(2013, 11, 3, 5, tzinfo=UTC), datetime(2013, 11, 3, 6, tzinfo=UTC)]
    by_hour = {
        hour: {row["station"]: row["temp"] for row in rows(real_days[0], "silver") if row["observed_at"] == hour}
        for hour in hours
    }
    assert by_hour == {
        hours[0]: {"EWR": 51.98, "JFK": 53.96, "LGA": 55.04},
        hours[1]: {"EWR": 50.0, "JFK": 51.98, "LGA": 53.96},
    }


def test_a_second_run_of_a_day_leaves_the_same_rows(platform: Platform, materialize: Materialize) -> None:
    land(platform.landing, start=WIND_DAY, end=WIND_DAY)
    materialize(platform, OBSERVATIONS, str(WIND_DAY))
    zones = ("bronze", "silver", "quarantine")
    before = {zone: rows(platform, zone) for zone in zones}
    materialize(platform, OBSERVATIONS, str(WIND_DAY))
    assert {zone: rows(platform, zone) for zone in zones} == before
    assert [len(content) for content in before.values()] == [72, 71, 1]


def test_a_day_without_observations_is_published_with_a_warning(platform: Platform, materialize: Materialize) -> None:
    result = materialize(platform, OBSERVATIONS, "2013-12-31")
    check = contract_check(result)
    assert (result.success, check.passed, check.severity) == (True, False, dg.AssetCheckSeverity.WARN)
    assert "has_observations saw 0.0 on 2013-12-31" in str(check.description)
    assert rows(platform, "silver") == []


@pytest.mark.slow
def test_all_of_2013_gives_the_counts_that_are_known_of_its_records(
    make_platform: Callable[[], Platform], materialize: Materialize
) -> None:
    platform = make_platform()
    land(platform.landing, start=date(2013, 1, 1), end=date(2013, 12, 31))
    materialize(platform, OBSERVATIONS, "2013-01-01", "2013-12-31")
    silver = platform.lakehouse.snapshot(TableId("silver", "weather", "observations")).arrow()
    assert (silver.num_rows, len(rows(platform, "quarantine"))) == (26_114, 1)
    assert (silver["wind_gust"].null_count, silver["pressure"].null_count) == (20_777, 2_729)
    assert max(speed for speed in silver["wind_speed"].to_pylist() if speed is not None) < 43
