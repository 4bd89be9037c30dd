"""Windowed features: the table's rows and what is computed on demand equal a brute-force reading of the events."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError, TerminalError
from pipelines.features import quality
from pipelines.features.aggregates import Aggregate, count, last, mean, total
from pipelines.features.declaration import EVENT_TIMESTAMP
from pipelines.features.windowed import Windowed, declarations
from pipelines.features.windowed_events import row_at, still_needed
from pipelines.features.windowed_table import windowed_rows
from pipelines.tables import RECORD_ID
from tests.pipelines.toy_contracts import contract

Event = dict[str, Any]
#: The night in which New York's clocks are put forward: ticks and windows are of UTC.
BEGIN = datetime(2013, 3, 10, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
FEATURES: dict[str, tuple[str, Aggregate]] = {
    "events": ("bigint", count()),
    "events_1h": ("bigint", count(last=HOUR)),
    "prices_3h": ("bigint", count("price", last=3 * HOUR)),
    "price": ("double", total("price")),
    "price_1h": ("double", total("price", last=HOUR)),
    "price_mean_3h": ("double", mean("price", last=3 * HOUR)),
    "price_mean_2": ("double", mean("price", last=2)),
    "price_3": ("double", total("price", last=3)),
    "pieces": ("bigint", total("pieces")),
    "pieces_3h": ("bigint", total("pieces", last=3 * HOUR)),
    "pieces_mean_2": ("double", mean("pieces", last=2)),
    "red_share_3h": ("double", mean("red", last=3 * HOUR)),
    "colour": ("string", last("colour")),
    "colour_before": ("string", last("colour", 2)),
    "price_before_1h": ("double", last("price", 2, within=HOUR)),
    "red": ("boolean", last("red", within=3 * HOUR)),
}
COLUMNS = {"price": "double", "pieces": "bigint", "red": "boolean", "colour": "string"}
ARROW = {"double": pa.float64(), "bigint": pa.int64(), "boolean": pa.bool_(), "string": pa.string()}


def node(name: str, kind: str, key: int = 0) -> dict[str, Any]:
    logical = {
        "double": "number",
        "bigint": "integer",
        "boolean": "boolean",
        "string": "string",
        "timestamp": "timestamp",
    }
    column: dict[str, Any] = {"name": name, "logicalType": logical[kind], "physicalType": kind, "description": name}
    return column | ({"primaryKey": True, "primaryKeyPosition": key, "required": True} if key else {})


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Windowed:
    folder = tmp_path_factory.mktemp("contracts")
    keys = [node("shop", "string", 1), node("shelf", "bigint", 2)]
    table = [*keys, node(EVENT_TIMESTAMP, "timestamp", 3), *[node(name, kind) for name, (kind, _) in FEATURES.items()]]
    events = [
        node("number", "bigint", 1),
        node("shop", "string"),
        node("shelf", "bigint"),
        node("sold_at", "timestamp"),
    ]
    return Windowed(
        table=contract(folder, "gold/toys/shelf_sales", table),
        events=contract(folder, "silver/toys/sales", [*events, *[node(*column) for column in COLUMNS.items()]]),
        at="sold_at",
        features={name: aggregate for name, (_, aggregate) in FEATURES.items()},
    )


VARIANTS = {
    "seconds": {},
    "half_hours": {"tick": HOUR / 2},
    "after": {"counts": "after"},
    "until_next_event": {"tick": HOUR / 2, "holds": "until_next_event"},
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest, declared: Windowed) -> Windowed:
    return replace(declared, **VARIANTS[request.param])


def counted_from(declared: Windowed, event: Event) -> datetime:
    """The first tick from the event's instant on, or after it."""
    ticks = math.floor((event["sold_at"] - BEGIN) / declared.tick) - 1
    while True:
        tick = BEGIN + ticks * declared.tick
        if tick > event["sold_at"] or (tick == event["sold_at"] and declared.counts == "at_once"):
            return tick
        ticks += 1


