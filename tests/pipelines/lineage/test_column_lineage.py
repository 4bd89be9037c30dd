from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from openlineage.client.serde import Serde
from pyspark.sql import DataFrame, SparkSession, Window, WindowSpec
from pyspark.sql import functions as F

from pipelines import settings
from pipelines.engine.session import Engine
from pipelines.lineage.column_lineage import (
    ColumnLineage,
    IndirectColumn,
    SourceColumn,
    Transformation,
    Unknown,
    column_lineage,
    to_dagster,
    to_openlineage,
)

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
ID: Transformation = "identity"
TR: Transformation = "transformation"
AG: Transformation = "aggregation"


def changed(values: Sequence[Any]) -> list[Any]:
    """Other values of the same type: some meet other rows than before, some are new, some are missing."""
    turned = [*values[1:], values[0]]
    new = [v if v is None or i % 3 else f"{v}'" if isinstance(v, str) else v * 3 + 1 for i, v in enumerate(turned)]
    return [*new[:-1], None]


@pytest.fixture(scope="module", params=["embedded", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    found = settings.get()
    jars = found.jars_dir or found.root / "jars"
    with Engine.start(request.param, home=tmp_path_factory.mktemp("home"), jars_dir=jars) as started:
        yield started


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
def tables(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return Versions(engine.session, tmp_path_factory.mktemp("lineage"))


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
def test_a_plan_shows_what_its_columns_are_made_of(
    engine: Engine, tables: Versions, plan: PLAN, columns: dict[str, Any], effects: set[tuple[str, str]]
) -> None:
    lineage = tables.lineage(plan)
    assert direct(lineage) == columns
    assert indirect(lineage) == effects
    if engine.kind == "embedded":
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
@pytest.mark.parametrize("engine", ["spark"], indirect=True)
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
def test_names_that_only_spark_resolves(tables: Versions, plan: PLAN, columns: dict[str, Any]) -> None:
    assert direct(tables.lineage(plan)) == columns
    assert_identities(tables, plan)


def test_a_relation_that_is_not_read_makes_its_columns_unknown_and_no_others(tables: Versions) -> None:
    def plan(read: READ) -> DataFrame:
        pivoted = read(FLIGHTS).groupBy("tail").pivot("carrier", ["UA", "DL"]).max("miles")
        return pivoted.join(read(PLANES), "tail").select("seats", "UA", (F.col("UA") + F.col("seats")).alias("sum"))

    lineage = tables.lineage(plan)
    reason = "relation `pivot` is not read yet"
    assert lineage.columns == {
        "seats": (SourceColumn(PLANES, "seats", ID),),
        "UA": Unknown(reason),
        "sum": Unknown(reason, (SourceColumn(PLANES, "seats", TR),)),
    }
    assert lineage.indirect == {IndirectColumn(PLANES, "tail", "join")}
    assert lineage.indirect_unknown == (reason,)


def test_sql_that_is_not_read_is_unknown(tables: Versions) -> None:
    lineage = tables.lineage(lambda r: r(FLIGHTS).selectExpr("tail", "sum(miles) OVER (PARTITION BY carrier) AS total"))
    reason = "SQL `sum(miles) OVER (PARTITION BY carrier) AS total` is not read yet"
    assert direct(lineage) == {"tail": {("f.tail", ID)}, "total": reason}
    assert lineage.indirect_unknown == (reason,)


def test_a_query_in_sql_is_unknown(engine: Engine) -> None:
    lineage = column_lineage(engine.session.sql("SELECT 1 AS one"), {})
    assert lineage.columns == {"one": Unknown("relation `sql` is not read yet")}


def test_a_filter_on_the_unknown_leaves_the_indirect_columns_incomplete(tables: Versions) -> None:
    lineage = tables.lineage(lambda r: r(FLIGHTS).filter("exists(array(delay), d -> d > 3)").select("tail"))
    assert direct(lineage) == {"tail": {("f.tail", ID)}}
    assert len(lineage.indirect_unknown) == 1


def test_two_columns_of_one_name_are_unknown(tables: Versions) -> None:
    lineage = tables.lineage(lambda r: r(FLIGHTS).select("tail", F.col("carrier").alias("tail")))
    known = (SourceColumn(FLIGHTS, "carrier", ID), SourceColumn(FLIGHTS, "tail", ID))
    assert lineage.columns == {"tail": Unknown("2 columns are named `tail`", known)}


def test_a_read_that_nobody_named_is_unknown(tables: Versions) -> None:
    df = tables.build(lambda r: r(PLANES).select("seats"))
    lineage = column_lineage(df, {"/elsewhere": PLANES})
    (found,) = lineage.columns.values()
    assert isinstance(found, Unknown)
    assert found.reason.startswith("no dataset was named for /")


def test_a_version_of_a_delta_table_and_a_file_inside_of_it_belong_to_the_dataset(
    engine: Engine, tmp_path: Path
) -> None:
    table = tmp_path / "silver" / "planes"
    for seats in (1, 2):
        write_deltalake(str(table), pa.table({"tail": ["N1"], "seats": [seats]}), mode="append")
    file = next(table.glob("*.parquet"))
    before = engine.session.read.format("delta").option("versionAsOf", 0).load(str(table))
    df = before.unionByName(engine.session.read.parquet(f"file://{file}"))
    lineage = column_lineage(df, {f"{table}/": PLANES})
    assert direct(lineage) == {"tail": {("p.tail", ID)}, "seats": {("p.seats", ID)}}


def test_one_read_of_several_datasets_has_them_all_as_sources(engine: Engine, tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    for path in paths:
        pq.write_table(pa.table({"tail": ["N1"]}), path)
    lineage = column_lineage(engine.session.read.parquet(*paths), dict(zip(paths, (FLIGHTS, PLANES), strict=True)))
    assert direct(lineage) == {"tail": {("f.tail", ID), ("p.tail", ID)}}


def test_a_table_goes_by_its_name(engine: Engine) -> None:
    engine.session.range(3).createOrReplaceTempView("numbered")
    df = engine.session.table("numbered").select("numbered.id", (F.col("id") + 1).alias("next"))
    lineage = column_lineage(df, {"numbered": FLIGHTS})
    assert direct(lineage) == {"id": {("f.id", ID)}, "next": {("f.id", TR)}}


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_nothing_is_executed(tables: Versions, tmp_path: Path) -> None:
    trace = str(tmp_path / "executed")

    def plan(read: READ) -> DataFrame:
        return read(FLIGHTS).select(F.udf(lambda tail: Path(trace).touch(), "string")("tail").alias("tail")).distinct()

    tables.lineage(plan)
    assert not Path(trace).exists()
    tables.values(plan)
    assert Path(trace).exists()


def test_a_plan_that_the_engine_refuses_raises_its_error(tables: Versions) -> None:
    from pyspark.errors import AnalysisException

    with pytest.raises(AnalysisException, match="nowhere"):
        tables.lineage(lambda r: r(FLIGHTS).select("nowhere"))


LINEAGE = ColumnLineage(
    columns={
        "late": (SourceColumn(FLIGHTS, "delay", AG), SourceColumn(PLANES, "seats", ID)),
        "n": (),
        "odd": Unknown("relation `pivot` is not read yet", (SourceColumn(PLANES, "maker", TR),)),
    },
    indirect=frozenset([IndirectColumn(FLIGHTS, "tail", "join"), IndirectColumn(FLIGHTS, "tail", "filter")]),
    indirect_unknown=(),
)


def test_openlineage_gets_every_column_every_step_and_why_one_is_unknown() -> None:
    facet = Serde.to_dict(to_openlineage(LINEAGE, "goldpath"))

    def field(dataset: str, column: str, kind: str, *subtypes: str) -> dict[str, Any]:
        steps = [{"type": kind, "subtype": subtype} for subtype in subtypes]
        return {"namespace": "goldpath", "name": dataset, "field": column, "transformations": steps}

    assert facet["fields"] == {
        "late": {
            "inputFields": [
                field(FLIGHTS, "delay", "DIRECT", "AGGREGATION"),
                field(PLANES, "seats", "DIRECT", "IDENTITY"),
            ]
        },
        "n": {"inputFields": []},
        "odd": {
            "inputFields": [field(PLANES, "maker", "DIRECT", "TRANSFORMATION")],
            "transformationDescription": "unknown: relation `pivot` is not read yet",
        },
    }
    assert facet["dataset"] == [field(FLIGHTS, "tail", "INDIRECT", "FILTER", "JOIN")]


def test_dagster_gets_asset_keys() -> None:
    deps = to_dagster(LINEAGE).deps_by_column
    assert {name: [(d.asset_key.path, d.column_name) for d in found] for name, found in deps.items()} == {
        "late": [(["silver", "flights", "flights"], "delay"), (["silver", "flights", "planes"], "seats")],
        "n": [],
        "odd": [(["silver", "flights", "planes"], "maker")],
    }


NUMBERS, WORDS = "number", "word"
STEP = st.tuples(st.sampled_from("abcdefghijklmnopqrst"), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))


def kinds(dataset: str) -> dict[str, str]:
    return {name: WORDS if isinstance(values[0], str) else NUMBERS for name, values in TABLES[dataset].items()}


def program(steps: Sequence[tuple[str, int, int, int]], start: str, read: READ) -> DataFrame:
    """A plan whose result is determined by its input, made of steps that are valid one after the other."""
    other = PLANES if start == FLIGHTS else FLIGHTS
    df = read(start)
    types: dict[str, str] = kinds(start)
    for at, (step, x, y, z) in enumerate(steps):
        names = list(types)
        one, two, three = (names[i % len(names)] for i in (x, y, z))
        new = f"c{at}"
        number = F.col(one) if types[one] == NUMBERS else F.length(one)
        word = F.col(two) if types[two] == WORDS else F.col(two).cast("int").cast("string")
        window = Window.partitionBy(two)
        theirs = read(other).select(*(F.col(n).alias(f"{n}_{at}") for n in TABLES[other]))
        their_types = {f"{name}_{at}": kind for name, kind in kinds(other).items()}
        key = next((name for name, kind in types.items() if kind == WORDS), "")
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
                sql = f"upper(cast({one} as string)) || coalesce(cast({two} as string), 'x') AS {new}"
                df, types[new] = df.selectExpr("*", sql), WORDS
            case "m" if "m" not in [before for before, *_ in steps[:at]]:  # Sail 0.7.2 fails on such a union in another
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


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
@hypothesis_settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEP, min_size=2, max_size=6), start=st.sampled_from([FLIGHTS, PLANES]))
def test_what_lineage_does_not_name_changes_nothing(
    tables: Versions, steps: list[tuple[str, int, int, int]], start: str
) -> None:
    def plan(read: READ) -> DataFrame:
        return program(steps, start, read)

    assert not any(isinstance(found, Unknown) for found in tables.lineage(plan).columns.values())
    assert_complete(tables, plan)
    assert_identities(tables, plan)
