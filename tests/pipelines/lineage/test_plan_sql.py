from __future__ import annotations

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame

from pipelines.engine.session import Engine
from pipelines.lineage.column_lineage import ColumnLineage, Unknown, column_lineage
from pipelines.lineage.plan_sql import parse_expression, parse_identifier

SCHEMA = """a int, b int, c int, s string, t string, at timestamp, until timestamp, `odd name` int, `tick``s` int,
    pair struct<x: int, y: int>, numbers array<int>,
    hour int, day int, year int, int int, both string, leading string, first int, end int, interval int, array array<int>"""
EXPRESSIONS = [
    "a",
    "`a` AS renamed",
    "A + b * -c",
    "+a",
    "(a)",
    "(a + 1) / nullif(b, 0) renamed",
    "a > 1.5e3 AND NOT b <= 2 OR c <> .5",
    "s || upper(t) || 'a\\'b'",
    "'it''s b' || s",
    "r'\\d' || s",
    "CASE WHEN a > b THEN 'a' WHEN s IS NULL THEN t ELSE 'c' END",
    "CASE a WHEN 1 THEN b ELSE NULL END",
    "cast(a AS decimal(10, 2)) + try_cast(s AS int)",
    "cast(pair AS struct<a: int, b: int>)",
    "a::string || s",
    "a IN (1, b, 2) AND s NOT IN ('c', 't')",
    "a NOT BETWEEN b AND 3 AND s NOT LIKE '%t%' AND s IS NOT NULL",
    "s RLIKE t",
    "s LIKE 'x' ESCAPE '/'",
    "(a > b) IS TRUE",
    "a <=> b OR a IS DISTINCT FROM c",
    "coalesce(a, b, 0)",
    "if(a > 1, b, c)",
    "array(a, b)[0]",
    "map('k', 1, s, 2)[t]",
    "map('x', a)['x']",
    "named_struct('x', a, 'y', s).x",
    "struct(a AS x, b)",
    "pair.x + a",
    "rows.pair.y",
    "rows.a",
    "at + INTERVAL 2 HOURS > TIMESTAMP '2013-01-01 00:00:00'",
    "at - INTERVAL '1-2' YEAR TO MONTH",
    "DATE '2013-01-01' < at",
    "current_date() > at",
    "`odd name` + `tick``s`",
    "a ^ b & 7 | ~ c",
    "position(s IN t) + a DIV 2 % b",
    "overlay(s PLACING t FROM a)",
    "substring(s, a, b)",
    "trim(s)",
    "TRUE",
    "-1",
    "count(DISTINCT a, b)",
    "count(*) + max(a)",
    "count(*) FILTER (WHERE a > 1)",
    "sum(a) FILTER (WHERE s LIKE 'x%')",
    "percentile_cont(0.5) WITHIN GROUP (ORDER BY a DESC)",
    "first(a) IGNORE NULLS",
    "sum(a) OVER (PARTITION BY b, s || t ORDER BY c DESC NULLS LAST ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
    "lag(a, 1) OVER (ORDER BY b) - a",
    "explode(array(a, b)) AS element",
]
#: Keywords that stand where columns could, beside a column of that name.
KEYWORDS = [
    "timestampdiff(HOUR, at, until)",
    "timestampadd(day, a, at)",
    "dateadd(DAY, a, at)",
    "datediff(day, at, until)",
    "datediff(at, until) + day",
    "timestampdiff(HOUR, at, until) + hour",
    "date_add(DAY, a, at)",
    "date_diff(MINUTE, at, until)",
    "extract(DAY FROM at) + day",
    "sum(a) OVER (ORDER BY at RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)",
    "sum(a) OVER (ORDER BY day ROWS BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING)",
    "extract(YEAR FROM at)",
    "extract(hour FROM at) + hour",
    "date_trunc('HOUR', at)",
    "INTERVAL '1' DAY",
    "at + INTERVAL 1 day - INTERVAL '2 hour'",
    "at + INTERVAL 1 DAY 2 HOURS",
    "cast(s AS int)",
    "cast(int AS int)",
    "int(a)",
    "int + a",
    "s::int",
    "coalesce(hour, day, year)",
    "trim(both)",
    "trim(leading || s)",
    "trim(BOTH 'x' FROM s)",
    "trim(TRAILING t FROM s || leading)",
    "trim(leading leading FROM upper(s))",
    "trim(t FROM s)",
    "first(first)",
    "sum(a) OVER (ORDER BY first NULLS FIRST)",
    "CASE WHEN a > 1 THEN end END",
    "array[0]",
    "array(a)[0]",
]
REFUSED = [
    "exists(array(a), x -> x > b)",
    "aggregate(numbers, 0, (acc, X) -> acc + x)",
    "a IN (SELECT b FROM t)",
    "(SELECT max(b) FROM t)",
    "EXISTS (SELECT 1)",
    "trim(leading FROM s)",
    "trim(BOTH FROM s)",
    "substring(s FROM a FOR b)",
    "interval - 1",
    "interval + a",
    "interval x",
    "INTERVAL a HOURS",
    "extract(week(monday) FROM at)",
    "f(all)",
    "coalesce(distinct, a)",
    "sum(a) OVER named",
    "sum(a) OVER (named ORDER BY b)",
    "current_date > at",
    "identifier('a')",
    "struct(* EXCEPT (a))",
    "rows.* EXCEPT (a)",
    "a AT TIME ZONE s",
    "a.b.f(c)",
    "f(name => a)",
    "a -- b",
    "a /* b */",
    ":parameter",
    "?",
    "${variable}",
    '"a"',
    's = "it\'s a"',
    "a b c",
    "a, b",
    "a; b",
    "SELECT a",
    "DROP TABLE t",
    "a +",
    "(a",
    "CASE WHEN a THEN b",
    "'a",
    "",
]


