"""All of 2013 in one run gives the counts that are known of its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from assets.flights import bronze, silver
from assets.flights.deliveries import land
from pipelines.governed.platform import Platform
from pipelines.tables import TableId
from tests.conftest import Materialize

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def year(make_platform: Callable[[], Platform], materialize: Materialize) -> tuple[Platform, dict[str, dict[str, Any]]]:
    """The platform, and the metadata of the contract check of each silver table."""
    platform = make_platform()
    first, last = date(2013, 1, 1), date(2013, 12, 31)
    land(platform.landing, start=first, end=last, database=platform.settings.root / "operations.db")
    lists = [bronze.airlines, bronze.airports, bronze.planes, silver.airlines, silver.airports, silver.planes]
    days = [bronze.flights, silver.flights]
    checks = [
        *materialize(platform, lists).get_asset_check_evaluations(),
        *materialize(platform, days, str(first), str(last)).get_asset_check_evaluations(),
    ]
    return platform, {c.asset_key.path[-1]: {name: v.value for name, v in c.metadata.items()} for c in checks}


def table(platform: Platform, name: str) -> pa.Table:
    return platform.lakehouse.snapshot(TableId.parse(name)).arrow()


def counts(rows: pa.Table, column: str) -> dict[Any, int]:
    return {entry["values"]: entry["counts"] for entry in rows[column].value_counts().to_pylist()}


@pytest.mark.parametrize(
    ("name", "rows_in", "rows_quarantined"),
    [
        ("flights", 336_776, 0),
        ("planes", 3_322, 0),
        ("airports", 1_458, 0),
        ("airlines", 16, 0),
    ],
)
def test_every_row_is_published_or_quarantined(
    year: tuple[Platform, dict[str, dict[str, Any]]], name: str, rows_in: int, rows_quarantined: int
) -> None:
    platform, checks = year
    check = checks[name]
    assert check["rows_in"] == table(platform, f"bronze/flights/{name}").num_rows == rows_in
    assert check["rows_quarantined"] == table(platform, f"quarantine/flights/{name}").num_rows == rows_quarantined
    assert check["rows_clean"] == table(platform, f"silver/flights/{name}").num_rows == rows_in - rows_quarantined


def test_flights_have_the_known_numbers_of_missing_and_unknown_values(
    year: tuple[Platform, dict[str, dict[str, Any]]],
) -> None:
    platform, checks = year
    flights = table(platform, "silver/flights/flights")
    assert checks["flights"]["rows_by_broken_rule"] == {
        "dest_in_airports": 7_602,
        "tailnum_in_planes": 50_094,
        "arrival_clock_agrees": 1,
    }
    assert counts(flights, "status") == {
        "cancelled": 8_255,
        "diverted": 1_175,
        "flown": 327_346,
    }
    nulls = {name: flights[name].null_count for name in ("tailnum", "dep_delay", "arr_delay", "arrived_at")}
    assert nulls == {"tailnum": 2_512, "dep_delay": 8_255, "arr_delay": 9_430, "arrived_at": 9_430}
    assert counts(flights, "dep_time")[2400] == 29
    assert len(flights["flight_id"].unique()) == flights.num_rows
    pairs = zip(flights["dest"].to_pylist(), flights["scheduled_arrival_at"].to_pylist(), strict=True)
    assert Counter(dest for dest, arrival in pairs if arrival is None) == {
        "SJU": 5_819,
        "BQN": 896,
        "STT": 522,
        "PSE": 365,
    }


def test_lists_have_the_known_numbers_of_missing_values(
    year: tuple[Platform, dict[str, dict[str, Any]]],
) -> None:
    platform, _ = year
    planes, airports = (table(platform, f"silver/flights/{name}") for name in ("planes", "airports"))
    assert (planes["year"].null_count, planes["speed"].null_count) == (70, 3_299)
    assert airports["tzone"].null_count == 3