def brute_force(declared: Windowed, events: list[Event], at: datetime) -> Event | None:
    """The value of each feature; a floating-point one with the sum of the absolute values in its window."""
    known = [e for e in events if e["sold_at"] is not None and counted_from(declared, e) <= at]
    known.sort(key=lambda e: (e["sold_at"], e["number"]))
    if not known:
        return None
    if declared.holds == "until_next_event":
        at = max(counted_from(declared, e) for e in known)
    row: Event = {}
    for name, (_, feature) in FEATURES.items():
        column = feature.column
        seen = [e for e in known if column is None or e[column] is not None]
        if isinstance(feature.span, int):
            seen = seen[max(0, len(seen) - feature.span) :]
        elif feature.kind == "last":
            seen = [seen[-feature.place]] if len(seen) >= feature.place else []
        if isinstance(feature.span, timedelta):
            seen = [e for e in seen if at - counted_from(declared, e) < feature.span]
        values = [e[column] for e in seen] if column else []
        match feature.kind:
            case "count":
                row[name] = len(seen)
            case "total":
                row[name] = sum(values)
            case "mean":
                row[name] = sum(values) / len(values) if values else None
            case "last":
                row[name] = values[0] if values else None
        if FEATURES[name][0] == "double" and row[name] is not None:
            # Rounding depends on the order of adding, and on nothing that is outside of the window.
            row[name] = pytest.approx(float(row[name]), rel=1e-13, abs=1e-13 * sum(map(abs, values)))
    return row


def table_rows(engine: Engine, declared: Windowed, events: list[Event]) -> list[Event]:
    """The table's rows of events, computed by the engine."""
    types = {name: ARROW[kind] for name, kind in COLUMNS.items()} | {"sold_at": pa.timestamp("us", "UTC")}
    keys = {"number": pa.int64(), "shop": pa.string(), "shelf": pa.int64(), RECORD_ID: pa.string()}
    rows = [event | {RECORD_ID: f"r{event['number']:04d}"} for event in events]
    frame = engine.session.createDataFrame(pa.Table.from_pylist(rows, schema=pa.schema(keys | types)))
    computed: list[Event] = windowed_rows(declared, frame).toArrow().to_pylist()
    return computed


def at_edges(random_: random.Random) -> datetime:
    """An instant near the edge of a tick or a window, or anywhere."""
    edge = BEGIN + HOUR / 2 * random_.randrange(12)
    return edge + timedelta(microseconds=random_.choice([0, 0, 0, 1, -1, 500_000, random_.randrange(10**9)]))


def random_events(seed: int, number: int) -> list[Event]:
    """Events of three entities: ties, nulls, empty hours, keys and instants that are missing, huge numbers."""
    chance = random.Random(seed)
    return [
        {
            "number": place,
            "shop": chance.choice(["north", "north", "south"]) if chance.random() > 0.03 else None,
            "shelf": chance.choice([1, 2]),
            "sold_at": at_edges(chance) if chance.random() > 0.03 else None,
            "price": chance.choice([None, 0.1, 0.2, 3.7, -1.25, 1e17]),
            "pieces": chance.choice([None, 0, 1, -5, 2**53 + 1]),
            "red": chance.choice([None, True, False]),
            "colour": chance.choice([None, "", "red", "größe", "Zoë"]),
        }
        for place in range(number)
    ]


def by_entity(rows: list[Event]) -> dict[tuple[str, int], list[Event]]:
    entities: dict[tuple[str, int], list[Event]] = {}
    for row in rows:
        if row["shop"] is not None:
            entities.setdefault((row["shop"], row["shelf"]), []).append(row)
    return entities


def require_equal(engine: Engine, declared: Windowed, events: list[Event]) -> None:
    """At every edge, and a microsecond around it, what the table holds and what is computed on demand is right."""
    rows = by_entity(table_rows(engine, declared, events))
    for entity, own in by_entity(events).items():
        timeline = sorted(rows.pop(entity, []), key=lambda row: row[EVENT_TIMESTAMP])
        instants = [row[EVENT_TIMESTAMP] for row in timeline]
        assert len(set(instants)) == len(instants)
        for edge in {*instants, *(BEGIN + n * HOUR / 4 for n in range(44))}:
            for at in (edge - timedelta(microseconds=1), edge, edge + timedelta(microseconds=1)):
                held = [row for row in timeline if row[EVENT_TIMESTAMP] <= at]
                expected, on_demand = brute_force(declared, own, at), row_at(declared, own, at)
                assert (expected is None) == (not held) == (on_demand is None)
                if expected is None or on_demand is None:
                    continue
                assert on_demand[EVENT_TIMESTAMP] == held[-1][EVENT_TIMESTAMP]
                for name, value in expected.items():
                    assert held[-1][name] == value, (name, at)
                    assert on_demand[name] == value, (name, at)
                    assert type(held[-1][name]) is type(on_demand[name]), (name, at)
    assert rows == {}


