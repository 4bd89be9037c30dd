from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from pyspark.sql import DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from pipelines.engine.session import Engine
from tests.pipelines.lineage.changed_tables import (
    AG,
    FLIGHTS,
    ID,
    PLAN,
    PLANES,
    READ,
    TABLES,
    TR,
    Versions,
    assert_complete,
    assert_identities,
    direct,
    indirect,
)


def by_carrier() -> WindowSpec:
    return Window.partitionBy("carrier").orderBy("miles")


def anti_join(read: READ) -> DataFrame:
    flights, planes = read(FLIGHTS), read(PLANES)
    return flights.join(planes, flights["tail"] == planes["tail"], "anti")


def one_side(read: READ) -> DataFrame:
    flights, planes = read(FLIGHTS), read(PLANES)
    both = flights.join(planes, (flights["tail"] == planes["tail"]) & (planes["seats"] > 30), "left")
    return both.drop(flights["tail"]).select("tail", flights["miles"], planes["tail"].alias("again"))


def hidden_key(read: READ) -> DataFrame:
    flights, planes = read(FLIGHTS), read(PLANES)
    return flights.join(planes, "tail", "left").select(flights["tail"].alias("l"), planes["tail"].alias("r"))


def case(name: str, plan: PLAN, columns: Mapping[str, Any], effects: Iterable[tuple[str, str]] = ()) -> Any:
    return pytest.param(plan, columns, set(effects), id=name)


