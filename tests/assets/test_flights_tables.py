"""Real days from landing through bronze to silver, in Dagster runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, fields
from datetime import date
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.flights import bronze, silver
from assets.flights.deliveries import flight_lines, land
from assets.flights.schedule import ScheduledFlight, scheduled_flights
from pipelines.governed.platform import Platform
from pipelines.landing.delivery import Delivery
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines.toy_pipeline import contract_check

LISTS = [bronze.airlines, bronze.airports, bronze.planes, silver.airlines, silver.airports, silver.planes]
DAYS = [bronze.flights, silver.flights]
WIND_DAY, BLIZZARD, SPRING, AUTUMN = date(2013, 2, 12), date(2013, 2, 9), date(2013, 3, 10), date(2013, 11, 3)
REAL_DAYS = (BLIZZARD, WIND_DAY, SPRING, AUTUMN)


def rows(platform: Platform, table: str) -> list[dict[str, Any]]:
    """The newest version's rows, in a fixed order."""
    house = platform.lakehouse
    content: pa.Table = house.snapshot(TableId.parse(table)).arrow()
    return content.sort_by("_record_id").to_pylist()


def count(rows: Iterable[dict[str, Any]], **values: Any) -> int:
    """The number of rows with all of the values."""
    return sum(all(row[name] == value for name, value in values.items()) for row in rows)


def figures(result: dg.ExecuteInProcessResult, table: str) -> dict[str, Any]:
    """The metadata of the contract check of one table."""
    [check] = [c for c in result.get_asset_check_evaluations() if c.asset_key.to_user_string() == table]
    return {name: value.value for name, value in check.metadata.items()}


def deliver(platform: Platform, source: str, day: date, name: str, content: bytes) -> None:
    platform.landing.deliver(domain="flights", source=source, interval=day.isoformat(), name=name, content=content)


def land_days(platform: Platform, *days: date) -> None:
    for day in days:
        land(platform.landing, start=day, end=day, database=platform.settings.root / "operations.db")


@pytest.fixture(scope="module")
def real_days(make_platform: Callable[[], Platform], materialize: Materialize) -> tuple[Platform, dict[str, Any]]:
    """Four days in silver, each by a run of its own, and the figures of the contract checks."""
    platform = make_platform()
    land_days(platform, *REAL_DAYS)
    checks: dict[str, Any] = {"airports": figures(materialize(platform, LISTS), "silver/flights/airports")}
    for day in REAL_DAYS:
        result = materialize(platform, DAYS, day.isoformat())
        checks[f"flights {day}"] = figures(result, "silver/flights/flights")
    return platform, checks


@pytest.fixture
def listed(platform: Platform, materialize: Materialize) -> Platform:
    """One day landed; of it, only carriers, planes and airports are materialized."""
    land_days(platform, WIND_DAY)
    materialize(platform, LISTS)
    return platform


@pytest.mark.parametrize("day", REAL_DAYS, ids=str)
def test_clean_and_quarantined_rows_add_up_to_the_landed_rows(
    real_days: tuple[Platform, dict[str, Any]], day: date
) -> None:
    _, checks = real_days
    flights = checks[f"flights {day}"]
    landed = len(flight_lines([day])[1][day])
    assert (flights["rows_in"], flights["rows_clean"], flights["rows_quarantined"]) == (landed, landed, 0)


@pytest.mark.parametrize(
    ("day", "cancelled", "diverted", "without_tailnum", "unknown_aircraft", "unknown_airport"),
    [
        (BLIZZARD, 393, 0, 168, 71, 22),
        (WIND_DAY, 6, 3, 4, 145, 20),
        (SPRING, 5, 1, 2, 130, 24),
        (AUTUMN, 2, 0, 1, 125, 18),
    ],
    ids=str,
)
def test_flights_with_missing_or_unknown_values_are_counted_and_published(
    real_days: tuple[Platform, dict[str, Any]],
    day: date,
    cancelled: int,
    diverted: int,
    without_tailnum: int,
    unknown_aircraft: int,
    unknown_airport: int,
) -> None:
    platform, checks = real_days
    flights = [row for row in rows(platform, "silver/flights/flights") if row["flight_date"] == day]
    assert count(flights, status="cancelled") == cancelled
    assert count(flights, status="diverted") == diverted
    assert count(flights, tailnum=None) == without_tailnum
    assert count(flights, arrived_at=None) == cancelled + diverted
    assert count(flights, scheduled_arrival_at=None) == unknown_airport
    broken = {"tailnum_in_planes": unknown_aircraft, "dest_in_airports": unknown_airport}
    assert checks[f"flights {day}"]["rows_by_broken_rule"] == broken


def test_every_row_of_the_lists_is_published(real_days: tuple[Platform, dict[str, Any]]) -> None:
    platform, checks = real_days
    counts = [len(rows(platform, f"silver/flights/{name}")) for name in ("airlines", "airports", "planes")]
    assert counts == [16, 1458, 3322]
    assert checks["airports"]["rows_by_broken_rule"] == {"in_the_united_states": 3}


def test_the_schedule_before_departure_equals_the_columns_in_silver(
    real_days: tuple[Platform, dict[str, Any]],
) -> None:
    platform, _ = real_days
    scheduled = {flight.flight_id: asdict(flight) for flight in scheduled_flights(REAL_DAYS)}
    names = [field.name for field in fields(ScheduledFlight)]
    silver = {row["flight_id"]: {name: row[name] for name in names} for row in rows(platform, "silver/flights/flights")}
    assert scheduled == silver
    assert len(scheduled) == 684 + 893 + 908 + 902


