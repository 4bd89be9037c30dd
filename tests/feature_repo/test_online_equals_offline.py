"""What the online store answers is what history holds at that instant, value by value."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feature_repo.flights import OBJECTS, VIEWS
from feature_repo.store import PAST_FILE, historical, materialize, open_store
from pipelines.engine.session import Engine
from pipelines.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")

SERVICE = "arrival_delay_v1"
BEGINNING = datetime(2013, 11, 1, tzinfo=UTC)
ENTITIES: dict[str, list[Any]] = {
    "origin": ["EWR", "JFK", "LGA"],
    "dest": ["IAH", "BOS", "ORD", "SJU"],
    "carrier": ["UA", "B6", "EV"],
    "flight": [1, 1545, 9999],
    "tailnum": ["N14228", "N0EGMQ", "N187JB", "N719MQ"],
}
#: In no table: an entity that was never seen.
UNSEEN: dict[str, Any] = {"origin": "PHL", "dest": "XNA", "carrier": "ZZ", "flight": 7, "tailnum": "N00000"}
ARROW = {"String": pa.string(), "Int32": pa.int32(), "Int64": pa.int64(), "Float64": pa.float64()}
Tables = dict[str, list[dict[str, Any]]]


def hour(number: float) -> datetime:
    return BEGINNING + timedelta(hours=number)


def made(seed: int) -> Tables:
    """Rows of every view over two days, at whole and half hours; values and null values, one row per key and instant."""
    chosen = random.Random(seed)

    def value(kind: str) -> Any:
        if chosen.random() < 0.15:
            return None
        return (
            chosen.choice(["a", "größe"])
            if kind == "String"
            else chosen.randrange(100)
            if "Int" in kind
            else chosen.gauss(0, 30)
        )

    tables: Tables = {}
    for name, view in VIEWS.items():
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for _ in range(120):
            keys = {key: chosen.choice(ENTITIES[key]) for key in view.join_keys}
            instant = hour(chosen.randrange(96) / 2)
            values = {field.name: value(str(field.dtype)) for field in view.features}
            rows[*keys.values(), instant] = keys | values | {"event_timestamp": instant}
        tables[name] = list(rows.values())
    return tables


def frames(engine: Engine, tables: Tables) -> dict[str, Any]:
    found = {}
    for name, view in VIEWS.items():
        types = {field.name: ARROW[str(field.dtype)] for field in (*view.entity_columns, *view.features)}
        schema = pa.schema([*types.items(), ("event_timestamp", pa.timestamp("us", "UTC"))])
        rows = pa.Table.from_pylist(tables[name], schema=schema)
        found[f"gold_flights_{name}"] = engine.session.createDataFrame(rows)
    return found


def questions() -> list[dict[str, Any]]:
    """Every entity in many combinations, and the one that nobody has seen."""
    chosen = random.Random(7)
    some = [{name: chosen.choice(values) for name, values in ENTITIES.items()} for _ in range(60)]
    return [*some, UNSEEN, {**some[0], "tailnum": UNSEEN["tailnum"]}]


def offline(engine: Engine, tables: Tables, at: datetime) -> list[dict[str, Any]]:
    rows = [{"row": number, **question, "event_timestamp": at} for number, question in enumerate(questions())]
    schema = pa.schema(
        [
            ("row", pa.int64()),
            *((name, pa.int32() if name == "flight" else pa.string()) for name in ENTITIES),
            ("event_timestamp", pa.timestamp("us", "UTC")),
        ]
    )
    spine = engine.session.createDataFrame(pa.Table.from_pylist(rows, schema=schema))
    answered = historical(OBJECTS, SERVICE, spine, frames(engine, tables)).toArrow().to_pylist()
    return sorted(answered, key=lambda row: row["row"])


def online(settings: Settings) -> list[dict[str, Any]]:
    store = open_store(settings)
    service = store.get_feature_service(SERVICE)
    found = store.get_online_features(features=service, entity_rows=questions(), full_feature_names=True).to_dict()
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


NAMES = [f"{name}__{field.name}" for name, view in VIEWS.items() for field in view.features]


def only(rows: list[dict[str, Any]], names: list[str] = NAMES) -> list[dict[str, Any]]:
    return [{name: row[name] for name in names} for row in rows]


def fill(engine: Engine, settings: Settings, tables: Tables, at: datetime) -> Any:
    return materialize(settings, OBJECTS, frames(engine, tables), as_of=at, beginning=BEGINNING)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, profile="test")


def assert_equal(engine: Engine, settings: Settings, tables: Tables, at: datetime) -> None:
    expected, found = only(offline(engine, tables, at)), only(online(settings))
    assert found == expected
    values = [value for row in found for value in row.values()]
    assert 0 < values.count(None) < len(values)


def test_the_store_moves_on_and_back_and_equals_history_at_each_instant(engine: Engine, settings: Settings) -> None:
    tables = made(seed=1)
    for at, rebuilt in ((hour(20.25), False), (hour(30), False), (hour(12.5), True), (hour(47.9), False)):
        done = fill(engine, settings, tables, at)
        assert (done.as_of, done.rebuilt) == (at, rebuilt)
        assert_equal(engine, settings, tables, at)


def test_the_row_of_the_very_instant_is_known_and_the_next_is_not(engine: Engine, settings: Settings) -> None:
    tables = made(seed=2)
    seen = max(row["event_timestamp"] for row in tables["origin_weather"] if row["event_timestamp"] <= hour(24))
    for at in (seen, seen - timedelta(microseconds=1)):
        fill(engine, settings, tables, at)
        assert_equal(engine, settings, tables, at)


def test_filling_again_changes_nothing(engine: Engine, settings: Settings) -> None:
    tables = made(seed=3)
    fill(engine, settings, tables, hour(24))
    before = online(settings)
    again = fill(engine, settings, tables, hour(24))
    assert (online(settings), again.rebuilt) == (before, False)


def test_an_entity_that_was_never_seen_has_no_values(engine: Engine, settings: Settings) -> None:
    fill(engine, settings, made(seed=4), hour(47))
    unseen = online(settings)[len(questions()) - 2]
    assert set(only([unseen])[0].values()) == {None}


def late(tables: Tables) -> Tables:
    """The same rows and one more, of an entity's newest instant so far, an hour before the store's."""
    row = {"origin": "EWR", **dict.fromkeys(VIEW_FIELDS), "event_timestamp": hour(29.75), "temp": 777.0}
    kept = [row for row in tables["origin_weather"] if row["event_timestamp"] != hour(29.75)]
    return {**tables, "origin_weather": [*kept, row]}


def corrected(tables: Tables) -> Tables:
    """The same rows, but the newest of one aircraft had been wrong."""
    wrong = newest(tables)
    rows = [{**row, "last_dep_delay": 777.0} if row is wrong else row for row in tables["aircraft_history"]]
    return {**tables, "aircraft_history": rows}


def withdrawn(tables: Tables) -> Tables:
    """The same rows without any of one aircraft."""
    rows = [row for row in tables["aircraft_history"] if row["tailnum"] != "N14228"]
    return {**tables, "aircraft_history": rows}


def newest(tables: Tables) -> dict[str, Any]:
    rows = [
        row for row in tables["aircraft_history"] if row["tailnum"] == "N14228" and row["event_timestamp"] <= hour(30)
    ]
    return max(rows, key=lambda row: row["event_timestamp"])


def moved(tables: Tables) -> Tables:
    """The same rows, but a value of one aircraft's newest stands in the column beside it."""
    wrong = newest(tables)
    value = wrong["last_dep_delay"] if wrong["last_arr_delay"] is None else None
    assert value is not None
    right = {**wrong, "last_dep_delay": None, "last_arr_delay": value}
    rows = [right if row is wrong else row for row in tables["aircraft_history"]]
    return {**tables, "aircraft_history": rows}