def test_a_row_where_an_event_leaves_a_window_is_no_event_and_none_of_the_future(
    engine: Engine, variant: Windowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(declarations, variant.table.table, variant)
    chosen = random_events(5, 40)
    events = [event for event in chosen if None not in (event["shop"], event["shelf"], event["sold_at"])]
    rows = table_rows(engine, variant, events)
    frame = engine.session.createDataFrame(pa.Table.from_pylist(rows))
    counted = sorted(counted_from(variant, event) for event in events)
    newest, last = max(row[EVENT_TIMESTAMP] for row in rows), counted[-1]
    assert (newest > last) is (variant.holds == "while_in_window")
    for at in (newest, last, counted[-5], last - timedelta(microseconds=1), last + HOUR):
        measured = quality.measure(variant.view, frame, at, newest).profile
        assert measured.newest_event == max(instant for instant in counted if instant <= at)
    freshness = timedelta(seconds=variant.table.freshness_seconds)
    for now, ahead in ((last - freshness, False), (last - freshness - timedelta(microseconds=1), True)):
        kinds = {finding.kind for finding in quality.measure(variant.view, frame, last, now).findings}
        assert ("future" in kinds) is ahead
    late = quality.measure(variant.view, frame, last + 2 * freshness, last + 2 * freshness)
    words = [str(finding) for finding in late.findings if finding.kind == "staleness"]
    of = "event" if variant.holds == "while_in_window" else "row"
    assert words == [f"shelf_sales is stale: its newest {of} is 2 d old, its freshness 1 d"]


def test_the_rows_hold_at_every_instant_what_brute_force_reads_from_the_events(
    variant: Windowed, engine: Engine
) -> None:
    require_equal(engine, variant, random_events(seed=1, number=100))


@pytest.mark.spark
def test_spark_computes_the_same_rows(declared: Windowed, spark: Engine) -> None:
    require_equal(spark, replace(declared, tick=HOUR / 2), random_events(seed=2, number=60))


def sale(number: int, after: timedelta, **values: Any) -> Event:
    return {
        "number": number, "shop": "north", "shelf": 1, "sold_at": BEGIN + after,
        **dict.fromkeys(COLUMNS), **values,
    }  # fmt: skip


@settings(deadline=None)
@given(chance=st.randoms(use_true_random=False), variant=st.sampled_from(sorted(VARIANTS)), place=st.integers(1, 3))
def test_what_is_kept_of_events_that_come_in_any_order_gives_the_row_of_all_of_them(
    declared: Windowed, chance: random.Random, variant: str, place: int
) -> None:
    changed = replace(declared, **VARIANTS[variant])
    names = chance.sample(sorted(FEATURES), place)
    changed = replace(changed, features={name: FEATURES[name][1] for name in names})
    events = [event | {"shop": "north", "shelf": 1} for event in random_events(chance.randrange(10**6), 25)]
    kept: list[Any] = []
    so_far: list[Event] = []
    now = BEGIN + HOUR
    while len(so_far) < len(events):
        group = events[len(so_far) : len(so_far) + chance.randrange(1, 6)]
        so_far += group
        kept = still_needed(changed, [*kept, *group, *chance.choices(so_far, k=2)], now)
        for after in (timedelta(0), HOUR / 2, 3 * HOUR):
            assert row_at(changed, kept, now + after) == row_at(changed, so_far, now + after)
        now += chance.randrange(4) * HOUR / 2


def test_an_event_is_in_a_window_from_its_instant_until_the_length_has_passed(
    declared: Windowed, engine: Engine
) -> None:
    rows = table_rows(engine, declared, [sale(1, timedelta(0), price=0.1), sale(2, HOUR / 4, price=0.2)])
    held = {row[EVENT_TIMESTAMP] - BEGIN: (row["events"], row["events_1h"], row["price_1h"]) for row in rows}
    assert held == {
        timedelta(0): (1, 1, 0.1),
        HOUR / 4: (2, 2, pytest.approx(0.3)),
        HOUR: (2, 1, 0.2),
        5 * HOUR / 4: (2, 0, 0.0),
        3 * HOUR: (2, 0, 0.0),
        13 * HOUR / 4: (2, 0, 0.0),
    }
    [third] = [row for row in rows if row[EVENT_TIMESTAMP] == BEGIN + HOUR]
    assert third[RECORD_ID] == "r0001", "the row at which an event leaves has the record of that event"


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e300])
def test_a_value_that_left_a_window_leaves_no_trace(declared: Windowed, engine: Engine, value: float) -> None:
    events = [sale(1, timedelta(0), price=value), sale(2, HOUR / 2, price=0.1), sale(3, 3 * HOUR / 2, price=0.2)]
    rows = {row[EVENT_TIMESTAMP]: row for row in table_rows(engine, declared, events)}
    for after, price in ((HOUR, 0.1), (3 * HOUR / 2, 0.2)):
        on_demand = row_at(declared, events, BEGIN + after)
        assert on_demand is not None
        assert rows[BEGIN + after]["price_1h"] == on_demand["price_1h"] == price


