"""Pushed movements give an aircraft the same online features as the batch tables of the same flights."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.flights import gold
from assets.flights.deliveries import MISSING, flight_lines
from assets.flights.features import ARRIVAL_DELAY_V1
from assets.flights.movements import aircraft_moved, bronze_movements, movements, silver_movements
from assets.flights.schedule import scheduled_flights
from feature_repo.filling import materialize as move_store
from feature_repo.online_moves import OnlineMover
from feature_repo.online_rows import stored_rows
from feature_repo.state import DomainStore
from feature_repo.store import current
from pipelines.governed.platform import Platform
from pipelines.medallion.push_source import OnlineMove
from pipelines.settings import Settings
from pipelines.tables import RECORD_ID, TableId
from pipelines.verdict.event import check
from tests.conftest import Materialize

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")

DAYS = (date(2013, 11, 1), date(2013, 11, 2))
BEGINNING = datetime(2013, 11, 1, tzinfo=UTC)
FIRST_DAY_ENDS = datetime(2013, 11, 2, 4, tzinfo=UTC)
LATER = (datetime(2013, 11, 2, 17, 30, tzinfo=UTC), datetime(2013, 11, 3, 12, tzinfo=UTC))
SILVER, HISTORY = TableId.parse("silver/flights/flights"), TableId.parse("gold/flights/aircraft_history")
ARROW = {"string": pa.string(), "int": pa.int32(), "bigint": pa.int64(), "double": pa.float64()}
assert isinstance(movements.online, OnlineMove)
MOVE: OnlineMove = movements.online


def silver_flights(day: date) -> list[dict[str, Any]]:
    """Real flights of a local day, as rows of silver/flights."""
    header, lines = flight_lines([day])
    records = list(csv.DictReader(io.StringIO((header + b"".join(lines[day])).decode())))
    rows = []
    for planned, record in zip(scheduled_flights([day]), records, strict=True):
        number = {name: None if record[name] == MISSING else int(record[name]) for name in ("dep_delay", "arr_delay")}
        departed_at = planned.scheduled_departure_at + timedelta(minutes=number["dep_delay"] or 0)
        arrived_at = planned.scheduled_departure_at + timedelta(
            minutes=(planned.scheduled_duration_minutes or 240) + (number["arr_delay"] or 0)
        )
        flown = number["arr_delay"] is not None
        rows.append(
            {
                "tailnum": planned.tailnum,
                "scheduled_duration_minutes": planned.scheduled_duration_minutes,
                "status": "flown" if flown else "diverted" if number["dep_delay"] is not None else "cancelled",
                "departed_at": departed_at if number["dep_delay"] is not None else None,
                "arrived_at": arrived_at if flown else None,
                **number,
                RECORD_ID: planned.flight_id,
                "_event": (planned.carrier, planned.flight, planned.origin, planned.dest),
            }
        )
    return rows


def reports(flights: list[dict[str, Any]], day: date) -> list[dict[str, Any]]:
    """The events that airlines push about the flights."""
    events = []
    for flight in flights:
        carrier, number, origin, dest = flight["_event"]
        for movement, at, delay in (("departed", "departed_at", "dep_delay"), ("arrived", "arrived_at", "arr_delay")):
            if flight["tailnum"] and flight[at]:
                events.append(
                    {
                        "event_id": f"{flight[RECORD_ID]}:{movement}",
                        "received_at": flight[at].isoformat(),
                        "flight_date": day.isoformat(),
                        "carrier": carrier, "flight": number, "origin": origin, "dest": dest,
                        "tailnum": flight["tailnum"],
                        "movement": movement,
                        "moved_at": flight[at].isoformat().replace("+00:00", "Z"),
                        "delay": flight[delay],
                        "scheduled_duration_minutes": flight["scheduled_duration_minutes"],
                    }
                )  # fmt: skip
    return events


def checked(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The typed values of events that keep the contract."""
    judged = [check(event, movements.silver) for event in events]
    assert [broken for _, broken in judged if broken] == []
    return [values for values, _ in judged]


@pytest.fixture(scope="module")
def flights() -> dict[date, list[dict[str, Any]]]:
    return {day: silver_flights(day) for day in DAYS}


