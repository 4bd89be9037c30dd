"""What hangs on a column, and the entity that arguments name."""

from __future__ import annotations

from typing import Any

import pytest

from assets.weather.features import TEMPERATURE_V1
from pipelines.commands import feature_facts
from pipelines.definitions import domains
from pipelines.errors import NotFoundError, UsageError
from pipelines.features.declaration import FeatureService
from pipelines.features.on_demand import OnDemand

TYPES = {"origin": "string", "flight": "int"}


def event(table: str, fields: dict[str, list[tuple[str, str]]], state: str = "COMPLETE") -> dict[str, Any]:
    lineage = {
        field: {"inputFields": [{"namespace": "goldpath", "name": name, "field": column} for name, column in sources]}
        for field, sources in fields.items()
    }
    return {"eventType": state, "outputs": [{"name": table, "facets": {"columnLineage": {"fields": lineage}}}]}


def test_the_columns_downstream_are_found_over_several_tables_by_the_newest_run_of_each() -> None:
    events = [
        event("silver/d/t", {"a": [("bronze/d/t", "a")], "b": [("bronze/d/t", "a")]}),
        event("gold/d/g", {"x": [("silver/d/t", "a"), ("silver/d/t", "b")], "y": [("silver/d/t", "b")]}),
        event("gold/d/g", {"x": [("silver/d/t", "a")], "y": [("silver/d/t", "b")]}),
        event("gold/d/g", {"y": [("silver/d/t", "a")]}, state="FAIL"),
        {"eventType": "COMPLETE", "outputs": [{"name": "training/d/m", "facets": {}}]},
    ]
    assert feature_facts.downstream(events, [("silver/d/t", "b")], {}) == {("silver/d/t", "b"), ("gold/d/g", "y")}
    assert feature_facts.downstream(events, [("bronze/d/t", "a")], {}) == {
        ("bronze/d/t", "a"),
        ("silver/d/t", "a"),
        ("silver/d/t", "b"),
        ("gold/d/g", "x"),
        ("gold/d/g", "y"),
    }


def test_columns_that_depend_on_each_other_end_the_search() -> None:
    events = [event("gold/d/g", {"x": [("gold/d/h", "y")]}), event("gold/d/h", {"y": [("gold/d/g", "x")]})]
    assert feature_facts.downstream(events, [("gold/d/g", "x")], {}) == {("gold/d/g", "x"), ("gold/d/h", "y")}


def test_all_features_of_a_view_hang_on_what_its_keys_and_its_instant_come_from() -> None:
    events = [event("gold/weather/station_conditions", {"event_timestamp": [("silver/weather/hours", "hour")]})]
    start = [("silver/weather/hours", "hour")]
    reached = feature_facts.downstream(events, start, feature_facts.hang_on_keys(domains()))
    assert "weather.station_conditions:temp" in feature_facts.impact(domains(), reached)["features"]


def test_on_demand_features_hang_on_their_inputs_and_on_each_other() -> None:
    columns = [
        OnDemand(name=name, inputs={of: "double"}, outputs={"x": "double"}, compute=lambda given, _: given)
        for name, of in (("one", "station_conditions__temp"), ("two", "one__x"), ("three", "asked"))
    ]
    service = FeatureService("v1", "weather", TEMPERATURE_V1.views, "", "o", on_demand=tuple(columns))
    assert feature_facts.computed_from(service, {"station_conditions__temp"}) == ["one__x", "two__x"]


def test_the_models_and_owners_of_every_domain_that_reads_a_feature_are_named() -> None:
    found = feature_facts.impact(domains(), [("gold/weather/station_conditions", "temp")])
    assert found["features"] == ["weather.station_conditions:temp"]
    assert found["models"] == ["weather.temperature"]
    assert found["services"] == ["serving/weather/temperature"]
    assert feature_facts.impact(domains(), [("silver/weather/observations", "temp")])["models"] == []


def test_every_view_names_its_services_and_models() -> None:
    view = feature_facts.view_named(domains(), "flights.origin_weather").facts()
    assert view["table"] == "gold/flights/origin_weather"
    assert (view["services"], view["models"]) == (["flights.arrival_delay_v1"], ["flights.arrival_delay"])


@pytest.mark.parametrize("find", [feature_facts.view_named, feature_facts.service_named])
def test_an_unknown_name_is_refused_with_those_that_are_known(find: Any) -> None:
    with pytest.raises(NotFoundError, match="goldpath features"):
        find(domains(), "flights.nothing")


def test_the_keys_of_an_entity_have_their_types() -> None:
    asked = feature_facts.entity(["flight=-17", "origin=a=b"], ["origin", "flight"], TYPES)
    assert asked == {"origin": "a=b", "flight": -17}


@pytest.mark.parametrize(
    ("pairs", "observed"),
    [
        ([], "without origin, flight"),
        (["origin=EWR"], "without flight"),
        (["origin"], "no key and value"),
        (["dest=BOS"], "no key and value"),
        (["origin=EWR", "origin=EWR"], "given twice"),
        (["flight=x", "origin=EWR"], "its type is int"),
        (["flight=1.5", "origin=EWR"], "its type is int"),
    ],
)
def test_an_entity_without_its_keys_is_refused(pairs: list[str], observed: str) -> None:
    with pytest.raises(UsageError) as refused:
        feature_facts.entity(pairs, ["origin", "flight"], TYPES)
    assert refused.value.observed == observed
    assert "origin=VALUE flight=VALUE" in refused.value.next_step
