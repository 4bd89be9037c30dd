from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openlineage.client.serde import Serde
from pyspark.sql import DataFrame, SparkSession, Window, WindowSpec
from pyspark.sql import functions as F

from pipelines.column_lineage import (
    ColumnLineage,
    IndirectColumn,
    SourceColumn,
    Unknown,
    column_lineage,
    to_dagster,
    to_openlineage,
)
from pipelines.sql_expression import parse_expression

FLIGHTS, PLANES = "silver/flights/flights", "silver/flights/planes"
TABLES: dict[str, dict[str, list[Any]]] = {
    FLIGHTS: {
        "tail": ["N1", "N2", "N2", "N3", None, "N4", "N1", "N9"],
        "carrier": ["UA", "UA", "DL", "DL", "AA", "AA", "UA", "WN"],
        "delay": [3.0, -1.0, 12.5, None, 40.0, 8.0, 3.0, 0.5],
        "miles": [200, 1400, 760, 760, 90, None, 2475, 1096],
    },
    PLANES: {
        "tail": ["N1", "N2", "N3", "N5", "N9"],
        "seats": [178, 55, None, 20, 142],
        "maker": ["Boeing", "Embraer", "Airbus", "Boeing", None],
    },
}
READ = Callable[[str], DataFrame]
PLAN = Callable[[READ], DataFrame]
I, T, A = "identity", "transformation", "aggregation"


def changed(values: Sequence[Any]) -> list[Any]:
    """Other values of the same type: some meet other rows than before, some are new, some are missing."""
    turned = [*values[1:], values[0]]
    new = [v if v is None or i % 3 else f"{v}'" if isinstance(v, str) else v * 3 + 1 for i, v in enumerate(turned)]
    return [*new[:-1], None]


@pytest.fixture(scope="module", params=["sail", pytest.param("spark", marks=pytest.mark.spark)])
def session(request: pytest.FixtureRequest) -> Iterator[SparkSession]:
    if request.param == "spark":
        os.environ["PYSPARK_PYTHON"] = sys.executable
        local = SparkSession.builder.remote("local[1]").config("spark.sql.shuffle.partitions", "1")
        local = local.config("spark.ui.enabled", "false").config("spark.driver.bindAddress", "127.0.0.1")
        spark = local.config("spark.driver.host", "127.0.0.1").getOrCreate()
        yield spark
        spark.stop()
        return
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    spark = SparkSession.builder.remote(f"sc://127.0.0.1:{server.listening_address[1]}").create()
    yield spark
    spark.stop()
    server.stop()


class Versions:
    """The tables as they are, and once more for each column, with that column changed and all else the same."""

    def __init__(self, session: SparkSession, root: Path) -> None:
        self.session, self.root = session, root
        self.columns = [(dataset, column) for dataset, table in TABLES.items() for column in table]
        for changed_column in (None, *self.columns):
            for dataset, table in TABLES.items():
                path = self._path(changed_column, dataset)
                path.parent.mkdir(parents=True, exist_ok=True)
                rows = {n: changed(v) if (dataset, n) == changed_column else v for n, v in table.items()}
                types = {name: pa.array(values).type for name, values in table.items()}
                pq.write_table(pa.table({n: pa.array(v, types[n]) for n, v in rows.items()}), path)

    def _path(self, changed_column: tuple[str, str] | None, dataset: str) -> Path:
        return self.root / "-".join(changed_column or ("all",)).replace("/", "_") / f"{dataset}.parquet"

    def build(self, plan: PLAN, changed_column: tuple[str, str] | None = None) -> DataFrame:
        return plan(lambda dataset: self.session.read.parquet(str(self._path(changed_column, dataset))))

    def lineage(self, plan: PLAN) -> ColumnLineage:
        inputs = {str(self._path(None, dataset)): dataset for dataset in TABLES}
        return column_lineage(self.build(plan), inputs)

    def values(self, plan: PLAN, changed_column: tuple[str, str] | None = None) -> dict[str, list[Any]]:
        """The values of each column in an order of their own: rows come in any order."""
        df = self.build(plan, changed_column)
        rows = [[round(v, 6) if isinstance(v, float) else v for v in row] for row in df.collect()]
        return {name: sorted((row[at] for row in rows), key=repr) for at, name in enumerate(df.columns)}