VIEW_FIELDS = [field.name for field in VIEWS["origin_weather"].features]


@pytest.mark.parametrize("change", [late, corrected, withdrawn, moved])
def test_what_changed_behind_the_store_reaches_it(
    engine: Engine, settings: Settings, change: Callable[[Tables], Tables]
) -> None:
    before = {name: [row for row in rows if row["event_timestamp"] <= hour(30)] for name, rows in made(seed=5).items()}
    newest(before).update(last_dep_delay=5.0, last_arr_delay=None)
    fill(engine, settings, before, hour(30))
    for at in (hour(30), hour(31)):
        fill(engine, settings, change(before), at)
        assert_equal(engine, settings, change(before), at)


def test_rows_that_only_came_after_are_all_that_is_written(engine: Engine, settings: Settings) -> None:
    tables = made(seed=8)
    before = {name: [row for row in rows if row["event_timestamp"] <= hour(30)] for name, rows in tables.items()}
    fill(engine, settings, before, hour(30))
    done = fill(engine, settings, tables, hour(31))
    assert (done.since, done.rebuilt) == (hour(30), False)
    written = {
        name: sum(hour(30) <= row["event_timestamp"] <= hour(31) for row in rows) for name, rows in tables.items()
    }
    assert all(done.rows[f"gold_flights_{name}"] <= written[name] for name in VIEWS)
    assert_equal(engine, settings, tables, hour(31))


def test_a_run_that_was_killed_before_it_said_how_far_it_came_is_run_again(engine: Engine, settings: Settings) -> None:
    tables = made(seed=9)
    fill(engine, settings, tables, hour(30))
    (settings.root / "features" / PAST_FILE).unlink()
    assert fill(engine, settings, tables, hour(31)).rebuilt
    assert_equal(engine, settings, tables, hour(31))


def test_a_store_of_several_sources_says_how_many_rows_each_gave(engine: Engine, settings: Settings) -> None:
    done = fill(engine, settings, made(seed=6), hour(47))
    assert set(done.rows) == {f"gold_flights_{name}" for name in VIEWS}
    assert done.rows["gold_flights_origin_weather"] == len(ENTITIES["origin"])
