"""The online store moved to an instant answers with the historical features of that instant, value by value."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.flights.features import ARRIVAL_DELAY_V1
from feature_repo.filling import materialize
from feature_repo.history import historical
from feature_repo.state import DomainStore
from feature_repo.store import current
from pipelines.engine.session import Engine
from pipelines.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")

VIEWS = {view.name: view for view in ARRIVAL_DELAY_V1.views}
BEGINNING = datetime(2013, 11, 1, tzinfo=UTC)
ENTITIES: dict[str, list[Any]] = {
    "origin": ["EWR", "JFK", "LGA"],
    "dest": ["IAH", "BOS", "ORD", "SJU"],
    "carrier": ["UA", "B6", "EV"],
    "flight": [1, 1545, 9999],
    "tailnum": ["N14228", "N0EGMQ", "N187JB", "N719MQ"],
}
#: Entities that are in no table.
UNSEEN: dict[str, Any] = {"origin": "PHL", "dest": "XNA", "carrier": "ZZ", "flight": 7, "tailnum": "N00000"}
ARROW = {"string": pa.string(), "int": pa.int32(), "bigint": pa.int64(), "double": pa.float64()}
Tables = dict[str, list[dict[str, Any]]]


def hour(number: float) -> datetime:
    return BEGINNING + timedelta(hours=number)


def random_tables(seed: int) -> Tables:
    """Rows of every view over two days at whole and half hours, some values null; one row per key and instant."""
    chosen = random.Random(seed)

    def value(kind: str) -> Any:
        if chosen.random() < 0.15:
            return None
        if kind == "string":
            return chosen.choice(["a", "größe"])
        return chosen.randrange(100) if "int" in kind else chosen.gauss(0, 30)

    tables: Tables = {}
    for name, view in VIEWS.items():
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for _ in range(120):
            keys = {key: chosen.choice(ENTITIES[key]) for key in view.keys}
            instant = hour(chosen.randrange(96) / 2)
            values = {name: value(view.contract.column(name).type) for name in view.fields}
            rows[*keys.values(), instant] = keys | values | {"event_timestamp": instant}
        tables[name] = list(rows.values())
    return tables


def frames(engine: Engine, tables: Tables) -> dict[str, Any]:
    frames = {}
    for name, view in VIEWS.items():
        types = {name: ARROW[view.contract.column(name).type] for name in (*view.keys, *view.fields)}
        schema = pa.schema([*types.items(), ("event_timestamp", pa.timestamp("us", "UTC"))])
        rows = pa.Table.from_pylist(tables[name], schema=schema)
        frames[f"gold_flights_{name}"] = engine.session.createDataFrame(rows)
    return frames


def questions() -> list[dict[str, Any]]:
    """Entity rows: many combinations of known entities, one of unseen ones, and one with an unseen aircraft."""
    chosen = random.Random(7)
    known = [{name: chosen.choice(values) for name, values in ENTITIES.items()} for _ in range(60)]
    return [*known, UNSEEN, {**known[0], "tailnum": UNSEEN["tailnum"]}]


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
    answers = historical(ARRIVAL_DELAY_V1, spine, frames(engine, tables)).toArrow().to_pylist()
    return sorted(answers, key=lambda row: row["row"])


def online(settings: Settings) -> list[dict[str, Any]]:
    store = current(DomainStore(settings, "flights")).store
    service = store.get_feature_service(ARRIVAL_DELAY_V1.full_name)
    answers = store.get_online_features(features=service, entity_rows=questions(), full_feature_names=True).to_dict()
    return [dict(zip(answers, values, strict=True)) for values in zip(*answers.values(), strict=True)]


NAMES = list(ARRIVAL_DELAY_V1.full_names)


def only(rows: list[dict[str, Any]], names: list[str] = NAMES) -> list[dict[str, Any]]:
    return [{name: row[name] for name in names} for row in rows]


def fill(engine: Engine, settings: Settings, tables: Tables, at: datetime, *, anew: bool = False) -> Any:
    return materialize(
        DomainStore(settings, "flights"), [ARRIVAL_DELAY_V1], frames(engine, tables), as_of=at, anew=anew
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, profile="test")


def assert_equal(engine: Engine, settings: Settings, tables: Tables, at: datetime) -> None:
    historical_values, online_values = only(offline(engine, tables, at)), only(online(settings))
    assert online_values == historical_values
    values = [value for row in online_values for value in row.values()]
    assert 0 < values.count(None) < len(values)


def test_a_store_moved_forward_and_back_equals_history_at_each_instant(engine: Engine, settings: Settings) -> None:
    tables = random_tables(seed=1)
    for at, rebuilt in ((hour(20.25), False), (hour(30), False), (hour(12.5), True), (hour(47.9), False)):
        state = fill(engine, settings, tables, at)
        assert (state.as_of, state.rebuilt) == (at, rebuilt)
        assert_equal(engine, settings, tables, at)


def test_a_row_is_known_at_its_instant_and_not_a_microsecond_before(engine: Engine, settings: Settings) -> None:
    tables = random_tables(seed=2)
    instant = max(row["event_timestamp"] for row in tables["origin_weather"] if row["event_timestamp"] <= hour(24))
    for at in (instant, instant - timedelta(microseconds=1)):
        fill(engine, settings, tables, at)
        assert_equal(engine, settings, tables, at)


def test_moving_to_the_same_instant_again_changes_nothing(engine: Engine, settings: Settings) -> None:
    tables = random_tables(seed=3)
    fill(engine, settings, tables, hour(24))
    before = online(settings)
    again = fill(engine, settings, tables, hour(24))
    assert (online(settings), again.rebuilt) == (before, False)


def test_an_unseen_entity_has_no_values(engine: Engine, settings: Settings) -> None:
    fill(engine, settings, random_tables(seed=4), hour(47))
    unseen = online(settings)[len(questions()) - 2]
    assert set(only([unseen])[0].values()) == {None}


def late(tables: Tables) -> Tables:
    """The same rows and one more, from before the store's instant."""
    row = {"origin": "EWR", **dict.fromkeys(VIEW_FIELDS), "event_timestamp": hour(29.75), "temp": 777.0}
    kept = [row for row in tables["origin_weather"] if row["event_timestamp"] != hour(29.75)]
    return {**tables, "origin_weather": [*kept, row]}