@pytest.fixture(scope="module")
def history(make_platform: Callable[[], Platform], materialize: Materialize) -> Callable[[list[dict[str, Any]]], Any]:
    """Computes gold/aircraft_history of some flights in a batch run."""

    def computed(rows: list[dict[str, Any]]) -> Any:
        platform = make_platform()
        instants = pa.timestamp("us", "UTC")
        schema = pa.schema(
            [
                ("tailnum", pa.string()), ("scheduled_duration_minutes", pa.int32()), ("status", pa.string()),
                ("departed_at", instants), ("arrived_at", instants),
                ("dep_delay", pa.int32()), ("arr_delay", pa.int32()), (RECORD_ID, pa.string()),
            ]
        )  # fmt: skip
        platform.lakehouse.record(SILVER, pa.Table.from_pylist(rows, schema=schema))
        assert materialize(platform, [gold.aircraft_history]).success
        return platform.lakehouse.read(platform.lakehouse.current(HISTORY))

    return computed


def fill(settings: Settings, table: Any, at: datetime) -> bool:
    """Moves a store to what the tables know at an instant; returns whether it was rebuilt."""
    frames: dict[str, Any] = {"gold_flights_aircraft_history": table}
    for view in ARRIVAL_DELAY_V1.views:
        types = {name: ARROW[view.contract.column(name).type] for name in (*view.keys, *view.fields)}
        schema = pa.schema([*types.items(), ("event_timestamp", pa.timestamp("us", "UTC"))])
        empty = table.sparkSession.createDataFrame(pa.Table.from_pylist([{}], schema=schema)).where("1 = 0")
        frames.setdefault(view.table.source_name, empty)
    return move_store(DomainStore(settings, "flights"), [ARRIVAL_DELAY_V1], frames, as_of=at).rebuilt


def online(settings: Settings, aircraft: list[str]) -> dict[str, dict[str, Any]]:
    """The stored row of each aircraft, with its event timestamp."""
    store = current(DomainStore(settings, "flights")).store
    rows = stored_rows(store, "flights", MOVE.view, [{MOVE.key: key} for key in aircraft])
    return {key: dict(row) for key, row in zip(aircraft, rows, strict=True) if row is not None}


def test_events_pushed_in_any_order_give_the_features_of_the_batch_tables(
    flights: dict[date, list[dict[str, Any]]], history: Callable[[list[dict[str, Any]]], Any], tmp_path: Path
) -> None:
    first, both = flights[DAYS[0]], [flight for day in DAYS for flight in flights[day]]
    aircraft = sorted({flight["tailnum"] for flight in both if flight["tailnum"]})
    pushed = [event for day in DAYS for event in reports(flights[day], day)]
    pushed += random.Random(1).sample(pushed, 300)  # pushed twice
    random.Random(2).shuffle(pushed)
    table, settings = history(both), Settings(home=tmp_path / "pushed", profile="test")
    fill(settings, history(first), FIRST_DAY_ENDS)
    before = online(settings, aircraft)
    for number, at in enumerate(LATER):
        outcomes = OnlineMover(settings).move(MOVE, checked(pushed), at)
        assert outcomes.count("ahead") == sum(event["moved_at"] > at for event in checked(pushed))
        assert outcomes.count("moved") > 500
        batch = Settings(home=tmp_path / f"batch{number}", profile="test")
        fill(batch, table, at)
        known = online(batch, aircraft)
        assert online(settings, aircraft) == known != before
        assert len(known) > 800
    assert not fill(settings, table, LATER[-1])  # the tables hold the same events by now
    assert online(settings, aircraft) == known


def test_a_batch_run_keeps_the_features_that_a_newer_event_has_moved(
    flights: dict[date, list[dict[str, Any]]], history: Callable[[list[dict[str, Any]]], Any], tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, profile="test")
    table = history([flight for day in DAYS for flight in flights[day]])
    fill(settings, table, FIRST_DAY_ENDS)
    events = [event for day in DAYS for event in checked(reports(flights[day], day))]
    OnlineMover(settings).move(MOVE, events, LATER[1])
    aircraft = sorted({event["tailnum"] for event in events})
    moved = online(settings, aircraft)
    assert not fill(settings, table, LATER[0])
    assert online(settings, aircraft) == moved