def test_a_second_run_of_a_day_leaves_the_same_rows(listed: Platform, materialize: Materialize) -> None:
    tables = [f"{zone}/flights/flights" for zone in ("bronze", "silver", "quarantine")]
    materialize(listed, DAYS, str(WIND_DAY))
    before = {table: rows(listed, table) for table in tables}
    materialize(listed, DAYS, str(WIND_DAY))
    assert {table: rows(listed, table) for table in tables} == before
    assert [len(content) for content in before.values()] == [893, 893, 0]


def content_of(platform: Platform, delivery: Delivery) -> bytes:
    with platform.landing.open(delivery) as stream:
        return stream.read()


def test_a_delivery_that_is_repeated_under_another_name_changes_nothing(
    listed: Platform, materialize: Materialize
) -> None:
    materialize(listed, DAYS, str(WIND_DAY))
    bronze_version = listed.lakehouse.version(TableId.parse("bronze/flights/flights"))
    before = rows(listed, "silver/flights/flights")
    [delivery] = listed.landing.deliveries("flights", "flights")
    deliver(listed, "flights", WIND_DAY, "flights_20130212_again.csv", content_of(listed, delivery))
    materialize(listed, DAYS, str(WIND_DAY))
    assert listed.lakehouse.version(TableId.parse("bronze/flights/flights")) == bronze_version
    assert rows(listed, "silver/flights/flights") == before
    assert rows(listed, "quarantine/flights/flights") == []


def test_damaged_lines_are_quarantined_with_their_source_row_and_the_rest_is_published(
    listed: Platform, materialize: Materialize
) -> None:
    header, lines = flight_lines([AUTUMN])
    valid = lines[AUTUMN][:5]
    too_long, too_short = lines[AUTUMN][5].replace(b"\n", b",one,two\n"), b"2013,11,3,519\n"
    no_instant = lines[AUTUMN][6].replace(b",2013-11-03T", b",soon T")
    content = header + valid[0] + too_long + b"".join(valid[1:]) + no_instant + too_short
    deliver(listed, "flights", AUTUMN, "damaged.csv", content)
    result = materialize(listed, [bronze.flights, silver.flights], str(AUTUMN))
    check = figures(result, "silver/flights/flights")
    assert (check["rows_in"], check["rows_clean"], check["rows_quarantined"]) == (8, 5, 3)
    rejected = {row["_source_row"]: row for row in rows(listed, "quarantine/flights/flights")}
    codes = {number: [reason["code"] for reason in row["_reasons"]] for number, row in rejected.items()}
    assert (codes[3][0], codes[9][0]) == ("malformed_row", "malformed_row")
    assert codes[8] == ["scheduled_departure_at_type"]
    assert too_long.decode().strip() in rejected[3]["_row"]
    assert {row["_source_uri"] for row in rejected.values()} == {"flights/flights/dt=2013-11-03/damaged.csv"}
    ids = {line.split(b",")[10].decode() for line in valid}
    assert {str(row["flight"]) for row in rows(listed, "silver/flights/flights")} == ids


def test_a_later_delivery_of_a_flight_replaces_it_and_the_earlier_row_is_quarantined(
    listed: Platform, materialize: Materialize
) -> None:
    materialize(listed, DAYS, str(WIND_DAY))
    header, lines = flight_lines([WIND_DAY])
    line = next(line for line in lines[WIND_DAY] if line.split(b",")[8] == b"0")
    values = line.split(b",")
    values[7], values[8] = str(int(values[7]) - 1).encode(), b"1"
    deliver(listed, "flights", WIND_DAY, "flights_20130212_2.csv", header + b",".join(values))
    materialize(listed, DAYS, str(WIND_DAY))
    flights = rows(listed, "silver/flights/flights")
    number = {"carrier": values[9].decode(), "flight": int(values[10]), "origin": values[12].decode()}
    assert len(flights) == 893
    assert count(flights, **number, arr_delay=1) == 1
    [replaced] = rows(listed, "quarantine/flights/flights")
    assert [reason["code"] for reason in replaced["_reasons"] if reason["severity"] == "error"] == ["duplicate_key"]
    assert replaced["_source_uri"].endswith("/flights_20130212.csv")


def test_a_day_without_flights_is_not_published(listed: Platform, materialize: Materialize) -> None:
    materialize(listed, DAYS, str(WIND_DAY))
    version = listed.lakehouse.version(TableId.parse("silver/flights/flights"))
    [landed] = listed.landing.deliveries("flights", "flights")
    header = content_of(listed, landed).splitlines(keepends=True)[0]
    deliver(listed, "flights", SPRING, "flights_20130310.csv", header)
    result = materialize(listed, [bronze.flights, silver.flights], str(SPRING), raise_on_error=False)
    assert not result.success
    check = contract_check(result)
    assert (check.passed, "has_flights" in str(check.description)) == (False, True)
    assert listed.lakehouse.version(TableId.parse("silver/flights/flights")) == version


def test_the_newest_snapshot_replaces_the_aircraft_register(listed: Platform, materialize: Materialize) -> None:
    with closing(sqlite3.connect(listed.settings.root / "operations.db")) as connection, connection:
        connection.execute("DELETE FROM planes WHERE tailnum = 'N10156'")
        connection.execute("INSERT INTO planes (tailnum, model) VALUES ('N0EGMQ', 'EMB-145LR')")
    land_days(listed, date(2013, 2, 13))
    materialize(listed, [bronze.planes, silver.planes])
    tailnums = {row["tailnum"] for row in rows(listed, "silver/flights/planes")}
    assert (len(tailnums), "N10156" in tailnums, "N0EGMQ" in tailnums) == (3322, False, True)
    assert len(rows(listed, "bronze/flights/planes")) == 2 * 3322
