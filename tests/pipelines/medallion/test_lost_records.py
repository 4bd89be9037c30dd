"""Every record of bronze comes out of a transform once, clean or rejected: a transform that does otherwise is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.medallion.decorators import silver_asset
from pipelines.verdict import verdict
from tests.pipelines.toy_pipeline import MakePipeline, as_arrived, failure_message

Transform = Callable[[DataFrame], DataFrame]


def lost(rows: DataFrame) -> DataFrame:
    """Without a part."""
    return rows.where("part <> 'a'")


def doubled(rows: DataFrame) -> DataFrame:
    """A part comes twice."""
    twice = rows.sparkSession.createDataFrame([("a", 1), ("a", 2)], "part string, n int")
    return rows.join(twice, "part", "left").drop("n")


def as_many(rows: DataFrame) -> DataFrame:
    """One part comes twice, and another one does not."""
    twice = rows.sparkSession.createDataFrame([("a", 1), ("a", 2), ("c", 3)], "part string, n int")
    return rows.join(twice, "part").drop("n")


def united(rows: DataFrame) -> DataFrame:
    """The same, by a union."""
    return rows.where("part = 'a'").union(rows.where("part <> 'b'"))


def renamed(rows: DataFrame) -> DataFrame:
    """Every part under the id of another record."""
    return rows.withColumn("_record_id", F.concat("_record_id", F.lit("x")))


def taken_over(rows: DataFrame) -> DataFrame:
    """Every part under the id that another table gives it."""
    ids = rows.sparkSession.createDataFrame([(part, f"id of {part}") for part in "abc"], "p string, _record_id string")
    joined = rows.alias("r").join(ids.alias("i"), F.col("p") == F.col("part"), "left")
    others = [F.col(f"r.{name}") for name in rows.columns if name != "_record_id"]
    return joined.select(*others, F.col("i._record_id"))


def in_windows(rows: DataFrame) -> DataFrame:
    """A part comes in each window of time that it lies in; those without a time come in none."""
    at = F.when(F.col("part") != "b", F.timestamp_seconds(F.col("holes") * 60 + 420))
    return (
        rows.withColumn("w", F.window(at, "10 minutes", "5 minutes").getField("start")).where("part <> 'c'").drop("w")
    )


def exploded(rows: DataFrame) -> DataFrame:
    """The same, by a function whose name is quoted."""
    values = F.when(F.col("part") == "a", F.array(F.lit(1), F.lit(2))).when(F.col("part") == "c", F.array(F.lit(3)))
    return rows.withColumn("n", F.call_function("`explode`", values)).drop("n")


@pytest.mark.parametrize("transform", [lost, doubled, as_many, united, renamed, taken_over, in_windows, exploded])
def test_a_transform_that_loses_doubles_or_exchanges_records_is_refused(
    make_pipeline: MakePipeline, transform: Transform
) -> None:
    pipeline = make_pipeline()
    pipeline.land("part,holes,weight\na,1,1\nb,2,1\nc,3,1\n")
    result = pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(transform))
    assert "no row may vanish or double" in failure_message(result)
    assert pipeline.version("silver") is None


def test_ids_that_come_from_another_reading_of_bronze_are_refused(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    pipeline.land("part,holes,weight\na,3,1\nb,1,1\nc,1,1\n")

    def of_the_part_before(rows: DataFrame, old: DataFrame) -> DataFrame:
        """Every row under the id of the row that its number of holes names. Grain: one row per part."""
        ids = old.select((F.col("_source_row") - 1).alias("n"), "_record_id").alias("i")
        joined = rows.alias("r").join(ids, F.col("n") == F.col("holes"), "left")
        others = [F.col(f"r.{name}") for name in rows.columns if name != "_record_id"]
        return joined.select(*others, F.col("i._record_id"))

    silver = silver_asset(pipeline.contract, inputs={"old": str(pipeline.table("bronze"))})(of_the_part_before)
    assert "no row may vanish or double" in failure_message(pipeline.run(pipeline.bronze, silver))


def looked_up(rows: DataFrame) -> DataFrame:
    """Rows with what is known of some of them."""
    known = rows.sparkSession.createDataFrame([("a", 1)], "part string, n int")
    return rows.join(known, "part", "left").drop("n")


@pytest.mark.parametrize("transform", [as_arrived, looked_up])
def test_no_ids_are_read_where_the_plan_and_the_number_of_rows_tell_it(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch, transform: Transform
) -> None:
    fingerprints: list[DataFrame] = []
    monkeypatch.setattr(verdict, "fingerprint", fingerprints.append)
    pipeline = make_pipeline()
    pipeline.land("part,holes,weight\na,1,1\nb,x,1\n")
    assert pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(transform)).success
    assert (pipeline.parts("silver"), len(pipeline.rows("quarantine"))) == (["a"], 1)
    assert not fingerprints
