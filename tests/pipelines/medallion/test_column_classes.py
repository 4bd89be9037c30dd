"""Data classes of columns: a table is not written with a column less protected than what it is computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from pipelines.contracts.load import load
from pipelines.contracts.model import Contract
from pipelines.errors import ContractError, DefinitionError
from pipelines.features.aggregates import Aggregate, count, last, mean, total
from pipelines.features.declaration import EVENT_TIMESTAMP
from pipelines.features.on_demand import OnDemand, with_columns
from pipelines.features.windowed import Windowed
from pipelines.features.windowed_table import windowed_rows
from pipelines.medallion.decorators import gold_asset, silver_asset
from pipelines.provenance.column_sources import raised_classes
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import number, text
from tests.pipelines.toy_pipeline import MakePipeline, ToyPipeline, as_arrived, failure_message

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Transform = Callable[["DataFrame"], "DataFrame"]
SECRET = {"classification": "confidential"}
PART = text("part", primaryKey=True, primaryKeyPosition=1, required=True)
SOLD_AT = {"name": "sold_at", "logicalType": "timestamp", "description": "When it was sold, UTC."}
HARMLESS = [{"property": "declassified", "value": "A number of rows shows no weight."}]
ROWS = "part,sold_at,holes,weight\nbrick,2026-03-01T10:00:00Z,4,2.5\nplate,2026-03-02T10:00:00Z,8,1.5\n"


def columns(**of_weight: Any) -> list[dict[str, Any]]:
    return [PART, SOLD_AT, number("holes"), number("weight", **of_weight)]


def gold(
    pipeline: ToyPipeline, transform: Transform, value: dict[str, Any], name: str = "derived"
) -> tuple[dg.AssetsDefinition, Contract]:
    """A gold table with the key and one column that `transform` computes, over the pipeline's silver table."""
    contract = toy_contracts.contract(pipeline.folder, f"gold/toys/{name}", [PART, value])
    pipeline.platform.contracts[contract.table] = contract
    return gold_asset(contract, inputs={"rows": f"silver/toys/{pipeline.name}"})(transform), contract


def renamed(rows: DataFrame) -> DataFrame:
    return rows.select("part", rows["weight"].alias("value"), "_record_id")


def computed(rows: DataFrame) -> DataFrame:
    return rows.selectExpr("part", "CASE WHEN weight > 2 THEN holes ELSE -1 END AS value", "_record_id")


def hashed(rows: DataFrame) -> DataFrame:
    return rows.selectExpr("part", "CAST(xxhash64(weight) AS DOUBLE) AS value", "_record_id")


def aggregated(rows: DataFrame) -> DataFrame:
    return rows.groupBy("part").agg({"weight": "max", "_record_id": "max"}).toDF("part", "value", "_record_id")


def joined(rows: DataFrame) -> DataFrame:
    heavy = rows.selectExpr("part AS other", "weight AS value")
    return rows.join(heavy, rows["part"] == heavy["other"]).select("part", "value", "_record_id")


def over_a_window(rows: DataFrame) -> DataFrame:
    return rows.selectExpr("part", "avg(weight) OVER (PARTITION BY part) AS value", "_record_id")


def on_demand(rows: DataFrame) -> DataFrame:
    declared = OnDemand(name="made", inputs={"holes": "double", "weight": "double"}, outputs={"value": "double"},
                        compute=lambda columns, pc: {"value": pc.add(columns["holes"], 1.0)})  # fmt: skip
    return with_columns(declared, rows).select("part", "value", "_record_id")


def from_whole_rows(rows: DataFrame) -> DataFrame:
    return rows.mapInArrow(lambda batches: batches, rows.schema).selectExpr("part", "holes AS value", "_record_id")


def of_other_columns(rows: DataFrame) -> DataFrame:
    return rows.where("weight > 0").selectExpr("part", "holes * 2 AS value", "_record_id")


WAYS = (renamed, computed, hashed, aggregated, joined, over_a_window, on_demand, from_whole_rows)


