"""What may be declared as a pushed source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from assets.flights.movements import movements
from assets.flights.tables import contract
from pipelines.errors import DefinitionError
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
def test_a_source_of_which_one_event_could_hold_up_others_does_not_load(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError, match=expected):
        push_source(replace(movements.bronze, **change), movements.silver)


def test_a_day_that_no_column_declares_does_not_load() -> None:
    with pytest.raises(DefinitionError, match="'departure_day'"):
        push_source(movements.bronze, movements.silver, day="departure_day")


def test_a_source_that_moves_features_has_rules_that_one_event_tells() -> None:
    with pytest.raises(DefinitionError, match="an error rule that one event alone cannot be judged by"):
        push_source(movements.bronze, contract("silver/flights"), online=movements.online)


def test_the_landed_source_says_what_it_is() -> None:
    spec = movements.spec
    assert (spec.key.path, spec.owners, spec.group_name) == (
        ["landing", "flights", "movements"],
        ["team:flight-data"],
        "landing",
    )
    assert "POST /v1/events/flights/movements" in (spec.description or "")
