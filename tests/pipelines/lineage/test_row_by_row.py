"""What a plan may do with the rows of its source, if it makes each row from one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from pipelines.engine.session import Engine
from pipelines.lineage.row_by_row import Fate, fates

Plan = Callable[[DataFrame, DataFrame], DataFrame]


def by_tail() -> WindowSpec:
    return Window.partitionBy("tail").orderBy("miles")


BY_ROW: dict[str, tuple[Plan, set[Fate]]] = {
    "itself": (lambda rows, other: rows, set()),
    "columns": (lambda rows, other: rows.select("*", F.upper("tail")).withColumn("m", F.col("miles") + 1), set()),
    "names": (lambda rows, other: rows.toDF("a", "b").withColumnRenamed("a", "c").alias("x").drop("b"), set()),
    "fill": (lambda rows, other: rows.na.fill({"tail": ""}).na.replace({"a": "b"}, subset=["tail"]), set()),
    "lambda": (lambda rows, other: rows.select(F.transform(F.array("miles"), lambda mile: mile + 1)), set()),
    "sql": (lambda rows, other: rows.selectExpr("CASE WHEN miles > 1 THEN 2 END AS m", "cast(tail AS string)"), set()),
    "filter": (lambda rows, other: rows.where("miles > 1 AND tail <> 'x'").where(F.col("miles") < 9), {"lost"}),
    "without nulls": (lambda rows, other: rows.na.drop(), {"lost"}),
    "kept": (lambda rows, other: rows.join(other, rows["tail"] == other["tail"], "leftanti"), {"lost"}),
    "known": (lambda rows, other: rows.join(other, "tail", "leftsemi"), {"lost"}),
    "looked up": (lambda rows, other: rows.join(F.broadcast(other), "tail", "left").repartition(2), {"doubled"}),
    "on the right": (lambda rows, other: other.join(rows, "tail", "right"), {"doubled"}),
    "joined": (lambda rows, other: rows.join(other.groupBy("tail").count(), "tail"), {"lost", "doubled"}),
    "looked up and filtered": (
        lambda rows, other: rows.where("miles > 1").join(other, "tail", "left"),
        {"lost", "doubled"},
    ),
}
NOT_BY_ROW: dict[str, Plan] = {
    "another": lambda rows, other: other,
    "window": lambda rows, other: rows.withColumn("n", F.row_number().over(by_tail())),
    "window in a filter": lambda rows, other: rows.select("*", F.lag("miles").over(by_tail()).alias("b")).where(
        "b > 1"
    ),
    "window without columns": lambda rows, other: rows.select(F.sum("miles").over(Window.partitionBy(F.lit(1)))),
    "window in sql": lambda rows, other: rows.selectExpr("sum(miles) OVER (PARTITION BY tail) AS s"),
    "unread sql": lambda rows, other: rows.selectExpr("transform(array(miles), m -> m + 1) AS more"),
    "aggregate": lambda rows, other: rows.select(F.max("miles")),
    "aggregate in sql": lambda rows, other: rows.selectExpr("max(miles) + 1 AS m"),
    "group": lambda rows, other: rows.groupBy("tail").agg(F.sum("miles")),
    "explode": lambda rows, other: rows.select("tail", F.explode(F.array("miles", F.lit(2)))),
    "explode in sql": lambda rows, other: rows.selectExpr("explode(array(miles))"),
    "explode by a quoted name": lambda rows, other: rows.select(F.call_function("`explode`", F.array("miles"))),
    "a function of any name": lambda rows, other: rows.select(F.call_function("somebodys", "miles")),
    "windows of time": lambda rows, other: rows.select(F.window(F.timestamp_seconds("miles"), "2 days", "1 day")),
    "distinct": lambda rows, other: rows.distinct(),
    "first of a key": lambda rows, other: rows.dropDuplicates(["tail"]),
    "limit": lambda rows, other: rows.orderBy("miles").limit(3),
    "sample": lambda rows, other: rows.sample(0.5, seed=1),
    "random": lambda rows, other: rows.where(F.rand(1) < 0.5),
    "numbered": lambda rows, other: rows.withColumn("n", F.monotonically_increasing_id()),
    "joined with itself": lambda rows, other: rows.alias("a").join(rows.alias("b"), "tail"),
    "joined with its groups": lambda rows, other: rows.join(rows.groupBy("tail").count(), "tail"),
    "outer join": lambda rows, other: rows.join(other, "tail", "outer"),
    "looked up in it": lambda rows, other: other.join(rows, "tail", "left"),
    "union": lambda rows, other: rows.unionByName(rows),
    "subquery": lambda rows, other: rows.where(F.col("miles") < rows.select(F.max("miles")).scalar()),
    "pandas": lambda rows, other: rows.mapInPandas(lambda frames: frames, rows.schema),
}


@pytest.fixture(scope="module")
def frames(sail: Engine) -> tuple[DataFrame, DataFrame]:
    rows = sail.session.createDataFrame([("a", 1), ("b", 2)], "tail string, miles int").where("miles > 0")
    return rows, sail.session.createDataFrame([("a", 100)], "tail string, seats int")


@pytest.mark.parametrize(("plan", "expected"), BY_ROW.values(), ids=BY_ROW)
def test_rows_that_each_come_from_one_row(frames: tuple[DataFrame, DataFrame], plan: Plan, expected: set[Fate]) -> None:
    assert fates(plan(*frames), frames[0]) == expected


@pytest.mark.parametrize("plan", NOT_BY_ROW.values(), ids=NOT_BY_ROW)
def test_rows_that_other_rows_decide_about(frames: tuple[DataFrame, DataFrame], plan: Plan) -> None:
    assert fates(plan(*frames), frames[0]) is None


def test_a_python_function_of_one_row_and_one_of_a_group(frames: tuple[DataFrame, DataFrame]) -> None:
    def of_group(miles: pd.Series) -> int:
        return int(miles.max())

    def of_batch(miles: pd.Series) -> pd.Series:
        return miles / miles.sum()

    functions: Any = F  # whose types know no lambda function, and no function of a series of integers
    one = functions.udf(lambda tail: tail * 2, "string")
    group = functions.pandas_udf(of_group, "int")
    assert fates(frames[0].select(one("tail")), frames[0]) == set()
    for of_others in (group, functions.pandas_udf(of_batch, "double")):
        assert fates(frames[0].select(of_others("miles")), frames[0]) is None