MOVEMENT = st.fixed_dictionaries(
    {
        "movement": st.sampled_from(["departed", "arrived"]),
        "moved_at": st.integers(0, 6).map(lambda n: BEGINNING + timedelta(minutes=n)),
        "delay": st.integers(-240, 300),
        "scheduled_duration_minutes": st.none() | st.integers(20, 400),
    }
)


@given(st.lists(MOVEMENT, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_movements_in_another_order_and_repeated_give_the_same_features(
    events: list[dict[str, Any]], chance: random.Random
) -> None:
    def after(movements: list[dict[str, Any]]) -> Any:
        known = None
        for event in movements:
            known = aircraft_moved(known, event)
        return known

    other = [*events, *chance.choices(events, k=3)]
    chance.shuffle(other)
    assert after(other) == after(events)
    assert after(events)["event_timestamp"] == max(event["moved_at"] for event in events)


#: An event that keeps the contract.
DEPARTED: dict[str, Any] = {
    "event_id": "1", "received_at": "2013-11-01T09:20:03Z", "flight_date": "2013-11-01", "carrier": "UA",
    "flight": 1545, "origin": "EWR", "dest": "IAH", "tailnum": "N14228", "movement": "departed",
    "moved_at": "2013-11-01T09:20:00Z", "delay": 5, "scheduled_duration_minutes": 254,
}  # fmt: skip
#: Changes of that event, most of which break the contract.
CHANGES: list[dict[str, Any]] = [
    {}, {"tailnum": None}, {"tailnum": "not a tail"}, {"movement": "landed"}, {"origin": "ORD"}, {"dest": "X"},
    {"delay": "late"}, {"delay": 2881}, {"delay": -240}, {"delay": 2.5}, {"delay": 5.0}, {"delay": "5"}, {"delay": True},
    {"delay": 10**30}, {"flight": 0}, {"flight": "1545"}, {"scheduled_duration_minutes": None}, {"carrier": 77},
    {"scheduled_duration_minutes": 5000}, {"moved_at": "yesterday"}, {"moved_at": "2013-02-30T00:00:00Z"},
    {"moved_at": "2013-11-01T09:20:00"}, {"moved_at": "2013-11-01T10:20:00+01:00"}, {"moved_at": 1383297600},
    {"moved_at": "2013-11-01 09:20:00.123456Z"}, {"flight_date": "2013-11-31"}, {"flight_date": "20131101"},
    {"remark": "more than asked for"}, {"dest": ["IAH"]}, {"dest": {"a": 1}}, {"carrier": "ua"},
]  # fmt: skip


def test_an_event_that_the_push_check_accepts_is_clean_in_silver_with_the_same_values(
    platform: Platform, materialize: Materialize
) -> None:
    events = [DEPARTED | {"event_id": str(number)} | change for number, change in enumerate(CHANGES)]
    content = "".join(json.dumps(event) + "\n" for event in events).encode()
    platform.landing.deliver(
        domain="flights", source="movements", interval="2013-11-01", name="m.jsonl", content=content
    )
    assert materialize(platform, [bronze_movements, silver_movements]).success
    house = platform.lakehouse
    published = house.snapshot(TableId.parse("silver/flights/movements")).arrow().to_pylist()
    clean = {row["event_id"]: {c.name: row[c.name] for c in movements.silver.columns} for row in published}
    judged = {event["event_id"]: check(event, movements.silver) for event in events}
    accepted = {name: values for name, (values, broken) in judged.items() if not broken}
    assert {name: clean.get(name) for name in accepted} == accepted
    assert len(accepted) >= 9
    rejected = house.snapshot(TableId.parse("quarantine/flights/movements")).arrow().to_pylist()
    assert len(rejected) + len(clean) == len(events)
    codes = {json.loads(row["_row"])["event_id"]: {r["code"] for r in row["_reasons"]} for row in rejected}
    for name, reasons in codes.items():
        assert judged[name][1], (name, reasons)
    assert [judged[name][1][0].code in codes[name] for name in ("1", "2", "3", "4", "6", "7")] == [True] * 6