def test_a_gold_column_needs_the_class_of_what_it_is_computed_from_whatever_computes_it(
    make_pipeline: MakePipeline,
) -> None:
    pipeline = make_pipeline(columns=columns(**SECRET), silver={"quality": []})
    pipeline.land(ROWS)
    silver = silver_asset(pipeline.contract)(as_arrived)
    assert pipeline.run(pipeline.bronze, silver).success
    source = rf"silver/toys/{pipeline.name}"
    for way in WAYS:
        asset, contract = gold(pipeline, way, number("value"), way.__name__)
        message = failure_message(pipeline.run(asset))
        assert f"table {contract.table}: " in message, way
        assert f"value is internal, and computed from {source}.weight, confidential" in message, way
        assert f"value in {contract.path}, or leave" in message
        assert pipeline.platform.lakehouse.version(contract.table) is None
    declared, contract = gold(pipeline, renamed, number("value", **SECRET), "protected")
    more, _ = gold(pipeline, renamed, number("value", classification="restricted"), "more_protected")
    released, _ = gold(pipeline, aggregated, number("value", customProperties=HARMLESS), "released")
    others, _ = gold(pipeline, of_other_columns, number("value"), "others")
    assert all(pipeline.run(asset).success for asset in (declared, more, released, others))
    over_gold = toy_contracts.contract(pipeline.folder, "gold/toys/over_gold", [PART, number("again")])
    pipeline.platform.contracts[over_gold.table] = over_gold
    second = gold_asset(over_gold, inputs={"rows": str(contract.table)})(
        lambda rows: rows.selectExpr("part", "round(value) AS again", "_record_id")
    )
    assert "again is internal, and computed from gold/toys/protected.value" in failure_message(pipeline.run(second))


def test_a_class_that_is_raised_later_is_told_until_the_table_is_derived_with_it(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(columns=columns(), silver={"quality": []})
    pipeline.land(ROWS)
    asset, contract = gold(pipeline, renamed, number("value"), "written_before")
    opaque, other = gold(pipeline, hashed, number("value"), "of_unknown_sources")
    assert pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived), asset, opaque).success
    platform, table = pipeline.platform, pipeline.contract.table
    both = [str(contract.table), str(other.table)]

    def told() -> dict[str, str]:
        # A feature view has the facet too, and is no table.
        further = {
            "eventType": "COMPLETE",
            "outputs": [
                {
                    "name": "features/toys/parts",
                    "facets": {
                        "columnLineage": {
                            "fields": {"value": {"inputFields": [{"name": "landing/toys/parts", "field": "value"}]}}
                        }
                    },
                }
            ],
        }
        events = [*platform.lineage.events(), further]
        return {name: e.observed for name, e in raised_classes(platform, events) if name in both}

    assert told() == {}
    protected = [replace(c, classification="confidential") if c.name == "weight" else c
                 for c in platform.contracts[table].columns]  # fmt: skip
    platform.contracts[table] = replace(platform.contracts[table], columns=tuple(protected))
    assert told() == dict.fromkeys(both, f"value is internal, and computed from {table}.weight, confidential")
    own = platform.contracts[contract.table]
    raised = [replace(c, classification="confidential") if c.name == "value" else c for c in own.columns]
    platform.contracts[contract.table] = replace(own, columns=tuple(raised))
    assert [*told()] == [str(other.table)]


@pytest.mark.parametrize("delivery", ["increment", "snapshot"])
def test_a_silver_column_needs_the_class_of_its_bronze_column(make_pipeline: MakePipeline, delivery: str) -> None:
    pipeline = make_pipeline(columns=columns(), silver={"quality": []}, delivery=delivery)
    contracts = pipeline.platform.contracts
    bronze = contracts[pipeline.table("bronze")]
    protected = tuple(replace(c, classification="restricted") if c.name == "weight" else c for c in bronze.columns)
    contracts[bronze.table] = replace(bronze, columns=protected)
    pipeline.land(ROWS)
    message = failure_message(pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived)))
    assert f"weight is internal, and computed from bronze/toys/{pipeline.name}.weight, restricted" in message
    assert (pipeline.version("silver"), pipeline.version("quarantine")) == (None, None)