def plan_cases() -> list[Any]:
    f_all = {name: {(f"f.{name}", ID)} for name in TABLES[FLIGHTS]}
    on_tail = {("f.tail", "join"), ("p.tail", "join")}
    return [
        case("a read is the identity of its columns", lambda r: r(FLIGHTS), f_all),
        case(
            "pivot: each value's column from the aggregate and the pivot column",
            lambda r: r(FLIGHTS).groupBy("tail").pivot("carrier", ["UA", "DL"]).agg(F.max("miles")),
            {"tail": {("f.tail", ID)}} | {name: {("f.miles", AG), ("f.carrier", TR)} for name in ("UA", "DL")},
            {("f.tail", "group_by"), ("f.carrier", "group_by")},
        ),
        case(
            "pivot with two aggregates: they alternate",
            lambda r: (
                r(FLIGHTS)
                .groupBy("tail")
                .pivot("carrier", ["UA", "DL"])
                .agg(F.max("miles").alias("far"), F.sum("delay").alias("late"))
            ),
            {"tail": {("f.tail", ID)}}
            | {f"{name}_far": {("f.miles", AG), ("f.carrier", TR)} for name in ("UA", "DL")}
            | {f"{name}_late": {("f.delay", AG), ("f.carrier", TR)} for name in ("UA", "DL")},
            {("f.tail", "group_by"), ("f.carrier", "group_by")},
        ),
        case(
            "unpivot: names of columns have no source",
            lambda r: (
                r(FLIGHTS)
                .select("tail", F.col("miles").cast("double").alias("miles"), "delay")
                .unpivot(["tail"], ["miles", "delay"], "what", "figure")
            ),
            {"tail": {("f.tail", ID)}, "what": set(), "figure": {("f.miles", TR), ("f.delay", ID)}},
        ),
        case(
            "select: names, aliases, casts, functions, literals, CASE",
            lambda r: r(FLIGHTS).select(
                "tail",
                F.col("delay").alias("late"),
                F.col("miles").cast("double"),
                (F.col("miles") * 1.6 + F.col("delay")).alias("mixed"),
                F.lit(1).alias("one"),
                F.when(F.col("delay") > 5, F.col("carrier")).otherwise("-").alias("who"),
                F.struct("tail", "miles").alias("pair"),
            ),
            {
                "tail": {("f.tail", ID)},
                "late": {("f.delay", ID)},
                "miles": {("f.miles", TR)},
                "mixed": {("f.miles", TR), ("f.delay", TR)},
                "one": set(),
                "who": {("f.delay", TR), ("f.carrier", TR)},
                "pair": {("f.tail", TR), ("f.miles", TR)},
            },
        ),
        case(
            "an expression without an alias goes by the engine's name",
            lambda r: r(FLIGHTS).select(F.upper("carrier"), F.col("miles") + 1).toDF("a", "b"),
            {"a": {("f.carrier", TR)}, "b": {("f.miles", TR)}},
        ),
        case(
            "withColumn sees the column that it replaces",
            lambda r: r(FLIGHTS).select("delay", "miles").withColumn("delay", F.col("delay") + F.col("miles")),
            {"delay": {("f.delay", TR), ("f.miles", TR)}, "miles": {("f.miles", ID)}},
        ),
        case(
            "rename, drop, toDF",
            lambda r: r(PLANES).withColumnRenamed("seats", "places").drop("maker").toDF("id", "n"),
            {"id": {("p.tail", ID)}, "n": {("p.seats", ID)}},
        ),
        case(
            "filter and sort decide about rows, also by columns that are not selected",
            lambda r: r(FLIGHTS).select("tail").filter(F.col("delay") > 1).sort("miles"),
            {"tail": {("f.tail", ID)}},
            {("f.delay", "filter"), ("f.miles", "sort")},
        ),
        case(
            "SQL strings",
            lambda r: (
                r(FLIGHTS)
                .filter("delay IS NOT NULL AND carrier NOT IN ('AA', 'it''s')")
                .selectExpr("*", "CASE WHEN miles > 1000 THEN carrier ELSE `tail` END AS label", "cast(miles as int) m")
                .drop("carrier", "delay", "miles")
            ),
            {
                "tail": {("f.tail", ID)},
                "label": {("f.miles", TR), ("f.carrier", TR), ("f.tail", TR)},
                "m": {("f.miles", TR)},
            },
            {("f.delay", "filter"), ("f.carrier", "filter")},
        ),
        case(
            "aggregates",
            lambda r: (
                r(FLIGHTS)
                .groupBy("carrier")
                .agg(
                    F.sum("delay").alias("total"),
                    F.count("*").alias("n"),
                    F.expr("max(miles) - min(delay) AS spread"),
                    (F.avg("miles") / F.length("carrier")).alias("odd"),
                )
            ),
            {
                "carrier": {("f.carrier", ID)},
                "total": {("f.delay", AG)},
                "n": set(),
                "spread": {("f.miles", AG), ("f.delay", AG)},
                "odd": {("f.miles", AG), ("f.carrier", TR)},
            },
            {("f.carrier", "group_by")},
        ),
        case(
            "an aggregate that is only named by its function",
            lambda r: (
                r(FLIGHTS).groupBy((F.col("miles") % 2).alias("odd")).max("delay").withColumnRenamed("max(delay)", "m")
            ),
            {"odd": {("f.miles", TR)}, "m": {("f.delay", AG)}},
            {("f.miles", "group_by")},
        ),
        case(
            "rollup makes nulls of its keys",
            lambda r: r(FLIGHTS).rollup("carrier").agg(F.max("miles").alias("far")),
            {"carrier": {("f.carrier", TR)}, "far": {("f.miles", AG)}},
            {("f.carrier", "group_by")},
        ),
        case(
            "windows",
            lambda r: r(FLIGHTS).select(
                F.rank().over(by_carrier()).alias("rank"),
                F.sum("delay").over(Window.partitionBy("tail")).alias("total"),
            ),
            {"rank": set(), "total": {("f.delay", AG)}},
            {("f.carrier", "window"), ("f.miles", "window"), ("f.tail", "window")},
        ),
        case(
            "inner join with USING keeps the left key",
            lambda r: r(FLIGHTS).select("tail", "miles").join(r(PLANES), "tail"),
            {
                "tail": {("f.tail", ID)},
                "miles": {("f.miles", ID)},
                "seats": {("p.seats", ID)},
                "maker": {("p.maker", ID)},
            },
            on_tail,
        ),
        case(
            "right join with USING keeps the right key",
            lambda r: r(FLIGHTS).select("tail", "miles").join(r(PLANES).select("tail"), "tail", "right"),
            {"tail": {("p.tail", ID)}, "miles": {("f.miles", ID)}},
            on_tail,
        ),
        case(
            "full join with USING takes the key of either side",
            lambda r: r(FLIGHTS).select("tail", "miles").join(r(PLANES).select("tail"), "tail", "full"),
            {"tail": {("f.tail", TR), ("p.tail", TR)}, "miles": {("f.miles", ID)}},
            on_tail,
        ),
        case(
            "semi join",
            lambda r: r(FLIGHTS).join(r(PLANES), "tail", "semi"),
            f_all,
            on_tail,
        ),
        case(
            "anti join on a condition",
            anti_join,
            f_all,
            on_tail,
        ),
        case(
            "columns of a DataFrame mean that side of a join",
            one_side,
            {"tail": {("p.tail", ID)}, "miles": {("f.miles", ID)}, "again": {("p.tail", ID)}},
            on_tail | {("p.seats", "join")},
        ),
        case(
            "a key that USING hid is reached through its DataFrame",
            hidden_key,
            {"l": {("f.tail", ID)}, "r": {("p.tail", ID)}},
            on_tail,
        ),
        case(
            "aliases",
            lambda r: (
                r(FLIGHTS)
                .alias("f")
                .join(r(PLANES).alias("p"), F.expr("f.tail = p.tail"))
                .select("f.tail", "p.seats", F.expr("p.tail || f.carrier").alias("both"))
            ),
            {"tail": {("f.tail", ID)}, "seats": {("p.seats", ID)}, "both": {("p.tail", TR), ("f.carrier", TR)}},
            on_tail,
        ),
        case(
            "a star of one alias",
            lambda r: r(FLIGHTS).alias("f").crossJoin(r(PLANES).alias("p")).select("p.*", "f.delay"),
            {
                "tail": {("p.tail", ID)},
                "seats": {("p.seats", ID)},
                "maker": {("p.maker", ID)},
                "delay": {("f.delay", ID)},
            },
        ),
        case(
            "union by position",
            lambda r: r(FLIGHTS).select("tail", "carrier").union(r(PLANES).select("maker", "tail")),
            {"tail": {("f.tail", ID), ("p.maker", ID)}, "carrier": {("f.carrier", ID), ("p.tail", ID)}},
        ),
        case(
            "union by name with missing columns",
            lambda r: (
                r(FLIGHTS)
                .select("tail", "miles")
                .unionByName(r(PLANES).select("seats", "tail"), allowMissingColumns=True)
            ),
            {"tail": {("f.tail", ID), ("p.tail", ID)}, "miles": {("f.miles", ID)}, "seats": {("p.seats", ID)}},
        ),
        case(
            "except compares whole rows",
            lambda r: r(FLIGHTS).select("tail").exceptAll(r(PLANES).select("tail")),
            {"tail": {("f.tail", ID)}},
            {("f.tail", "filter"), ("p.tail", "filter")},
        ),
        case(
            "distinct groups by all columns",
            lambda r: r(FLIGHTS).select("carrier", "tail").distinct(),
            {"carrier": {("f.carrier", ID)}, "tail": {("f.tail", ID)}},
            {("f.carrier", "group_by"), ("f.tail", "group_by")},
        ),
        case(
            "missing values",
            lambda r: r(PLANES).fillna(0, ["seats"]).dropna(subset=["maker"]).replace("Boeing", "B", ["maker"]),
            {"tail": {("p.tail", ID)}, "seats": {("p.seats", TR)}, "maker": {("p.maker", TR)}},
            {("p.maker", "filter")},
        ),
        case(
            "explode repeats rows, as many as its column says",
            lambda r: r(FLIGHTS).select("tail", F.explode(F.split("carrier", "A")).alias("part")),
            {"tail": {("f.tail", ID)}, "part": {("f.carrier", TR)}},
            {("f.carrier", "join")},
        ),
        case(
            "posexplode makes two columns of one",
            lambda r: r(FLIGHTS).select(F.posexplode(F.array("delay", "miles")), "tail"),
            {
                "pos": {("f.delay", TR), ("f.miles", TR)},
                "col": {("f.delay", TR), ("f.miles", TR)},
                "tail": {("f.tail", ID)},
            },
            {("f.delay", "join"), ("f.miles", "join")},
        ),
        case(
            "fields of a struct come from the struct",
            lambda r: (
                r(FLIGHTS)
                .select(F.struct("tail", "miles").alias("s"))
                .select("s.tail", F.col("s")["miles"].alias("m"), "s.*")
                .toDF(*"abcd")
            ),
            {name: {("f.tail", TR), ("f.miles", TR)} for name in "abcd"},
        ),
        case(
            "functions of elements",
            lambda r: r(FLIGHTS).select(F.transform(F.array("delay"), lambda v: v + F.col("miles")).alias("plus")),
            {"plus": {("f.delay", TR), ("f.miles", TR)}},
        ),
        case(
            "Python functions of columns",
            lambda r: r(FLIGHTS).select(
                "tail", F.udf(lambda a, b: f"{a}{b}", "string")("carrier", "miles").alias("made")
            ),
            {"tail": {("f.tail", ID)}, "made": {("f.carrier", TR), ("f.miles", TR)}},
        ),
        case(
            "Python functions of whole rows may use and drop anything",
            lambda r: r(PLANES).mapInPandas(lambda frames: (frame[["seats"]] for frame in frames), "seats double"),
            {"seats": {("p.tail", TR), ("p.seats", TR), ("p.maker", TR)}},
            {("p.tail", "filter"), ("p.seats", "filter"), ("p.maker", "filter")},
        ),
        case(
            "rows that come with the plan have no source",
            lambda r: (
                r(FLIGHTS)
                .sparkSession.createDataFrame([(1, "x")], "n int, c string")
                .crossJoin(r(PLANES).select("seats"))
            ),
            {"n": set(), "c": set(), "seats": {("p.seats", ID)}},
        ),
        case(
            "a scalar subquery",
            lambda r: r(FLIGHTS).select(
                "tail", r(PLANES).filter("maker = 'Boeing'").select(F.max("seats")).scalar().alias("most")
            ),
            {"tail": {("f.tail", ID)}, "most": {("p.seats", AG)}},
            {("p.maker", "filter")},
        ),
        case(
            "the shape of a silver table",
            lambda r: (
                r(FLIGHTS)
                .withColumn("_row", F.row_number().over(by_carrier().orderBy("tail", "delay", "miles")))
                .filter("_row = 1")
                .drop("_row")
                .withColumns({"late": F.coalesce("delay", F.lit(0.0)) > 15, "tail": F.trim("tail")})
                .hint("broadcast")
                .repartition(1)
            ),
            f_all | {"tail": {("f.tail", TR)}, "late": {("f.delay", TR)}},
            {("f.carrier", "window"), ("f.tail", "window"), ("f.delay", "window"), ("f.miles", "window")},
        ),
    ]


