"""What a run shows: of tables that nothing comes for, of each of its days, and of columns whose sources are not known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from pipelines import clock
from pipelines.medallion.decorators import silver_asset
from tests.pipelines.contracts.blocks import goldpath_rule
from tests.pipelines.toy_pipeline import (
    COLUMNS,
    DAY,
    DAYS,
    NEXT,
    NOT_EMPTY,
    MakePipeline,
    arrivals_check,
    as_arrived,
    contract_check,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SOLD = {"name": "sold", "logicalType": "timestamp", "physicalType": "timestamp"}


def test_a_run_that_takes_nothing_says_that_the_newest_row_is_too_old(make_pipeline: MakePipeline) -> None:
    fresh = goldpath_rule("fresh", freshness={"column": "sold", "max_age": "2d"})
    columns = [*COLUMNS, SOLD]
    pipeline = make_pipeline(columns=columns, silver={"quality": [fresh]})
    silver = silver_asset(pipeline.contract)(as_arrived)
    now = datetime.now(UTC)
    pipeline.land(f"part,holes,weight,sold\nbrick,4,2.5,{now.isoformat()}\n")
    assert contract_check(pipeline.run(pipeline.bronze, silver)).passed
    clock.move(pipeline.platform.settings, now + timedelta(hours=36))  # the contracts' freshness is a day
    result = pipeline.run(pipeline.bronze, silver)
    assert result.success
    for check in (contract_check(result), arrivals_check(result)):
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert f"no new rows since {now.date()}" in str(check.description)
    clock.move(pipeline.platform.settings, now + timedelta(days=3))
    check = contract_check(pipeline.run(silver))
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "fresh saw 2592" in str(check.description)


def test_days_that_were_not_delivered_are_not_judged_and_rejected_days_are_named(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(partitions=DAYS, silver={"quality": [NOT_EMPTY | {"severity": "warning"}]})
    silver = silver_asset(pipeline.contract, partitions=DAYS)(as_arrived)
    pipeline.land("part,holes,weight\nbrick,4,2.5\n", day=DAY)
    pipeline.land("part,holes,weight\nbad,0,1\n", day="2013-01-03")
    pipeline.land("part,holes,weight\nbrick,4,2.5\n", day="2013-01-05")
    check = contract_check(pipeline.run(pipeline.bronze, silver, start=DAY, end="2013-01-05"))
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "every row of 2013-01-03 was rejected" in str(check.description)
    assert "nothing was delivered for 2013-01-02 and 1 more days" in str(check.description)
    assert "some saw 0.0 on 2013-01-03" in str(check.description)
    assert pipeline.parts("silver") == ["brick", "brick"]


def test_each_partition_of_a_run_shows_its_own_rows(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(partitions=DAYS)
    pipeline.land("part,holes,weight\nbrick,4,2.5\nbad,0,1\n", day=DAY)
    pipeline.land("part,holes,weight\nplate,2,1\ntile,2,1\n", day=NEXT)
    silver = silver_asset(pipeline.contract, partitions=DAYS)(as_arrived)
    result = pipeline.run(pipeline.bronze, silver, start=DAY, end=NEXT)
    events = [event.materialization for event in result.get_asset_materialization_events()]
    rows = {
        event.partition: [event.metadata[f"partition_rows_{name}"].value for name in ("clean", "quarantined")]
        for event in events
        if event.asset_key.path[0] == "silver"
    }
    assert rows == {DAY: [1, 1], NEXT: [2, 0]}
    bronze = {
        e.partition: e.metadata["dagster/partition_row_count"].value for e in events if e.asset_key.path[0] == "bronze"
    }
    assert bronze == {DAY: 2, NEXT: 2}
    for event in events:  # what the run cost and read is no figure of a day
        of_run = {name for name in event.metadata if name.startswith("run_")}
        assert not {"cost", "seconds", "rows_in", "rows_clean"} & event.metadata.keys()
        zone = event.asset_key.path[0]
        assert ({"run_cost", "run_rows_in"} <= of_run) == (event.partition == NEXT and zone != "quarantine")


def test_columns_whose_sources_are_not_known_are_named_in_dagster(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    pipeline.land("part,holes,weight\nbrick,4,2.5\n")

    def in_sql(rows: DataFrame) -> DataFrame:
        """Blocks by a query."""
        return rows.sparkSession.sql("SELECT *, holes * 2 AS twice FROM {rows}", rows=rows)

    [event] = pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(in_sql)).asset_materializations_for_node(
        "__".join(pipeline.contract.table.key)
    )[:1]
    unknown = event.metadata["columns_with_unknown_sources"].value
    assert isinstance(unknown, dict)
    assert unknown.keys() == {"part", "holes", "weight"}