def test_a_class_that_is_raised_later_is_noticed_although_no_row_has_changed(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(columns=columns(), silver={"quality": []})
    pipeline.land(ROWS)
    asset, derived = gold(pipeline, renamed, number("value"))
    assert pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived), asset).success
    contract, published = pipeline.contract, pipeline.platform.lakehouse.version(derived.table)
    raised = tuple(replace(c, classification="confidential") if c.name == "weight" else c for c in contract.columns)
    pipeline.platform.contracts[contract.table] = replace(contract, columns=raised)
    assert "value is internal, and computed from silver" in failure_message(pipeline.run(asset))
    assert pipeline.platform.lakehouse.version(derived.table) == published


@pytest.mark.parametrize(
    ("protected", "feature", "words"),
    [
        ("weight", total("weight"), r"value is internal, and computed from silver/toys/sales.weight, confidential"),
        ("weight", mean("weight", last=3), "value is internal"),
        ("weight", last("weight", 2, within=timedelta(days=2)), "value is internal"),
        ("part", mean("weight"), r"part is internal, and computed from silver/toys/sales.part, confidential"),
        ("sold_at", mean("weight"), f"{EVENT_TIMESTAMP} is internal, and computed from silver/toys/sales.sold_at"),
        ("weight", count(), ""),
        ("holes", mean("weight"), ""),
    ],
)
def test_a_windowed_feature_needs_the_class_of_its_column_when_the_code_loads(
    tmp_path: Path, protected: str, feature: Aggregate, words: str
) -> None:
    events = [column | (SECRET if column["name"] == protected else {}) for column in columns()]
    instant = SOLD_AT | {"name": EVENT_TIMESTAMP, "primaryKey": True, "primaryKeyPosition": 2, "required": True}
    kind = {"logicalType": "integer"} if feature.kind == "count" else {}

    def declare(**of_value: Any) -> Windowed:
        return Windowed(
            table=toy_contracts.contract(
                tmp_path, "gold/toys/sold", [PART, instant, number("value", **kind, **of_value)]
            ),
            events=toy_contracts.contract(tmp_path, "silver/toys/sales", events),
            at="sold_at",
            features={"value": feature},
        )

    if not words:
        assert declare().table.data_class("value") == "internal"
        return
    with pytest.raises(DefinitionError, match=words):
        declare()
    if protected == "weight":
        declare(**SECRET)
        declare(customProperties=HARMLESS)


def test_windowed_rows_inherit_by_lineage_what_the_declaration_demands(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(columns=columns(), silver={"quality": []})
    pipeline.land(ROWS)
    instant = SOLD_AT | {"name": EVENT_TIMESTAMP, "primaryKey": True, "primaryKeyPosition": 2, "required": True}
    means = [number("mean_3"), number("mean_2d"), number("holes_mean"), number("latest")]
    table = toy_contracts.contract(pipeline.folder, "gold/toys/sold", [PART, instant, *means])
    declared = Windowed(
        table=table,
        events=pipeline.contract,
        at="sold_at",
        features={
            "mean_3": mean("weight", last=3), "mean_2d": mean("weight", last=timedelta(days=2)),
            "holes_mean": mean("holes", last=timedelta(days=2)), "latest": last("weight"),
        },
    )  # fmt: skip
    pipeline.platform.contracts[table.table] = table
    asset = gold_asset(table, inputs={"rows": str(pipeline.contract.table)})(lambda rows: windowed_rows(declared, rows))
    assert pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived), asset).success
    raised = tuple(
        replace(c, classification="confidential") if c.name == "weight" else c for c in pipeline.contract.columns
    )
    pipeline.platform.contracts[pipeline.contract.table] = replace(pipeline.contract, columns=raised)
    message = failure_message(pipeline.run(asset))
    assert [
        name for name in ("mean_3", "mean_2d", "latest") if f"{name} is internal, and computed from" not in message
    ] == []
    assert not any(f"{name} is internal" in message for name in ("part", EVENT_TIMESTAMP, "holes_mean"))


def test_a_release_without_a_reason_is_refused_by_place(tmp_path: Path) -> None:
    for value in ("", "  ", True):
        empty = number("value", customProperties=[{"property": "declassified", "value": value}])
        document = toy_contracts.document("gold/toys/empty", [PART, empty])
        with pytest.raises(ContractError, match=r"properties\[1\]\.customProperties\.declassified: .* the reason why"):
            load(toy_contracts.write(tmp_path, document))