def test_a_total_of_integers_is_exact_and_one_beyond_64_bits_is_an_error(declared: Windowed, engine: Engine) -> None:
    largest = 2**63 - 1
    exact = [sale(1, timedelta(0), pieces=largest), sale(2, HOUR, pieces=-largest), sale(3, 2 * HOUR, pieces=largest)]
    rows = sorted(table_rows(engine, declared, exact), key=lambda row: row[EVENT_TIMESTAMP])
    assert rows[-1]["pieces"] == largest
    beyond = [sale(1, timedelta(0), pieces=largest), sale(2, timedelta(0), pieces=1)]
    with pytest.raises(TerminalError, match="a total of 9223372036854775808"):
        row_at(declared, beyond, BEGIN)
    with pytest.raises(Exception, match="9223372036854775808"):
        table_rows(engine, declared, beyond)


def wrong(function: Any) -> Any:
    """The function, whatever it is called with."""
    return function


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"at": "colour"}, "at colour: string"),
        ({"at": "time"}, "at time: no such column"),
        ({"tick": timedelta(milliseconds=1500)}, "a tick of 0:00:01.500000"),
        ({"tick": HOUR, "features": {"events_1h": count(last=HOUR / 2)}}, "a window of 0:30:00"),
        ({"features": {"events": count(last=0)}}, "a window of 0 events"),
        ({"features": {"events": count(last=timedelta(0))}}, "a window of 0:00:00"),
        ({"features": {"colour": last("colour", 0)}}, "the last event number 0"),
        ({"features": {"price": total("colour")}}, "price: total of colour: string"),
        ({"features": {"price": mean("cost")}}, "price: mean of cost: no such column"),
        ({"features": {"events": mean("price")}}, "events: bigint in the table. Expected double"),
        ({"features": {"sales": count()}}, "sales: no such column in the table. Expected bigint"),
        ({"features": {"shelf": last("pieces")}}, "shelf: a feature, and part of the key"),
        (
            {"features": {"events": wrong(count)(last="7d")}},
            "events: a window of '7d', and not a timedelta or a number",
        ),
        ({"features": {"events": wrong(count)(last=2.0)}}, "events: a window of 2.0, and not a timedelta or a number"),
        ({"features": {"events": count(last=True)}}, "events: a window of True, and not"),
        (
            {"features": {"colour": wrong(last)("colour", within=3)}},
            "colour: a window of 3, and not a timedelta. Expected",
        ),
        (
            {"features": {"colour": wrong(last)("colour", 1.0)}},
            "colour: the last event number 1.0, and not a whole number",
        ),
        ({"features": {"price": wrong(total)(3)}}, "price: column 3, and not the name of a column"),
        ({"features": {"events": count}}, "features['events']: <function count"),
        ({"features": {"events": "count()"}}, "features['events']: 'count()'. Expected a name with count"),
        ({"features": {}}, "features: {}. Expected a dict of aggregates"),
        ({"features": [count()]}, "features: [Aggregate("),
        ({"tick": 5}, "tick: 5. Expected a timedelta"),
        ({"counts": "at once"}, "counts: 'at once'. Expected at_once or after"),
        ({"holds": "forever"}, "holds: 'forever'. Expected while_in_window or until_next_event"),
        ({"at": None}, "at: None. Expected the name of a column"),
        (
            {"events": "silver/toys/sales", "at": "time"},
            "windowed features of gold/toys/shelf_sales: events: 'silver/toy",
        ),
        ({"table": None, "tick": timedelta(0)}, "windowed features of silver/toys/sales: table: None"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused_when_it_is_loaded(
    declared: Windowed, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(DefinitionError, match=re.escape(said)):
        replace(declared, **change)
