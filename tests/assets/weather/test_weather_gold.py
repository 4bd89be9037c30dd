"""The gold tables of the weather hold what was known at their instants: compared with a computation in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from assets.flights.gold import origin_weather
from assets.weather import features, gold
from assets.weather.deliveries import land
from assets.weather.observations import bronze_observations, silver_observations
from assets.weather.seasons import CYCLES
from pipelines.governed.platform import Platform
from pipelines.lineage.events import version_of
from pipelines.tables import TableId
from tests.conftest import Materialize

#: The clocks are set back on the second of them.
FIRST, LAST = date(2013, 11, 2), date(2013, 11, 5)
HOUR = timedelta(hours=1)
Rows = dict[tuple[str, datetime], dict[str, Any]]


def rows(platform: Platform, table: str) -> list[dict[str, Any]]:
    return platform.lakehouse.snapshot(TableId.parse(table)).arrow().to_pylist()


@pytest.fixture(scope="module")
def tables(make_platform: Callable[[], Platform], materialize: Materialize) -> tuple[Platform, Rows]:
    """Four days in gold, and the rows of silver by station and hour."""
    platform = make_platform()
    land(platform.landing, start=FIRST, end=LAST)
    materialize(platform, [bronze_observations, silver_observations], str(FIRST), str(LAST))
    materialize(platform, [gold.hours, gold.station_conditions, features.training_set])
    silver = rows(platform, "silver/weather/observations")
    return platform, {(row["station"], row["observed_at"]): row for row in silver}


def test_each_observed_hour_is_asked_for_three_hours_before_and_known_an_hour_after(
    tables: tuple[Platform, Rows],
) -> None:
    platform, silver = tables
    hours = {(row["station"], row["valid_at"]): row for row in rows(platform, "gold/weather/hours")}
    assert hours.keys() == silver.keys()
    for (station, at), row in hours.items():
        assert row["event_timestamp"] == at - 3 * HOUR
        assert row["outcome_known_at"] == at + HOUR
        assert row["observed_temp"] == silver[station, at]["temp"]
        assert row["_record_id"] == silver[station, at]["_record_id"]
    assert hours["EWR", datetime(2013, 11, 3, 5, tzinfo=UTC)]["hour_id"] == "EWR-2013-11-03T05Z"


def test_the_season_of_a_request_is_that_of_the_table(tables: tuple[Platform, Rows]) -> None:
    hours = rows(tables[0], "gold/weather/hours")
    for row in hours:
        [asked] = CYCLES.of_rows([row])
        assert {name: row[name] for name in CYCLES.outputs} == asked
        at = row["valid_at"]
        day = 2 * math.pi * (at.hour * 3_600 + at.minute * 60 + at.second) / 86_400
        assert (asked["day_sin"], asked["day_cos"]) == (math.sin(day), math.cos(day))
        year = 2 * math.pi * (int(at.timestamp()) % 31_556_925) / 31_556_925
        assert (asked["year_sin"], asked["year_cos"]) == (math.sin(year), math.cos(year))


def test_conditions_are_those_of_the_observation_and_of_exact_hours_before_it(tables: tuple[Platform, Rows]) -> None:
    platform, silver = tables

    def change(station: str, at: datetime, name: str, hours: int) -> float | None:
        now, then = silver[station, at][name], silver.get((station, at - hours * HOUR), {}).get(name)
        return None if now is None or then is None else now - then

    conditions = {
        (row["station"], row["event_timestamp"]): row for row in rows(platform, "gold/weather/station_conditions")
    }
    assert conditions.keys() == {(station, at + HOUR) for station, at in silver}
    missing = 0
    for (station, at), observed in silver.items():
        row = conditions[station, at + HOUR]
        expected = {f"temp_change_{n}h": change(station, at, "temp", n) for n in (1, 3, 6, 24)}
        expected |= {
            "pressure_change_3h": change(station, at, "pressure", 3),
            "temp_same_hour_yesterday": silver.get((station, at - 20 * HOUR), {}).get("temp"),
        }
        expected |= {name: observed[name] for name in ("temp", "dewp", "humid", "pressure", "wind_speed", "precip")}
        assert {name: row[name] for name in expected} == pytest.approx(expected)
        missing += expected["temp_change_1h"] is None
        if observed["wind_dir"] is not None and observed["wind_speed"] is not None:
            assert math.hypot(row["wind_u"], row["wind_v"]) == pytest.approx(observed["wind_speed"])
    assert missing >= 3  # the first hour of each station


def test_the_same_hour_yesterday_lies_a_day_before_the_hour_that_is_predicted(tables: tuple[Platform, Rows]) -> None:
    platform, silver = tables
    conditions = {
        (row["station"], row["event_timestamp"]): row for row in rows(platform, "gold/weather/station_conditions")
    }
    compared = 0
    for hour in rows(platform, "gold/weather/hours"):
        known = conditions.get((hour["station"], hour["event_timestamp"]))
        yesterday = silver.get((hour["station"], hour["valid_at"] - 24 * HOUR))
        if known is not None and yesterday is not None:
            assert known["temp_same_hour_yesterday"] == yesterday["temp"]
            compared += 1
    assert compared > 150


def test_the_training_set_has_the_conditions_that_were_known_when_the_question_was_asked(
    tables: tuple[Platform, Rows],
) -> None:
    platform, silver = tables
    trained_on = rows(platform, "gold/weather/training_set")
    assert len(trained_on) == sum(row["temp"] is not None for row in silver.values())
    for row in trained_on:
        known = [
            at + HOUR for station, at in silver if station == row["station"] and at + HOUR <= row["event_timestamp"]
        ]
        newest = max(known, default=None)
        assert row["station_conditions__event_timestamp"] == newest
        temp = None if newest is None else silver[row["station"], newest - HOUR]["temp"]
        assert row["station_conditions__temp"] == temp
        assert row["observed_temp"] == silver[row["station"], row["valid_at"]]["temp"]


def test_flights_read_a_version_of_the_weather_and_the_lineage_names_both_owners(
    tables: tuple[Platform, Rows], materialize: Materialize
) -> None:
    platform, silver = tables
    materialize(platform, [origin_weather])
    rows_by_hour = {
        (row["origin"], row["event_timestamp"]): row for row in rows(platform, "gold/flights/origin_weather")
    }
    assert rows_by_hour.keys() == {(station, at + HOUR) for station, at in silver}
    event = platform.lineage.producer_of("gold/flights/origin_weather")
    assert event is not None
    [observed] = event["inputs"]
    version = platform.lakehouse.current(TableId.parse("silver/weather/observations")).version
    assert (observed["name"], version_of(observed)) == ("silver/weather/observations", str(version))
    [written] = event["outputs"]
    owners = [dataset["facets"]["ownership"]["owners"][0]["name"] for dataset in (observed, written)]
    assert owners == ["weather-data", "flight-data"]