@pytest.fixture(scope="module")
def rows(each_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, DataFrame]:
    """The path of an empty table, and the table as `rows`."""
    path = str(tmp_path_factory.mktemp("rows") / "rows.parquet")
    each_engine.session.createDataFrame([], SCHEMA).write.parquet(path)
    return path, each_engine.session.read.schema(SCHEMA).parquet(path).alias("rows")


def lineage_of(rows: tuple[str, DataFrame], *expressions: str) -> ColumnLineage:
    path, table = rows
    return column_lineage(table.selectExpr(*expressions), {path: "silver/d/rows"})


def sources(lineage: ColumnLineage) -> dict[str, set[tuple[str, str]] | str]:
    """Short form: the source columns and their transformation, or the reason for an unknown column."""
    return {
        name: origin.reason
        if isinstance(origin, Unknown)
        else {(source.column, source.transformation) for source in origin}
        for name, origin in lineage.columns.items()
    }


@pytest.mark.parametrize("sql", [*EXPRESSIONS, *KEYWORDS])
def test_an_expression_has_the_source_columns_that_the_engine_needs(rows: tuple[str, DataFrame], sql: str) -> None:
    _, table = rows
    lineage = lineage_of(rows, sql)
    (direct,) = lineage.columns.values()
    assert not isinstance(direct, Unknown)
    assert not lineage.indirect_unknown
    needed = {source.column for source in direct} | {column.column for column in lineage.indirect}
    assert table.select(*(f"`{name.replace('`', '``')}`" for name in needed)).alias("rows").selectExpr(sql).columns
    for name in needed:
        with pytest.raises(AnalysisException):
            _ = table.drop(name).alias("rows").selectExpr(sql).columns


@pytest.mark.parametrize("sql", REFUSED)
def test_an_expression_whose_meaning_is_not_certain_is_refused(sql: str) -> None:
    assert parse_expression(sql) is None


def test_a_window_in_sql_affects_the_rows_and_its_function_aggregates(rows: tuple[str, DataFrame]) -> None:
    lineage = lineage_of(
        rows, "sum(a + 1) OVER (PARTITION BY s ORDER BY b) AS total", "rank() OVER (ORDER BY c) AS rank"
    )
    assert sources(lineage) == {"total": {("a", "aggregation")}, "rank": set()}
    assert {(column.column, column.effect) for column in lineage.indirect} == {(name, "window") for name in "sbc"}


def test_a_filter_of_an_aggregate_decides_its_value(rows: tuple[str, DataFrame]) -> None:
    lineage = lineage_of(rows, "count(*) AS all_rows", "count(*) FILTER (WHERE a > 1) AS some_rows", "max(b) AS most")
    assert sources(lineage) == {"all_rows": set(), "some_rows": {("a", "aggregation")}, "most": {("b", "aggregation")}}


def test_a_count_of_distinct_rows_has_all_columns_as_sources(rows: tuple[str, DataFrame]) -> None:
    path, table = rows
    lineage = column_lineage(table.select("a", "b").selectExpr("count(DISTINCT *) AS n"), {path: "silver/d/rows"})
    assert sources(lineage) == {"n": {("a", "aggregation"), ("b", "aggregation")}}


def test_a_copy_under_another_name_is_an_identity_and_an_operation_is_not(rows: tuple[str, DataFrame]) -> None:
    lineage = lineage_of(rows, "(a) AS copied", "+b AS positive", "rows.pair.x AS field", "pair AS whole")
    assert sources(lineage) == {
        "copied": {("a", "identity")},
        "positive": {("b", "transformation")},
        "field": {("pair", "transformation")},
        "whole": {("pair", "identity")},
    }


def test_stars_in_sql_stand_for_their_columns(rows: tuple[str, DataFrame]) -> None:
    path, table = rows
    for sql in ("*", "rows.*"):
        lineage = column_lineage(table.select("a", "s").alias("rows").selectExpr(sql), {path: "silver/d/rows"})
        assert sources(lineage) == {"a": {("a", "identity")}, "s": {("s", "identity")}}


def test_a_chain_of_thousands_of_operators_is_read() -> None:
    parsed = parse_expression(" OR ".join(f"a = {n}" for n in range(3000)))
    assert parsed is not None
    assert sum(part.HasField("unresolved_attribute") for part in parsed.unresolved_function.arguments) == 3000


def test_an_expression_nested_too_deep_for_the_parser_is_refused() -> None:
    assert parse_expression("(" * 2000 + "a" + ")" * 2000) is None


def test_an_identifier_is_split_at_dots_outside_backticks() -> None:
    assert parse_identifier("a.`b.c`.`d``e`") == ("a", "b.c", "d`e")
