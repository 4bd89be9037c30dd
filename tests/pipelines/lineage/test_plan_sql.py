from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame

from pipelines.engine.session import Engine
from pipelines.lineage.column_lineage import column_lineage
from pipelines.lineage.plan_sql import parse_expression, parse_identifier

READ = [
    "a",
    "`a` AS renamed",
    "A + b * -c",
    "(a + 1) / nullif(b, 0) renamed",
    "a > 1.5e3 AND NOT b <= 2 OR c <> .5",
    "s || upper(t) || 'a\\'b'",
    "'it''s b' || s",
    "CASE WHEN a > b THEN 'a' WHEN s IS NULL THEN t ELSE 'c' END",
    "CASE a WHEN 1 THEN b ELSE NULL END",
    "cast(a AS decimal(10, 2)) + try_cast(s AS int)",
    "a IN (1, b, 2) AND s NOT IN ('c', 't')",
    "a NOT BETWEEN b AND 3 AND s NOT LIKE '%t%' AND s IS NOT NULL",
    "(a > b) IS TRUE",
    "coalesce(a, b, 0)",
    "array(a, b)[0]",
    "named_struct('x', a, 'y', s).x",
    "at + INTERVAL 2 HOURS > TIMESTAMP '2013-01-01 00:00:00'",
    "at - INTERVAL '1-2' YEAR TO MONTH",
    "DATE '2013-01-01' < at",
    "current_date() > at",
    "`odd name` + a",
    "a ^ b & 7 | ~ c",
    "TRUE",
    "-1",
]
REFUSED = [
    "sum(a) OVER (PARTITION BY b)",
    "exists(array(a), x -> x > b)",
    "a IN (SELECT b FROM t)",
    "extract(YEAR FROM at)",
    "sum(a) FILTER (WHERE b > 1)",
    "trim(BOTH 'x' FROM s)",
    "a -- b",
    "a /* b */",
    "s LIKE 'x' ESCAPE '/'",
    "a::string",
    ":parameter",
    '"a"',
    "INTERVAL a HOURS",
    "a b c",
    "a +",
    "(a",
    "CASE WHEN a THEN b",
    "",
]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, DataFrame]]:
    schema = "a int, b int, c int, s string, t string, at timestamp, `odd name` int"
    with Engine.start("embedded", home=tmp_path_factory.mktemp("home")) as engine:
        path = str(tmp_path_factory.mktemp("rows") / "rows.parquet")
        engine.session.createDataFrame([], schema).write.parquet(path)
        yield path, engine.session.read.schema(schema).parquet(path)


@pytest.mark.parametrize("sql", [sql for sql in READ if not sql.endswith(".x")])
def test_what_is_read_names_the_columns_that_the_engine_asks_for(read: tuple[str, DataFrame], sql: str) -> None:
    path, rows = read
    needed = set()
    for column in rows.columns:
        try:
            assert rows.drop(column).selectExpr(sql).columns
        except AnalysisException:
            needed.add(column)
    lineage = column_lineage(rows.selectExpr(sql), {path: "silver/d/rows"})
    (found,) = lineage.columns.values()
    assert isinstance(found, tuple)
    assert {source.column for source in found} == needed


@pytest.mark.parametrize("sql", [*REFUSED, *(sql for sql in READ if sql.endswith(".x"))])
def test_what_is_beyond_it_is_refused_as_a_whole(sql: str) -> None:
    assert parse_expression(sql) is None


def test_an_identifier_is_split_at_dots_outside_backticks() -> None:
    assert parse_identifier("a.`b.c`.`d``e`") == ("a", "b.c", "d`e")
