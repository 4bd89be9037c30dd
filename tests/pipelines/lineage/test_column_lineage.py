from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.engine.session import Engine
from pipelines.lineage.column_lineage import (
    ColumnLineage,
    IndirectColumn,
    SourceColumn,
    Unknown,
    column_lineage,
    to_dagster,
    to_openlineage,
)
from tests.pipelines.lineage.changed_tables import (
    AG,
    FLIGHTS,
    ID,
    PLANES,
    READ,
    TR,
    Versions,
    direct,
)


def test_a_relation_of_an_unread_kind_makes_its_own_columns_unknown_and_no_others(tables: Versions) -> None:
    def plan(read: READ) -> DataFrame:
        unread = read(FLIGHTS).sparkSession.sql("SELECT 'N1' AS tail, 2 AS UA")
        return unread.join(read(PLANES), "tail").select("seats", "UA", (F.col("UA") + F.col("seats")).alias("sum"))

    lineage = tables.lineage(plan)
    reason = "relation `sql` is not read yet"
    assert lineage.columns == {
        "seats": (SourceColumn(PLANES, "seats", ID),),
        "UA": Unknown(reason),
        "sum": Unknown(reason, (SourceColumn(PLANES, "seats", TR),)),
    }
    assert lineage.indirect == {IndirectColumn(PLANES, "tail", "join")}
    assert lineage.indirect_unknown == (reason,)


def test_a_column_from_refused_sql_is_unknown(tables: Versions) -> None:
    lineage = tables.lineage(lambda r: r(FLIGHTS).selectExpr("tail", "transform(array(miles), m -> m + 1) AS more"))
    reason = "SQL `transform(array(miles), m -> m + 1) AS more` is not read yet"
    assert direct(lineage) == {"tail": {("f.tail", ID)}, "more": reason}
    assert lineage.indirect_unknown == (reason,)


def test_the_columns_of_a_query_in_sql_are_unknown(each_engine: Engine) -> None:
    lineage = column_lineage(each_engine.session.sql("SELECT 1 AS one"), {})
    assert lineage.columns == {"one": Unknown("relation `sql` is not read yet")}


def test_a_filter_in_refused_sql_makes_the_indirect_columns_incomplete(tables: Versions) -> None:
    lineage = tables.lineage(lambda r: r(FLIGHTS).filter("exists(array(delay), d -> d > 3)").select("tail"))
    assert direct(lineage) == {"tail": {("f.tail", ID)}}
    assert len(lineage.indirect_unknown) == 1


def test_two_columns_of_one_name_are_unknown(tables: Versions) -> None:
    lineage = tables.lineage(lambda r: r(FLIGHTS).select("tail", F.col("carrier").alias("tail")))
    known = (SourceColumn(FLIGHTS, "carrier", ID), SourceColumn(FLIGHTS, "tail", ID))
    assert lineage.columns == {"tail": Unknown("2 columns are named `tail`", known)}


def test_the_columns_of_a_read_that_inputs_lacks_are_unknown(tables: Versions) -> None:
    df = tables.build(lambda r: r(PLANES).select("seats"))
    lineage = column_lineage(df, {"/elsewhere": PLANES})
    (sources,) = lineage.columns.values()
    assert isinstance(sources, Unknown)
    assert sources.reason.startswith("no dataset was named for /")


def test_a_version_of_a_delta_table_and_a_file_inside_of_it_belong_to_the_dataset(
    each_engine: Engine, tmp_path: Path
) -> None:
    table = tmp_path / "silver" / "planes"
    for seats in (1, 2):
        write_deltalake(str(table), pa.table({"tail": ["N1"], "seats": [seats]}), mode="append")
    file = next(table.glob("*.parquet"))
    before = each_engine.session.read.format("delta").option("versionAsOf", 0).load(str(table))
    df = before.unionByName(each_engine.session.read.parquet(f"file://{file}"))
    lineage = column_lineage(df, {f"{table}/": PLANES})
    assert direct(lineage) == {"tail": {("p.tail", ID)}, "seats": {("p.seats", ID)}}


def test_one_read_of_several_datasets_has_them_all_as_sources(each_engine: Engine, tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    for path in paths:
        pq.write_table(pa.table({"tail": ["N1"]}), path)
    lineage = column_lineage(each_engine.session.read.parquet(*paths), dict(zip(paths, (FLIGHTS, PLANES), strict=True)))
    assert direct(lineage) == {"tail": {("f.tail", ID), ("p.tail", ID)}}


def test_a_table_is_found_by_its_name(each_engine: Engine) -> None:
    each_engine.session.range(3).createOrReplaceTempView("numbered")
    df = each_engine.session.table("numbered").select("numbered.id", (F.col("id") + 1).alias("next"))
    lineage = column_lineage(df, {"numbered": FLIGHTS})
    assert direct(lineage) == {"id": {("f.id", ID)}, "next": {("f.id", TR)}}


def test_reading_the_lineage_executes_nothing(sail_tables: Versions, tmp_path: Path) -> None:
    trace = str(tmp_path / "executed")

    def plan(read: READ) -> DataFrame:
        return read(FLIGHTS).select(F.udf(lambda tail: Path(trace).touch(), "string")("tail").alias("tail")).distinct()

    sail_tables.lineage(plan)
    assert not Path(trace).exists()
    sail_tables.values(plan)
    assert Path(trace).exists()


def test_a_plan_that_the_engine_refuses_raises_its_error(tables: Versions) -> None:
    with pytest.raises(AnalysisException, match="nowhere"):
        tables.lineage(lambda r: r(FLIGHTS).select("nowhere"))


LINEAGE = ColumnLineage(
    columns={
        "late": (SourceColumn(FLIGHTS, "delay", AG), SourceColumn(PLANES, "seats", ID)),
        "n": (),
        "odd": Unknown("relation `sql` is not read yet", (SourceColumn(PLANES, "maker", TR),)),
    },
    indirect=frozenset([IndirectColumn(FLIGHTS, "tail", "join"), IndirectColumn(FLIGHTS, "tail", "filter")]),
    indirect_unknown=(),
)


def test_the_openlineage_facet_has_every_column_every_step_and_the_reason_of_an_unknown_column() -> None:
    facet = to_openlineage(LINEAGE, "goldpath")

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
            "transformationDescription": "unknown: relation `sql` is not read yet",
        },
    }
    assert facet["dataset"] == [field(FLIGHTS, "tail", "INDIRECT", "FILTER", "JOIN")]


def test_the_lineage_for_dagster_has_asset_keys() -> None:
    deps = to_dagster(LINEAGE).deps_by_column
    assert {name: [(d.asset_key.path, d.column_name) for d in dependencies] for name, dependencies in deps.items()} == {
        "late": [(["silver", "flights", "flights"], "delay"), (["silver", "flights", "planes"], "seats")],
        "n": [],
        "odd": [(["silver", "flights", "planes"], "maker")],
    }
