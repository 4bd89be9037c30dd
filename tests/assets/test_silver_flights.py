"""Single flights in silver: their computed columns, and the verdict of the contract."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from assets.flights.domain import contract
from assets.flights.silver import flights_with_instants
from pipelines.engine.session import Engine
from pipelines.tables import RESCUED, TableId
from pipelines.verdict import verdict

SILVER = contract("silver/flights")
BRONZE = [column.name for column in contract("bronze/flights").columns]
ZONES = {
    "IAH": "America/Chicago", "HNL": "Pacific/Honolulu", "PHX": "America/Phoenix", "LAX": "America/Los_Angeles",
    "MIA": "America/New_York", "PBI": "America/New_York", "SYR": "America/New_York", "RDU": "America/New_York",
    "EEN": None,
}  # fmt: skip

#: Lines of the source file.
FLOWN = "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z"
CANCELLED = "2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,N18120,EWR,RDU,NA,416,16,30,2013-01-01T21:00:00Z"
LANDED_ELSEWHERE = "2013,1,1,1525,1530,-5,1934,1805,NA,MQ,4525,N719MQ,LGA,XNA,NA,1147,15,30,2013-01-01T20:00:00Z"
NEVER_LANDED = "2013,1,1,2016,1930,46,NA,2220,NA,EV,4204,N14168,EWR,OKC,NA,1325,19,30,2013-01-02T00:00:00Z"
LEFT_AT_MIDNIGHT = "2013,12,9,2400,2250,70,59,2356,63,B6,1816,N187JB,JFK,SYR,41,209,22,50,2013-12-10T03:00:00Z"
LANDED_AT_MIDNIGHT = "2013,1,1,2209,2155,14,2400,2337,23,B6,1109,N216JB,JFK,RDU,86,427,21,55,2013-01-02T02:00:00Z"
TO_HAWAII = "2013,1,1,857,900,-3,1516,1530,-14,HA,51,N380HA,JFK,HNL,659,4983,9,0,2013-01-01T14:00:00Z"
TO_ARIZONA_IN_WINTER = "2013,1,1,622,630,-8,1017,1014,3,US,245,N807AW,EWR,PHX,342,2133,6,30,2013-01-01T11:00:00Z"
TO_ARIZONA_IN_SUMMER = "2013,7,1,655,658,-3,855,915,-20,UA,1138,N38727,EWR,PHX,278,2133,6,58,2013-07-01T10:00:00Z"
TO_SAN_JUAN = "2013,1,1,615,615,0,1039,1100,-21,B6,709,N794JB,JFK,SJU,182,1598,6,15,2013-01-01T11:00:00Z"
BEFORE_SPRING = "2013,3,9,2306,2145,81,203,34,89,B6,35,N658JB,JFK,PBI,141,1028,21,45,2013-03-10T02:00:00Z"
IN_SPRING = "2013,3,10,615,619,-4,851,903,-12,UA,1236,N14242,EWR,PHX,297,2133,6,19,2013-03-10T10:00:00Z"
BEFORE_AUTUMN = "2013,11,2,2139,2140,-1,43,40,3,AA,185,N323AA,JFK,LAX,336,2475,21,40,2013-11-03T01:00:00Z"
IN_AUTUMN = "2013,11,3,519,520,-1,751,800,-9,UA,322,N563UA,EWR,IAH,188,1400,5,20,2013-11-03T10:00:00Z"

Judge = Callable[..., list[dict[str, Any]]]


def at(year: int, month: int, day: int, hour: int, minute: int) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def but(line: str, **changes: str) -> str:
    """The line with some columns replaced."""
    values = dict(zip(BRONZE, line.split(","), strict=True))
    assert set(changes) <= set(values)
    return ",".join((values | changes).values())


def codes(row: dict[str, Any], severity: str = "error") -> list[str]:
    return sorted(reason["code"] for reason in row["_reasons"] if reason["severity"] == severity)


@pytest.fixture(scope="module")
def judged(engine: Engine) -> Judge:
    """Judges lines of the source as silver does, in their order; `day` is the delivery's, None takes each line's own."""
    session = engine.session
    airports = session.createDataFrame(pa.table({"faa": list(ZONES), "tzone": list(ZONES.values())}))
    carriers = pa.table({"carrier": ["UA", "EV", "B6", "MQ", "HA", "US", "AA"]})
    references = {
        TableId.parse("silver/flights/airports"): airports,
        TableId.parse("silver/flights/airlines"): session.createDataFrame(carriers),
        TableId.parse("silver/flights/planes"): session.createDataFrame(pa.table({"tailnum": ["N14228"]})),
    }
    texts = [*BRONZE, "_record_id", "_source_uri", "_ingest_id", "_partition", RESCUED]
    schema = pa.schema(
        [(name, pa.string()) for name in texts]
        + [("_source_row", pa.int64()), ("_ingested_at", pa.timestamp("us", "UTC"))]
    )

    def judge(*lines: str, day: str | None = None) -> list[dict[str, Any]]:
        records = []
        for number, line in enumerate(lines):
            record: dict[str, Any] = dict(zip(BRONZE, line.split(","), strict=True))
            own = f"{record['year']}-{record['month']:0>2}-{record['day']:0>2}"
            record |= {"_record_id": f"r{number}", "_source_row": number + 2, "_partition": day or own}
            record |= {"_ingest_id": f"{number:08d}", "_source_uri": "u", "_ingested_at": at(2013, 12, 31, 0, 0)}
            records.append(record)
        bronze = session.createDataFrame(pa.Table.from_pylist(records, schema=schema))
        rows = flights_with_instants(verdict.typed(bronze, SILVER), airports)
        judged_rows = verdict.judge(rows, SILVER, references).toArrow().to_pylist()
        return sorted(judged_rows, key=lambda row: row["_source_row"])

    return judge


def test_a_flown_flight_has_instants_in_utc(judged: Judge) -> None:
    [row] = judged(FLOWN)
    expected = {
        "flight_id": "2013-01-01-UA-1545-EWR",
        "flight_date": date(2013, 1, 1),
        "scheduled_departure_at": at(2013, 1, 1, 10, 15),
        "scheduled_duration_minutes": 244,
        "scheduled_arrival_at": at(2013, 1, 1, 14, 19),
        "departed_at": at(2013, 1, 1, 10, 17),
        "arrived_at": at(2013, 1, 1, 14, 30),
        "scheduled_minute": 315,
        "status": "flown",
    }
    assert {name: row[name] for name in expected} == expected
    assert (row["_verdict"], row["_reasons"], row["_row"]) == ("clean", [], None)


def test_a_cancelled_flight_is_published_with_null_outcomes(judged: Judge) -> None:
    [row] = judged(CANCELLED)
    outcomes = ("departed_at", "arrived_at", "dep_delay", "arr_delay", "air_time", "dep_time", "arr_time")
    assert (row["status"], row["_verdict"]) == ("cancelled", "clean")
    assert [row[name] for name in outcomes] == [None] * len(outcomes)
    assert row["scheduled_arrival_at"] == at(2013, 1, 1, 23, 15)


def test_a_diverted_flight_is_published_with_its_departure_and_no_arrival(judged: Judge) -> None:
    elsewhere, never = judged(LANDED_ELSEWHERE, NEVER_LANDED)
    assert [row["status"] for row in (elsewhere, never)] == ["diverted", "diverted"]
    assert [row["_verdict"] for row in (elsewhere, never)] == ["clean", "clean"]
    assert [row["arrived_at"] for row in (elsewhere, never)] == [None, None]
    assert never["departed_at"] == at(2013, 1, 2, 1, 16)


def test_2400_is_midnight_at_the_start_of_the_next_day(judged: Judge) -> None:
    left, landed = judged(LEFT_AT_MIDNIGHT, LANDED_AT_MIDNIGHT)
    assert (left["dep_time"], left["departed_at"]) == (2400, at(2013, 12, 10, 5, 0))
    assert (landed["arr_time"], landed["arrived_at"]) == (2400, at(2013, 1, 2, 5, 0))
    for row in (left, landed):
        assert row["_verdict"] == "clean"
        assert not {"departure_clock_agrees", "arrival_clock_agrees"} & set(codes(row, "warning"))


def test_arrival_times_are_read_in_the_time_zone_of_the_destination(judged: Judge) -> None:
    hawaii, winter, summer = judged(TO_HAWAII, TO_ARIZONA_IN_WINTER, TO_ARIZONA_IN_SUMMER)
    assert [row["scheduled_duration_minutes"] for row in (hawaii, winter, summer)] == [690, 344, 317]
    assert hawaii["arrived_at"] == at(2013, 1, 2, 1, 16)
    assert summer["arrived_at"] == at(2013, 7, 1, 15, 55)
    assert "arrival_clock_agrees" not in {code for row in (hawaii, winter, summer) for code in codes(row, "warning")}


def test_an_arrival_in_an_unknown_time_zone_is_estimated_from_the_time_in_the_air(judged: Judge) -> None:
    unlisted, without_zone = judged(TO_SAN_JUAN, but(FLOWN, dest="EEN"))
    for row in (unlisted, without_zone):
        assert (row["scheduled_duration_minutes"], row["scheduled_arrival_at"]) == (None, None)
        assert row["_verdict"] == "clean"
    # San Juan keeps Atlantic time (UTC-4): by its clock, 10:39, the flight was there at 14:39 UTC.
    assert unlisted["arrived_at"] == at(2013, 1, 1, 15, 17)
    assert "dest_in_airports" in codes(unlisted, "warning")
    assert "dest_in_airports" not in codes(without_zone, "warning")


def test_flights_on_days_on_which_clocks_change_are_clean(judged: Judge) -> None:
    night, spring, autumn_night, autumn = judged(BEFORE_SPRING, IN_SPRING, BEFORE_AUTUMN, IN_AUTUMN)
    assert [row["_verdict"] for row in (night, spring, autumn_night, autumn)] == ["clean"] * 4
    assert spring["scheduled_departure_at"] == at(2013, 3, 10, 10, 19)
    assert autumn["scheduled_departure_at"] == at(2013, 11, 3, 10, 20)
    assert autumn_night["arrived_at"] == at(2013, 11, 3, 7, 43)
    assert codes(night, "warning") == ["arrival_clock_agrees", "tailnum_in_planes"]


def test_an_hour_that_the_clock_repeats_is_distinguished_by_utc(judged: Judge) -> None:
    base = but(IN_AUTUMN, sched_dep_time="130", dep_time="130", dep_delay="0", hour="1", minute="30")
    first, second = judged(
        but(base, time_hour="2013-11-03T05:00:00Z"), but(base, time_hour="2013-11-03T06:00:00Z", flight="323")
    )
    assert first["scheduled_departure_at"] == at(2013, 11, 3, 5, 30)
    assert second["scheduled_departure_at"] == at(2013, 11, 3, 6, 30)
    assert "schedule_agrees" not in [*codes(first), *codes(second)]


def test_day_of_week_counts_from_monday_as_zero(judged: Judge) -> None:
    days = range(7, 14)  # 7 January 2013 was a Monday
    rows = judged(*[but(FLOWN, day=str(day), time_hour=f"2013-01-{day:02d}T10:00:00Z") for day in days])
    assert [row["day_of_week"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert {row["_verdict"] for row in rows} == {"clean"}


def test_an_unknown_aircraft_is_a_warning_and_an_unknown_carrier_an_error(judged: Judge) -> None:
    aircraft, none, carrier = judged(
        but(FLOWN, tailnum="N999ZZ"), but(FLOWN, tailnum="NA", flight="1"), but(FLOWN, carrier="ZZ")
    )
    assert (aircraft["_verdict"], codes(aircraft, "warning")) == ("clean", ["tailnum_in_planes"])
    assert (none["_verdict"], none["tailnum"], none["_reasons"]) == ("clean", None, [])
    assert (carrier["_verdict"], codes(carrier)) == ("quarantine", ["carrier_in_airlines"])


#: Changed columns of a flight, and the codes of the reasons for which it is quarantined.
DAMAGE: list[tuple[dict[str, str], list[str]]] = [
    ({"dep_delay": "two"}, ["dep_delay_type", "departure_complete"]),
    ({"flight": "1545a"}, ["flight_type"]),
    ({"time_hour": "yesterday"}, ["scheduled_departure_at_type"]),
    ({"month": "13"}, ["day_of_week_required", "flight_date_required"]),
    ({"day": "NA"}, ["day_of_week_required", "flight_date_required"]),
    ({"origin": "PHL"}, ["origin_set"]),
    ({"distance": "0"}, ["distance_range"]),
    ({"dep_delay": "-2000"}, ["dep_delay_range"]),
    ({"arr_time": "875"}, ["clocks_valid"]),
    ({"sched_dep_time": "615"}, ["schedule_agrees"]),
    ({"time_hour": "2013-01-02T10:00:00Z"}, ["schedule_agrees"]),
    ({"dep_time": "NA"}, ["arrival_complete", "departure_complete"]),
    ({"air_time": "NA"}, ["arrival_complete"]),
    ({"air_time": "1000"}, ["arrival_after_flight"]),
]


def test_damaged_flights_are_quarantined_with_their_reasons(judged: Judge) -> None:
    lines = [but(FLOWN, **({"flight": str(number)} | changes)) for number, (changes, _) in enumerate(DAMAGE, start=1)]
    rows = judged(*lines, day="2013-01-01")
    reasons = [(changes, codes(row)) for (changes, _), row in zip(DAMAGE, rows, strict=True)]
    assert reasons == DAMAGE
    assert {row["_verdict"] for row in rows} == {"quarantine"}


def test_a_quarantined_flight_keeps_the_row_as_it_arrived(judged: Judge) -> None:
    [row] = judged(but(FLOWN, dep_delay="two"))
    assert '"dep_delay":"two"' in row["_row"]
    [reason] = [reason for reason in row["_reasons"] if reason["code"] == "dep_delay_type"]
    assert (reason["column"], reason["value"], reason["severity"]) == ("dep_delay", "two", "error")


def test_a_flight_of_another_day_than_its_delivery_is_quarantined(judged: Judge) -> None:
    [row] = judged(FLOWN, day="2013-01-02")
    assert codes(row) == ["in_its_day"]


def test_of_two_deliveries_of_one_flight_the_newest_is_clean(judged: Judge) -> None:
    old, new = judged(FLOWN, but(FLOWN, arr_delay="12", arr_time="831"))
    assert (new["_verdict"], new["arr_delay"]) == ("clean", 12)
    assert (old["_verdict"], codes(old)) == ("quarantine", ["duplicate_key"])
    assert old["_reasons"][-1]["value"] == "2013-01-01|UA|1545|EWR"