@pytest.fixture(scope="module")
def tables(session: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return Versions(session, tmp_path_factory.mktemp("lineage"))


def assert_complete(tables: Versions, plan: PLAN) -> None:
    """A column that is not among a column's sources, nor decides about rows, can be changed without changing it."""
    lineage, before = tables.lineage(plan), tables.values(plan)
    assert not lineage.indirect_unknown
    deciding = {(column.dataset, column.column) for column in lineage.indirect}
    for source in set(tables.columns) - deciding:
        untouched = {
            name
            for name, sources in lineage.columns.items()
            if not isinstance(sources, Unknown) and source not in {(s.dataset, s.column) for s in sources}
        }
        after = tables.values(plan, source) if untouched else {}
        for name in untouched:
            assert after[name] == before[name], f"{name} depends on {source}, the lineage says {lineage.columns[name]}"


def assert_identities(tables: Versions, plan: PLAN) -> None:
    """A column whose sources are all identities holds no value that they do not hold."""
    values = tables.values(plan)
    for name, sources in tables.lineage(plan).columns.items():
        if not isinstance(sources, Unknown) and sources and all(s.transformation == "identity" for s in sources):
            held = {v for s in sources for v in TABLES[s.dataset][s.column]} | {None}
            assert set(values[name]) <= held, f"{name} is no copy of {sources}"


def direct(lineage: ColumnLineage) -> dict[str, set[tuple[str, str]] | str]:
    """Short form: `f.delay` and the transformation for each source, the reason for an unknown column."""
    short = {FLIGHTS: "f", PLANES: "p"}
    return {
        name: found.reason
        if isinstance(found, Unknown)
        else {(f"{short[source.dataset]}.{source.column}", source.transformation) for source in found}
        for name, found in lineage.columns.items()
    }


def indirect(lineage: ColumnLineage) -> set[tuple[str, str]]:
    short = {FLIGHTS: "f", PLANES: "p"}
    return {(f"{short[column.dataset]}.{column.column}", column.effect) for column in lineage.indirect}


def by_carrier() -> WindowSpec:
    return Window.partitionBy("carrier").orderBy("miles")


def plan_cases() -> list[Any]:
    def case(name: str, plan: PLAN, columns: dict[str, Any], effects: set[tuple[str, str]] | None = None) -> Any:
        return pytest.param(plan, columns, effects or set(), id=name)

    f_all = {name: {(f"f.{name}", I)} for name in TABLES[FLIGHTS]}
    on_tail = {("f.tail", "join"), ("p.tail", "join")}
    return [
        case("a read is the identity of its columns", lambda r: r(FLIGHTS), f_all),
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
                "tail": {("f.tail", I)},
                "late": {("f.delay", I)},
                "miles": {("f.miles", T)},
                "mixed": {("f.miles", T), ("f.delay", T)},
                "one": set(),
                "who": {("f.delay", T), ("f.carrier", T)},
                "pair": {("f.tail", T), ("f.miles", T)},
            },
        ),
        case(
            "an expression without an alias goes by the engine's name",
            lambda r: r(FLIGHTS).select(F.upper("carrier"), F.col("miles") + 1).toDF("a", "b"),
            {"a": {("f.carrier", T)}, "b": {("f.miles", T)}},
        ),
        case(
            "withColumn sees the column that it replaces",
            lambda r: r(FLIGHTS).select("delay", "miles").withColumn("delay", F.col("delay") + F.col("miles")),
            {"delay": {("f.delay", T), ("f.miles", T)}, "miles": {("f.miles", I)}},
        ),
        case(
            "rename, drop, toDF",
            lambda r: r(PLANES).withColumnRenamed("seats", "places").drop("maker").toDF("id", "n"),
            {"id": {("p.tail", I)}, "n": {("p.seats", I)}},
        ),
        case(
            "filter and sort decide about rows, also by columns that are not selected",
            lambda r: r(FLIGHTS).select("tail").filter(F.col("delay") > 1).sort("miles"),
            {"tail": {("f.tail", I)}},
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
                "tail": {("f.tail", I)},
                "label": {("f.miles", T), ("f.carrier", T), ("f.tail", T)},
                "m": {("f.miles", T)},
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
                "carrier": {("f.carrier", I)},
                "total": {("f.delay", A)},
                "n": set(),
                "spread": {("f.miles", A), ("f.delay", A)},
                "odd": {("f.miles", A), ("f.carrier", T)},
            },
            {("f.carrier", "group_by")},
        ),
        case(
            "an aggregate that is only named by its function",
            lambda r: (
                r(FLIGHTS).groupBy((F.col("miles") % 2).alias("odd")).max("delay").withColumnRenamed("max(delay)", "m")
            ),
            {"odd": {("f.miles", T)}, "m": {("f.delay", A)}},
            {("f.miles", "group_by")},
        ),
        case(
            "rollup makes nulls of its keys",
            lambda r: r(FLIGHTS).rollup("carrier").agg(F.max("miles").alias("far")),
            {"carrier": {("f.carrier", T)}, "far": {("f.miles", A)}},
            {("f.carrier", "group_by")},
        ),
        case(
            "windows",
            lambda r: r(FLIGHTS).select(
                F.rank().over(by_carrier()).alias("rank"),
                F.sum("delay").over(Window.partitionBy("tail")).alias("total"),
            ),
            {"rank": set(), "total": {("f.delay", A)}},
            {("f.carrier", "window"), ("f.miles", "window"), ("f.tail", "window")},
        ),
        case(
            "inner join with USING keeps the left key",
            lambda r: r(FLIGHTS).select("tail", "miles").join(r(PLANES), "tail"),
            {"tail": {("f.tail", I)}, "miles": {("f.miles", I)}, "seats": {("p.seats", I)}, "maker": {("p.maker", I)}},
            on_tail,
        ),
        case(
            "right join with USING keeps the right key",
            lambda r: r(FLIGHTS).select("tail", "miles").join(r(PLANES).select("tail"), "tail", "right"),
            {"tail": {("p.tail", I)}, "miles": {("f.miles", I)}},
            on_tail,
        ),
        case(
            "full join with USING takes the key of either side",
            lambda r: r(FLIGHTS).select("tail", "miles").join(r(PLANES).select("tail"), "tail", "full"),
            {"tail": {("f.tail", T), ("p.tail", T)}, "miles": {("f.miles", I)}},
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
            lambda r: (lambda f, p: f.join(p, f["tail"] == p["tail"], "anti"))(r(FLIGHTS), r(PLANES)),
            f_all,
            on_tail,
        ),
        case(
            "columns of a DataFrame mean that side of a join",
            lambda r: (
                lambda f, p: (
                    f.join(p, (f["tail"] == p["tail"]) & (p["seats"] > 30), "left")
                    .drop(f["tail"])
                    .select("tail", f["miles"], p["tail"].alias("again"))
                )
            )(r(FLIGHTS), r(PLANES)),
            {"tail": {("p.tail", I)}, "miles": {("f.miles", I)}, "again": {("p.tail", I)}},
            on_tail | {("p.seats", "join")},
        ),
        case(
            "a key that USING hid is reached through its DataFrame",
            lambda r: (lambda f, p: f.join(p, "tail", "left").select(f["tail"].alias("l"), p["tail"].alias("r")))(
                r(FLIGHTS), r(PLANES)
            ),
            {"l": {("f.tail", I)}, "r": {("p.tail", I)}},
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
            {"tail": {("f.tail", I)}, "seats": {("p.seats", I)}, "both": {("p.tail", T), ("f.carrier", T)}},
            on_tail,
        ),
        case(
            "a star of one alias",
            lambda r: r(FLIGHTS).alias("f").crossJoin(r(PLANES).alias("p")).select("p.*", "f.delay"),
            {
                "tail": {("p.tail", I)},
                "seats": {("p.seats", I)},
                "maker": {("p.maker", I)},
                "delay": {("f.delay", I)},
            },
        ),
        case(
            "union by position",
            lambda r: r(FLIGHTS).select("tail", "carrier").union(r(PLANES).select("maker", "tail")),
            {"tail": {("f.tail", I), ("p.maker", I)}, "carrier": {("f.carrier", I), ("p.tail", I)}},
        ),
        case(
            "union by name with missing columns",
            lambda r: (
                r(FLIGHTS)
                .select("tail", "miles")
                .unionByName(r(PLANES).select("seats", "tail"), allowMissingColumns=True)
            ),
            {"tail": {("f.tail", I), ("p.tail", I)}, "miles": {("f.miles", I)}, "seats": {("p.seats", I)}},
        ),
        case(
            "except compares whole rows",
            lambda r: r(FLIGHTS).select("tail").exceptAll(r(PLANES).select("tail")),
            {"tail": {("f.tail", I)}},
            {("f.tail", "filter"), ("p.tail", "filter")},
        ),
        case(
            "distinct groups by all columns",
            lambda r: r(FLIGHTS).select("carrier", "tail").distinct(),
            {"carrier": {("f.carrier", I)}, "tail": {("f.tail", I)}},
            {("f.carrier", "group_by"), ("f.tail", "group_by")},
        ),
        case(
            "missing values",
            lambda r: r(PLANES).fillna(0, ["seats"]).dropna(subset=["maker"]).replace("Boeing", "B", ["maker"]),
            {"tail": {("p.tail", I)}, "seats": {("p.seats", T)}, "maker": {("p.maker", T)}},
            {("p.maker", "filter")},
        ),
        case(
            "explode repeats rows, as many as its column says",
            lambda r: r(FLIGHTS).select("tail", F.explode(F.split("carrier", "A")).alias("part")),
            {"tail": {("f.tail", I)}, "part": {("f.carrier", T)}},
            {("f.carrier", "join")},
        ),
        case(
            "posexplode makes two columns of one",
            lambda r: r(FLIGHTS).select(F.posexplode(F.array("delay", "miles")), "tail"),
            {"pos": {("f.delay", T), ("f.miles", T)}, "col": {("f.delay", T), ("f.miles", T)}, "tail": {("f.tail", I)}},
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
            {name: {("f.tail", T), ("f.miles", T)} for name in "abcd"},
        ),
        case(
            "functions of elements",
            lambda r: r(FLIGHTS).select(F.transform(F.array("delay"), lambda v: v + F.col("miles")).alias("plus")),
            {"plus": {("f.delay", T), ("f.miles", T)}},
        ),
        case(
            "Python functions of columns",
            lambda r: r(FLIGHTS).select(
                "tail", F.udf(lambda a, b: f"{a}{b}", "string")("carrier", "miles").alias("made")
            ),
            {"tail": {("f.tail", I)}, "made": {("f.carrier", T), ("f.miles", T)}},
        ),
        case(
            "Python functions of whole rows may use and drop anything",
            lambda r: r(PLANES).mapInPandas(lambda frames: (frame[["seats"]] for frame in frames), "seats double"),
            {"seats": {("p.tail", T), ("p.seats", T), ("p.maker", T)}},
            {("p.tail", "filter"), ("p.seats", "filter"), ("p.maker", "filter")},
        ),
        case(
            "rows that come with the plan have no source",
            lambda r: (
                r(FLIGHTS)
                .sparkSession.createDataFrame([(1, "x")], "n int, c string")
                .crossJoin(r(PLANES).select("seats"))
            ),
            {"n": set(), "c": set(), "seats": {("p.seats", I)}},
        ),
        case(
            "a scalar subquery",
            lambda r: r(FLIGHTS).select(
                "tail", r(PLANES).filter("maker = 'Boeing'").select(F.max("seats")).scalar().alias("most")
            ),
            {"tail": {("f.tail", I)}, "most": {("p.seats", A)}},
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
            f_all | {"tail": {("f.tail", T)}, "late": {("f.delay", T)}},
            {("f.carrier", "window"), ("f.tail", "window"), ("f.delay", "window"), ("f.miles", "window")},
        ),
    ]


