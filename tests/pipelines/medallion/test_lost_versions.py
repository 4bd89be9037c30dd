"""Tables that lost versions are derived again as a whole, or the run says which days it needs for that."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import CommitProperties, Transaction, write_deltalake

from pipelines.landing.delivery import Delivery
from pipelines.medallion.decorators import silver_asset
from pipelines.tables import TableId
from tests.pipelines.toy_pipeline import (
    DAY,
    DAYS,
    NEXT,
    MakePipeline,
    ToyPipeline,
    as_arrived,
    contract_check,
    failure_message,
)

BRICK, PLATE = "part,holes,weight\nbrick,4,2.5\nbad,0,1\n", "part,holes,weight\nplate,1,1\nworse,0,1\n"


def lose_newest_version(pipeline: ToyPipeline, table: TableId) -> None:
    """Removes the newest entry of a table's log."""
    log = Path(pipeline.platform.lakehouse.path(table)) / "_delta_log"
    max(log.glob("*.json")).unlink()


def test_after_lost_versions_a_table_by_days_wants_a_run_over_all_its_days(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(partitions=DAYS)
    silver = silver_asset(pipeline.contract, partitions=DAYS)(as_arrived)
    for day, content in ((DAY, BRICK), (NEXT, PLATE)):
        pipeline.land(content, day=day)
        assert pipeline.run(pipeline.bronze, silver, start=day).success
    lose_newest_version(pipeline, pipeline.table("silver"))
    message = failure_message(pipeline.run(silver, start=NEXT))
    assert "it lost versions" in message
    assert f"goldpath materialize {pipeline.table('silver')} --from {DAY} --to {NEXT}" in message
    assert pipeline.run(silver, start=DAY, end=NEXT).success
    assert sorted(pipeline.parts("silver")) == ["brick", "plate"]
    assert contract_check(pipeline.run(silver, start=NEXT)).passed


@pytest.mark.parametrize("delivery", ["increment", "snapshot"])
@pytest.mark.parametrize("zone", ["silver", "quarantine", "whole table"])
def test_after_lost_versions_a_table_without_days_is_derived_again(
    make_pipeline: MakePipeline, delivery: str, zone: str
) -> None:
    pipeline = make_pipeline(delivery=delivery)
    silver = silver_asset(pipeline.contract)(as_arrived)
    for day, content in ((DAY, BRICK), (NEXT, PLATE)):
        pipeline.land(content, day=day)
        assert pipeline.run(pipeline.bronze, silver).success
    before = pipeline.rows("silver"), [row["_row"] for row in pipeline.rows("quarantine")]
    if zone == "whole table":
        shutil.rmtree(pipeline.platform.lakehouse.path(pipeline.table("silver")))
    else:
        lose_newest_version(pipeline, pipeline.table(zone))
    assert pipeline.run(silver).success
    assert (pipeline.rows("silver"), [row["_row"] for row in pipeline.rows("quarantine")]) == before


@pytest.mark.parametrize("mode", ["days", "snapshot", "increment"])
def test_rows_of_bronze_without_an_interval_are_in_silver_or_are_named(make_pipeline: MakePipeline, mode: str) -> None:
    days = DAYS if mode == "days" else None
    pipeline = make_pipeline(partitions=days, delivery="snapshot" if mode == "snapshot" else "increment")
    silver = silver_asset(pipeline.contract, partitions=days)(as_arrived)
    pipeline.land(PLATE)
    assert pipeline.run(pipeline.bronze, silver, start=DAY if days else None).success
    add_bronze_row_without_interval(pipeline)
    result = pipeline.run(silver, start=DAY if days else None)
    assert result.success
    if mode == "increment":
        assert sorted(pipeline.parts("silver")) == ["plate", "stray"]
        return
    check = contract_check(result)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 rows of bronze are not in this table, since it has no dt=:" in str(check.description)
    assert pipeline.parts("silver") == ["plate"]


def add_bronze_row_without_interval(pipeline: ToyPipeline) -> None:
    """A row as a run took it before intervals were checked, and its batch in the ledger."""
    house, table = pipeline.platform.lakehouse, pipeline.table("bronze")
    row = pipeline.rows("bronze")[0] | {"part": "stray", "_partition": None, "_ingest_id": "00000001"}
    row["_record_id"] = "f" * 16 + "000000000002"
    schema = house.snapshot(table).arrow().schema
    properties = CommitProperties(app_transactions=[Transaction("ingest", 1)])
    rows = pa.Table.from_pylist([row], schema=schema)
    write_deltalake(str(house.path(table)), rows, mode="append", commit_properties=properties)
    ledger = pipeline.platform.ledger(table)
    ledger.plan([Delivery("toys/stray.csv", "", 1, 1, "0" * 64, "f" * 16)], committed=0, judged_by="")