def corrected(tables: Tables) -> Tables:
    """The same rows with another value in the newest row of one aircraft."""
    corrected_row = newest(tables)
    rows = [{**row, "last_dep_delay": 777.0} if row is corrected_row else row for row in tables["aircraft_history"]]
    return {**tables, "aircraft_history": rows}


def withdrawn(tables: Tables) -> Tables:
    """The same rows without those of one aircraft."""
    rows = [row for row in tables["aircraft_history"] if row["tailnum"] != "N14228"]
    return {**tables, "aircraft_history": rows}


def newest(tables: Tables) -> dict[str, Any]:
    rows = [
        row for row in tables["aircraft_history"] if row["tailnum"] == "N14228" and row["event_timestamp"] <= hour(30)
    ]
    return max(rows, key=lambda row: row["event_timestamp"])


def moved(tables: Tables) -> Tables:
    """The same rows with a value of one aircraft's newest row in another column."""
    row_before = newest(tables)
    value = row_before["last_dep_delay"] if row_before["last_arr_delay"] is None else None
    assert value is not None
    row_after = {**row_before, "last_dep_delay": None, "last_arr_delay": value}
    rows = [row_after if row is row_before else row for row in tables["aircraft_history"]]
    return {**tables, "aircraft_history": rows}


VIEW_FIELDS = VIEWS["origin_weather"].fields


@pytest.mark.parametrize("change", [late, corrected, withdrawn, moved])
def test_a_change_before_the_last_move_reaches_the_store(
    engine: Engine, settings: Settings, change: Callable[[Tables], Tables]
) -> None:
    before = {
        name: [row for row in rows if row["event_timestamp"] <= hour(30)]
        for name, rows in random_tables(seed=5).items()
    }
    newest(before).update(last_dep_delay=5.0, last_arr_delay=None)
    fill(engine, settings, before, hour(30))
    for at in (hour(30), hour(31)):
        fill(engine, settings, change(before), at)
        assert_equal(engine, settings, change(before), at)


def test_only_rows_after_the_last_move_are_written(engine: Engine, settings: Settings) -> None:
    tables = random_tables(seed=8)
    before = {name: [row for row in rows if row["event_timestamp"] <= hour(30)] for name, rows in tables.items()}
    fill(engine, settings, before, hour(30))
    state = fill(engine, settings, tables, hour(31))
    assert (state.since, state.rebuilt) == (hour(30), False)
    rows_after = {
        name: sum(hour(30) <= row["event_timestamp"] <= hour(31) for row in rows) for name, rows in tables.items()
    }
    assert all(state.rows[f"gold_flights_{name}"] <= rows_after[name] for name in VIEWS)
    assert_equal(engine, settings, tables, hour(31))


def test_a_run_to_before_the_instant_of_a_killed_one_rebuilds_the_store(engine: Engine, settings: Settings) -> None:
    tables = random_tables(seed=9)
    fill(engine, settings, tables, hour(30))
    place = DomainStore(settings, "flights")
    state = place.state()
    assert state
    place.moving(state, hour(32))  # as a run that was killed while it wrote rows
    assert fill(engine, settings, tables, hour(31)).rebuilt
    assert_equal(engine, settings, tables, hour(31))


def test_a_move_counts_the_rows_of_each_source(engine: Engine, settings: Settings) -> None:
    state = fill(engine, settings, random_tables(seed=6), hour(47))
    assert set(state.rows) == {f"gold_flights_{name}" for name in VIEWS}
    assert state.rows["gold_flights_origin_weather"] == len(ENTITIES["origin"])
