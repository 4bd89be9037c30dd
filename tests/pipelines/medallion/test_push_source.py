"""Which contracts a pushed source may have, and what its external asset shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from assets.flights.domain import contract
from assets.flights.movements import movements
from pipelines.errors import DefinitionError
from pipelines.features.aggregates import mean
from pipelines.features.declaration import feature_view
from pipelines.features.windowed import Windowed
from pipelines.medallion.push_source import push_source


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": "csv"}, "format jsonl"),
        ({"drift": {"tables": "freeze", "columns": "freeze", "data_type": "freeze"}}, "other than freeze"),
        ({"columns": movements.bronze.columns[1:]}, "event_id and received_at"),
    ],
    ids=["format", "drift", "columns"],
)
def test_a_bronze_contract_by_which_one_event_could_stop_others_is_refused(
    change: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DefinitionError, match=expected):
        push_source(replace(movements.bronze, **change), movements.silver)


def test_a_day_column_that_the_contract_lacks_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'departure_day'"):
        push_source(movements.bronze, movements.silver, day="departure_day")


def test_a_source_that_updates_features_is_refused_if_a_rule_needs_more_than_one_event() -> None:
    with pytest.raises(DefinitionError, match="an error rule that one event alone cannot be judged by"):
        push_source(movements.bronze, contract("silver/flights"), online=movements.online)


def test_windows_that_do_not_follow_from_the_pushed_events_alone_are_refused() -> None:
    table = contract("gold/aircraft_history")
    features = {name: mean("delay") for name in feature_view(table).fields}
    declared = Windowed(table=table, events=movements.silver, at="moved_at", features=features)
    assert push_source(movements.bronze, movements.silver, online=declared).online is declared
    one = {"last_dep_delay": mean("delay")}
    with pytest.raises(DefinitionError, match="lacks windows for last_arr_delay, ready_at_minute"):
        push_source(movements.bronze, movements.silver, online=replace(declared, features=one))
    other = Windowed(
        table=table, events=contract("silver/flights"), at="departed_at", features={"last_dep_delay": mean("dep_delay")}
    )
    with pytest.raises(DefinitionError, match="lacks the events of silver/flights/movements"):
        push_source(movements.bronze, movements.silver, online=other)


def test_the_asset_of_the_source_shows_owner_group_and_address() -> None:
    spec = movements.spec
    assert (spec.key.path, spec.owners, spec.group_name) == (
        ["landing", "flights", "movements"],
        ["team:flight-data"],
        "flights_landing",
    )
    assert "POST /v1/events/flights/movements" in (spec.description or "")