@pytest.mark.parametrize(("plan", "columns", "effects"), plan_cases())
def test_a_plan_shows_the_sources_of_its_columns(
    each_engine: Engine, tables: Versions, plan: PLAN, columns: dict[str, Any], effects: set[tuple[str, str]]
) -> None:
    lineage = tables.lineage(plan)
    assert direct(lineage) == columns
    assert indirect(lineage) == effects
    if each_engine.kind == "embedded":
        assert_complete(tables, plan)
        assert_identities(tables, plan)


def lateral_alias(read: READ) -> DataFrame:
    return read(FLIGHTS).select((F.col("miles") + 1).alias("next"), (F.col("next") * 2).alias("twice"))


def star_of_one_side(read: READ) -> DataFrame:
    planes = read(PLANES)
    return read(FLIGHTS).join(planes, "tail", "left").select("delay", planes["*"])


def joined_with_itself(read: READ) -> DataFrame:
    flights = read(FLIGHTS)
    doubled = flights.groupBy("tail").agg(F.max("delay").alias("delay"))
    return flights.join(doubled, flights["tail"] == doubled["tail"]).select(
        doubled["delay"], flights["delay"].alias("d")
    )


def grouping_sets(read: READ) -> DataFrame:
    flights = read(FLIGHTS)
    sets = flights.groupingSets([[flights["carrier"]], []], flights["carrier"])
    return sets.agg(F.sum("miles").alias("miles"))


@pytest.mark.spark
@pytest.mark.parametrize(
    ("plan", "columns"),
    [
        (lateral_alias, {"next": {("f.miles", TR)}, "twice": {("f.miles", TR)}}),
        (
            star_of_one_side,
            {
                "delay": {("f.delay", ID)},
                "tail": {("p.tail", ID)},
                "seats": {("p.seats", ID)},
                "maker": {("p.maker", ID)},
            },
        ),
        (joined_with_itself, {"delay": {("f.delay", AG)}, "d": {("f.delay", ID)}}),
        (grouping_sets, {"carrier": {("f.carrier", TR)}, "miles": {("f.miles", AG)}}),
    ],
)
def test_names_that_only_spark_resolves_have_their_sources(
    spark_tables: Versions, plan: PLAN, columns: dict[str, Any]
) -> None:
    assert direct(spark_tables.lineage(plan)) == columns
    assert_identities(spark_tables, plan)
