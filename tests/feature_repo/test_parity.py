"""Parity finds each value of the online store that the as-of join does not give; a skewed store blocks what follows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.flights.features import ARRIVAL_DELAY_V1
from feature_repo import parity, parity_check
from feature_repo.online_rows import write_rows
from feature_repo.state import DomainStore
from feature_repo.store import current
from pipelines.engine.session import Engine
from pipelines.settings import Settings
from tests.feature_repo.test_online_equals_offline import VIEWS, fill, frames, hour, random_tables

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")

VIEW = VIEWS["origin_weather"]
AT = hour(30)
Row = dict[str, Any]


@pytest.fixture
def place(engine: Engine, tmp_path: Path) -> DomainStore:
    settings = Settings(home=tmp_path, profile="test")
    fill(engine, settings, random_tables(seed=3), AT)
    return DomainStore(settings, "flights")


def compared(engine: Engine, place: DomainStore, tables: Any = None, **options: Any) -> parity.Parity:
    rows = frames(engine, tables or random_tables(seed=3))
    return parity.compare(place, [ARRIVAL_DELAY_V1], rows, **options)


def newest(origin: str) -> Row:
    rows = [row for row in random_tables(seed=3)[VIEW.name] if row["origin"] == origin and row["event_timestamp"] <= AT]
    return max(rows, key=lambda row: row["event_timestamp"])


def write(place: DomainStore, row: Row) -> None:
    write_rows(current(place).store, "flights", VIEW, [row])


def test_a_filled_store_has_no_difference_and_all_entities_are_compared(engine: Engine, place: DomainStore) -> None:
    found = compared(engine, place, entities=None)
    assert found.differences == []
    by_view = {view.view: view for view in found.views}
    assert by_view.keys() == VIEWS.keys()
    assert by_view[VIEW.name].entities == 3
    assert by_view[VIEW.name].values == 3 * (len(VIEW.fields) + 1)
    assert all(view.entities > 0 for view in found.views)


def test_a_sample_has_at_most_so_many_entities_and_is_the_same_each_time(engine: Engine, place: DomainStore) -> None:
    one, other = (compared(engine, place, entities=2) for _ in range(2))
    assert one == other
    assert {view.entities for view in one.views} <= {1, 2}


def number_field() -> str:
    return next(name for name in VIEW.fields if VIEW.contract.column(name).type == "double")


@pytest.mark.parametrize(
    ("change", "features"),
    [
        (lambda row: row | {number_field(): 1e-9 + (row[number_field()] or 0.0)}, lambda: [number_field()]),
        (lambda row: row | dict.fromkeys(VIEW.fields, None), None),
        (
            lambda row: row | {"event_timestamp": row["event_timestamp"] + timedelta(hours=1)},
            lambda: ["event_timestamp"],
        ),
    ],
    ids=["value", "nulls", "instant"],
)
def test_a_skewed_row_is_found(
    engine: Engine, place: DomainStore, change: Callable[[Row], Row], features: Callable[[], list[str]] | None
) -> None:
    row = newest("JFK")
    write(place, change(row))
    found = compared(engine, place)
    expected = features() if features else [name for name in VIEW.fields if row[name] is not None]
    assert [(d.view, d.entity, d.feature) for d in found.differences] == [
        (VIEW.name, {"origin": "JFK"}, feature) for feature in expected
    ]
    result = parity_check.check_result(found, "features/flights/online")
    assert not result.passed
    assert "origin JFK" in str(result.description)
    assert "goldpath materialize features/flights/online --recompute" in str(result.description)


def test_rows_that_events_have_moved_further_are_no_difference_where_events_move_the_view(
    engine: Engine, place: DomainStore
) -> None:
    row = newest("JFK")
    write(place, row | {"event_timestamp": row["event_timestamp"] + timedelta(hours=1), number_field(): 999.0})
    found = compared(engine, place, pushed=[VIEW.name])
    assert found.differences == []
    assert {view.view: view.ahead for view in found.views}[VIEW.name] == 1
    assert compared(engine, place, pushed=["carrier_delays"]).differences != []


def test_an_entity_that_the_store_lacks_is_found(engine: Engine, place: DomainStore) -> None:
    tables = random_tables(seed=3)
    late = newest("JFK") | {"origin": "BOS"}
    tables[VIEW.name].append(late)
    [difference] = compared(engine, place, tables).differences
    assert (difference.entity, difference.online) == ({"origin": "BOS"}, "no row")


def test_a_store_that_is_filled_anew_holds_what_the_tables_do(engine: Engine, place: DomainStore) -> None:
    write(place, newest("JFK") | {number_field(): 999.0})
    fill(engine, place.settings, random_tables(seed=3), AT)
    assert compared(engine, place).differences != []
    fill(engine, place.settings, random_tables(seed=3), AT, anew=True)
    assert compared(engine, place).differences == []