@pytest.mark.parametrize(("plan", "columns", "effects"), plan_cases())
def test_lineage_of_common_shapes(
    tables: Versions, plan: PLAN, columns: dict[str, Any], effects: set[tuple[str, str]]
) -> None:
    lineage = tables.lineage(plan)
    assert direct(lineage) == columns
    assert indirect(lineage) == effects
    assert_complete(tables, plan)
    assert_identities(tables, plan)


NUMBERS, WORDS = "number", "word"
STEP = st.tuples(st.sampled_from("abcdefghijklmnopqrst"), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))


def program(steps: Sequence[tuple[str, int, int, int]], start: str, read: READ) -> DataFrame:
    """A plan whose result is determined by its input, made of steps that are valid one after the other."""
    other = PLANES if start == FLIGHTS else FLIGHTS
    df, types = read(start), {n: WORDS if n in ("tail", "carrier", "maker") else NUMBERS for n in TABLES[start]}
    for at, (step, x, y, z) in enumerate(steps):
        names = list(types)
        one, two, three = (names[i % len(names)] for i in (x, y, z))
        new = f"c{at}"
        number = F.col(one) if types[one] == NUMBERS else F.length(one)
        word = F.col(two) if types[two] == WORDS else F.col(two).cast("int").cast("string")
        window = Window.partitionBy(two)
        theirs = read(other).select(*(F.col(n).alias(f"{n}_{at}") for n in TABLES[other]))
        their_types = {f"{n}_{at}": WORDS if n in ("tail", "carrier", "maker") else NUMBERS for n in TABLES[other]}
        key = next((n for n in names if types[n] == WORDS), None)
        match step:
            case "a":
                df, types[new] = df.withColumn(new, number * 2 + F.length(word)), NUMBERS
            case "b":
                df, types[one] = df.withColumn(one, F.concat(word, F.lit("-"), word)), WORDS
            case "c":
                df, types[new] = (
                    df.withColumn(new, F.when(number > 3, word).otherwise(F.col(three).cast("string"))),
                    WORDS,
                )
            case "d":
                df = df.filter(number > x)
            case "e" if key:
                df = df.join(theirs, F.col(key) == F.col(f"tail_{at}"), ("left", "inner", "full", "right")[y % 4])
                types |= their_types
            case "f" if key:
                df = df.join(theirs.withColumnRenamed(f"tail_{at}", key), key, ("left", "full", "right")[y % 3])
                types = {key: WORDS} | {n: t for n, t in types.items() if n != key}
                types |= {n: t for n, t in their_types.items() if n != f"tail_{at}"}
            case "g" if key:
                df = df.join(theirs, df[key] == theirs[f"tail_{at}"], ("semi", "anti")[y % 2])
            case "h":
                df = df.groupBy(one).agg(F.max(two).alias(new), F.count("*").alias(f"{new}n"))
                types = {one: types[one], new: types[two], f"{new}n": NUMBERS}
            case "i":
                df, types[new] = df.withColumn(new, F.max(one).over(window)), types[one]
            case "j":
                df, types[new] = df.withColumn(new, F.rank().over(window.orderBy(one))), NUMBERS
            case "k":
                df, types = df.select(one, F.col(two).alias(new)), {one: types[one], new: types[two]}
            case "l":
                df, types[new] = (
                    df.selectExpr("*", f"upper(cast({one} as string)) || coalesce(cast({two} as string), 'x') AS {new}"),
                    WORDS,
                )
            case "m":
                df = df.unionByName(df.filter(number < y).withColumn(one, F.col(one)))
            case "n" if types[one] == types[two]:
                df = df.select(one, three).toDF("l", "r").union(df.select(two, three).toDF("r", "l"))
                types = {"l": types[one], "r": types[three]}
            case "o":
                df = df.distinct()
            case "p" if len(names) > 2 and one != two:
                df = df.drop(one).withColumnRenamed(two, new)
                types = {new if n == two else n: t for n, t in types.items() if n != one}
            case "q":
                df, types[new] = df.withColumn(new, F.explode(F.array(number, F.length(word)))), NUMBERS
            case "r":
                df = (
                    df.alias("t")
                    .select(f"t.{one}", F.struct(two, F.col(three).alias("_")).alias("s"))
                    .select(one, F.col(f"s.{two}").alias(new))
                )
                types = {one: types[one], new: types[two]}
            case "s":
                df = df.select(two).filter(number > y).sort(three)
                types = {two: types[two]}
            case "t":
                df = df.fillna(7).dropna(subset=[two])
    return df


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEP, min_size=2, max_size=6), start=st.sampled_from([FLIGHTS, PLANES]))
def test_what_lineage_does_not_name_changes_nothing(
    tables: Versions, steps: list[tuple[str, int, int, int]], start: str
) -> None:
    def plan(read: READ) -> DataFrame:
        return program(steps, start, read)

    assert not any(isinstance(found, Unknown) for found in tables.lineage(plan).columns.values())
    assert_complete(tables, plan)
    assert_identities(tables, plan)
