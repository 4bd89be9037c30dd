"""Columns computed row by row are the same in the engine and in this process, for one row and for many."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from assets.flights.domain import contract
from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError
from pipelines.features.declaration import FeatureService, feature_view
from pipelines.features.on_demand import OnDemand, with_columns, with_features, with_values
from pipelines.tables import RECORD_ID

Row = dict[str, Any]
INPUTS = {"asked_at": "timestamp", "amount": "double", "limit": "int", "kind": "string"}


def judged(columns: Mapping[str, Any], pc: Any) -> Row:
    """A share, a clipped one, its sine, a local hour and a text."""
    share = pc.divide(columns["amount"], columns["limit"].cast("float64"))
    local = columns["asked_at"].cast(pa.timestamp("us", "America/New_York"))
    return {
        "share": share,
        "clipped": pc.min_element_wise(pc.max_element_wise(share, 0.0, skip_nulls=False), 1.0, skip_nulls=False),
        "wave": pc.sin(share),
        "hour": pc.hour(local),
        "is_large": pc.greater(columns["amount"], 100.0),
        "said": pc.binary_join_element_wise(columns["kind"], "!", "-"),
    }


OUTPUTS = {
    "share": "double", "clipped": "double", "wave": "double", "hour": "bigint", "is_large": "boolean", "said": "string",
}  # fmt: skip
JUDGED = OnDemand(name="judged", inputs=INPUTS, outputs=OUTPUTS, compute=judged)
#: Takes what the one before it gives.
TWICE = OnDemand(
    name="twice",
    inputs={"judged__share": "double"},
    outputs={"share": "float"},
    compute=lambda columns, pc: {"share": pc.multiply(columns["judged__share"], 2.0).cast("float32", safe=False)},
)


def random_rows() -> list[Row]:
    """Rows with nulls, NaN and zeros to divide by, around the night in which New York's clocks are put forward."""
    chance, begin = random.Random(1), datetime(2013, 3, 10, 5, tzinfo=UTC)
    return [
        {
            "asked_at": chance.choice([None, begin + timedelta(minutes=chance.randrange(300))]),
            "amount": chance.choice([None, math.nan, math.inf, 0.0, -3.25, 1e300, chance.uniform(0, 200)]),
            "limit": chance.choice([None, 0, 1, 7, -100]),
            "kind": chance.choice([None, "", "größe"]),
        }
        for _ in range(60)
    ]


def test_the_engine_computes_what_is_computed_for_one_row(each_engine: Engine) -> None:
    rows = random_rows()
    types = {"asked_at": pa.timestamp("us", "UTC"), "amount": pa.float64(), "limit": pa.int32(), "kind": pa.string()}
    table = pa.Table.from_pylist(
        [row | {"n": n} for n, row in enumerate(rows)], schema=pa.schema(types | {"n": pa.int64()})
    )
    frame = with_features([JUDGED, TWICE], each_engine.session.createDataFrame(table)).orderBy("n")
    computed = [{name: row[name] for name in row if "__" in name} for row in frame.toArrow().to_pylist()]
    for row, of_engine in zip(rows, computed, strict=True):
        [alone] = with_values([JUDGED, TWICE], [row])
        assert {name: alone[name] for name in alone if "__" in name} == of_engine
        if row["amount"] is not None and row["limit"] and math.isfinite(row["amount"]):
            share = row["amount"] / row["limit"]
            assert (of_engine["judged__share"], of_engine["judged__wave"]) == (share, math.sin(share))
            assert of_engine["judged__clipped"] == min(max(share, 0.0), 1.0)
        if row["amount"] is None or math.isnan(row["amount"]) or row["amount"] == row["limit"] == 0:
            numbers = ("judged__share", "judged__clipped", "judged__wave", "twice__share")
            assert [of_engine[name] for name in numbers] == [None] * 4
    computed_at_once = [{name: row[name] for name in row if "__" in name} for row in with_values([JUDGED, TWICE], rows)]
    assert computed_at_once == computed


def test_a_column_of_the_table_has_the_output_s_own_name(engine: Engine) -> None:
    frame = engine.session.createDataFrame(pa.table({"x": [1.5], RECORD_ID: ["r"]}))
    half = OnDemand(name="h", inputs={"x": "double"}, outputs={"half": "double"},
                    compute=lambda columns, pc: {"half": pc.divide(columns["x"], 2.0)})  # fmt: skip
    assert with_columns(half, frame).toArrow().to_pylist() == [{"x": 1.5, RECORD_ID: "r", "half": 0.75}]


def test_a_value_or_a_column_that_was_not_declared_is_an_error() -> None:
    other = OnDemand(
        name="o", inputs={"x": "bigint"}, outputs={"y": "int"}, compute=lambda columns, pc: {"z": columns["x"]}
    )
    with pytest.raises(KeyError, match=r"on-demand columns o: \['z'\] were returned, \['y'\] are declared"):
        other.of_rows([{"x": 1}])
    same = OnDemand(
        name="o", inputs={"x": "bigint"}, outputs={"y": "int"}, compute=lambda columns, pc: {"y": columns["x"]}
    )
    assert same.of_rows([{"x": 5}, {"x": None}]) == [{"y": 5}, {"y": None}]
    with pytest.raises(pa.ArrowInvalid, match="2147483648"):
        same.of_rows([{"x": 2**31}])


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ({"x": "decimal(5,2)"}, {"y": "double"}, r"x has type decimal\(5,2\)"),
        ({"x": "double"}, {"y": "timestamp"}, "y has type timestamp"),
        ({}, {"y": "double"}, "inputs or outputs are missing"),
    ],
)
def test_types_that_features_do_not_have_are_refused(inputs: Any, outputs: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        OnDemand(name="o", inputs=inputs, outputs=outputs, compute=judged)


@pytest.mark.parametrize(
    ("name", "inputs", "said"),
    [
        (
            "slack",
            {"aircraft_history__ready_at": "double"},
            "takes aircraft_history__ready_at as double, which is no feature",
        ),
        ("slack", {"aircraft_history__ready_at_minute": "int"}, "as int, which is double"),
        (
            "aircraft_history",
            {"departure_minute": "double"},
            "aircraft_history names a view or on-demand columns already",
        ),
    ],
)
def test_a_service_refuses_inputs_that_its_views_do_not_have(name: str, inputs: Any, said: str) -> None:
    declared = OnDemand(name=name, inputs=inputs, outputs={"minutes": "double"}, compute=judged)
    with pytest.raises(DefinitionError, match=said):
        FeatureService(
            "v1", "flights", (feature_view(contract("gold/aircraft_history")),), "", "o", on_demand=(declared,)
        )


def test_a_service_tells_its_on_demand_features_and_what_the_question_has_to_give() -> None:
    inputs = {"departure_minute": "double", "aircraft_history__ready_at_minute": "double"}
    slack = OnDemand(name="slack", inputs=inputs, outputs={"minutes": "double"}, compute=judged)
    after = OnDemand(name="after", inputs={"slack__minutes": "double"}, outputs={"x": "int"}, compute=judged)
    view = feature_view(contract("gold/aircraft_history"))
    service = FeatureService("v1", "flights", (view,), "", "o", on_demand=(slack, after))
    assert service.computed == {"slack__minutes": "double", "after__x": "int"}
    assert service.asked == ("departure_minute",)
