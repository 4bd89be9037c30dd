"""The quarantine of a silver table: its rows are computed a second time, where that is enough from their records alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.lineage import row_by_row
from pipelines.medallion.decorators import silver_asset
from tests.pipelines.toy_contracts import integer, number, text
from tests.pipelines.toy_pipeline import DAYS, MakePipeline, ToyPipeline, as_arrived, failure_message

DIRTY = {
    "2013-01-01": "part,holes,weight\na,1,1\nb,x,2\nc,0,y\nd,3,4\nragged\n",
    "2013-01-02": "part,holes,weight\na,1,1\nb,2,2\n",
    "2013-01-03": "part,holes,weight\na,-4,1\nb,1,1\n",
}
DUPLICATES = {"2013-01-04": "part,holes,weight\na,1,1\na,2,x\nA,0,1\n"}
DIFFERS = ("_ingested_at", "_record_id", "_source_uri")
#: A row may have at most half of the weight of its day.
SHARE = [
    text("part", primaryKey=True, primaryKeyPosition=1, required=True),
    integer("holes"),
    number("weight", logicalTypeOptions={"maximum": 0.5}),
]


def of_the_day(rows: DataFrame) -> DataFrame:
    """Each row with its share of the weight of its day."""
    whole = F.sum("weight").over(Window.partitionBy("_partition"))
    return rows.withColumn("weight", F.col("weight") / whole)


def rejected(pipeline: ToyPipeline) -> list[dict[str, Any]]:
    """The rows of the quarantine, without what differs from table to table."""
    rows = [{k: v for k, v in row.items() if k not in DIFFERS} for row in pipeline.rows("quarantine")]
    return sorted(rows, key=lambda row: (row["_partition"], row["_source_row"]))


@pytest.mark.parametrize("deliveries", [DIRTY, DIRTY | DUPLICATES], ids=["rows alone", "duplicates too"])
@pytest.mark.parametrize("by_days", [True, False], ids=["days", "snapshot"])
def test_rejected_rows_are_the_same_computed_from_their_records_and_from_all(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch, deliveries: dict[str, str], by_days: bool
) -> None:
    found = []
    for from_all in (False, True):
        if from_all:
            monkeypatch.setattr(row_by_row, "fates", lambda rows, source: None)
        pipeline = make_pipeline(partitions=DAYS if by_days else None)
        for day, content in deliveries.items():
            pipeline.land(content, day=day)
        silver = silver_asset(pipeline.contract, partitions=DAYS if by_days else None)(as_arrived)
        assert pipeline.run(pipeline.bronze, silver, start=min(DIRTY), end=max(deliveries)).success
        found.append(rejected(pipeline))
    assert found[0] == found[1]
    assert {reason["code"] for row in found[0] for reason in row["_reasons"]} >= {"holes_type", "holes_range"}


def test_only_the_records_of_rejected_rows_are_read_again(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(partitions=DAYS)
    for day, content in DIRTY.items():
        pipeline.land(content, day=day)
    counts: list[int] = []
    place = row_by_row.read_from

    def counted(rows: DataFrame, source: DataFrame, other: DataFrame) -> DataFrame:
        counts.append(other.count())
        return place(rows, source, other)

    monkeypatch.setattr(row_by_row, "read_from", counted)
    silver = silver_asset(pipeline.contract, partitions=DAYS)(as_arrived)
    assert pipeline.run(pipeline.bronze, silver, start=min(DIRTY), end=max(DIRTY)).success
    assert counts == [len(pipeline.rows("quarantine"))] == [4]


def of_a_view(rows: DataFrame) -> DataFrame:
    """The same, by SQL over a view."""
    rows.createOrReplaceTempView("rows_of_days")
    whole = rows.sparkSession.sql("SELECT _partition, sum(weight) AS whole FROM rows_of_days GROUP BY _partition")
    return rows.join(whole, "_partition", "left").withColumn("weight", F.col("weight") / F.col("whole")).drop("whole")


def of_a_literal(rows: DataFrame) -> DataFrame:
    """The same, by a number that was computed before."""
    [(whole,)] = rows.agg(F.sum("weight")).collect()
    return rows.withColumn("weight", F.col("weight") / whole)


@pytest.mark.parametrize("transform", [of_the_day, of_a_view, of_a_literal])
def test_a_transform_that_looks_at_other_rows_gets_all_of_them_a_second_time(
    make_pipeline: MakePipeline, transform: Callable[[DataFrame], DataFrame]
) -> None:
    pipeline = make_pipeline(partitions=DAYS, columns=SHARE)
    pipeline.land("part,holes,weight\na,1,6\nb,1,2\nc,1,2\n")
    silver = silver_asset(pipeline.contract, partitions=DAYS)(transform)
    assert pipeline.run(pipeline.bronze, silver, start=min(DIRTY), end=min(DIRTY)).success
    [row] = pipeline.rows("quarantine")
    assert [(reason["code"], reason["value"]) for reason in row["_reasons"]] == [("weight_range", "0.6")]


def into_the_first_day(rows: DataFrame) -> DataFrame:
    """Rows of all days in the first one."""
    return rows.withColumn("_partition", F.lit(min(DIRTY)))


def test_rejected_rows_that_a_transform_moves_to_another_day_are_found(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(partitions=DAYS)
    pipeline.land("part,holes,weight\na,1,1\n", day=min(DIRTY))
    pipeline.land("part,holes,weight\nb,0,1\n", day=max(DIRTY))
    silver = silver_asset(pipeline.contract, partitions=DAYS)(into_the_first_day)
    pipeline.run(pipeline.bronze, silver, start=min(DIRTY), end=max(DIRTY))
    [row] = pipeline.rows("quarantine")
    assert (row["_partition"], max(DIRTY) in row["_source_uri"]) == (min(DIRTY), True)


def test_rejected_rows_of_every_slice_are_found(make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.medallion.silver_days.SLICE_ROWS", 2)
    pipeline = make_pipeline(partitions=DAYS)
    for day, content in DIRTY.items():
        pipeline.land(content, day=day)
    silver = silver_asset(pipeline.contract, partitions=DAYS)(as_arrived)
    assert pipeline.run(pipeline.bronze, silver, start=min(DIRTY), end=max(DIRTY)).success
    assert [row["_partition"] for row in rejected(pipeline)] == [*3 * [min(DIRTY)], max(DIRTY)]


def test_a_transform_that_rejects_other_rows_the_second_time_fails(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    pipeline.land("part,holes,weight\na,0,1\nb,2,1\n")
    calls: list[Callable[[DataFrame], DataFrame]] = []

    def changing(rows: DataFrame) -> DataFrame:
        """Rows as they arrived the first time. Grain: one row per part."""
        calls.append(changing)
        return rows if len(calls) == 1 else rows.withColumn("holes", F.lit(1))

    message = failure_message(pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(changing)))
    assert "0 rows rejected the second time, 1 the first time" in message
