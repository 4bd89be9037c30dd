"""The SQL of rules reads the table's own rows, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.contracts import sql
from pipelines.errors import ContractError

PATH = Path("contract.yaml")
COLUMNS = ["a", "c", "order id"]


@pytest.mark.parametrize(
    "text",
    [
        "a < 9 OR c = 'red'", "avg(`order id`)", "count(*)", "timestampdiff(HOUR, a, c) > 3", "a - interval 1 day < c",
        "extract(day from a) = 1", "exists(array(a, c), x -> x > 1)", "trim(BOTH 'x' FROM a) = 'b'", "a in ('--', '/*')",
        "sum(case when a <= c then 1 else 0 end)", "count_if(NOT (CAST(`a` AS string) RLIKE '[0-9]'))", "_partition = a",
    ],
)  # fmt: skip
def test_an_expression_over_the_columns_is_taken(text: str) -> None:
    sql.require_expression(PATH, text, ["query"], columns=[*COLUMNS, "_partition"])


@pytest.mark.parametrize(
    "text",
    [
        "1 from parquet.`/etc/passwd`", "(select max(a) from parquet.`/x`)", "a in (select b from csv.`/x`)", "a; drop table x",
        "exists (select 1 from other)", "reflect('java.lang.System', 'getenv', 'PATH') = 'x'", "java_method('a', 'b')",
        "a, c", "a where c", "a limit 1", "a /* x */", "a -- x", "*", "", "a > (", "a > ?", "input_file_name() = 'a'", "b > 1",
    ],
)  # fmt: skip
def test_sql_that_reads_or_does_something_else_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match="contract contract.yaml, query: "):
        sql.require_expression(PATH, text, ["query"], columns=COLUMNS)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT count(*) FROM {table} WHERE a > 900", "SELECT count(*) FROM ${table}",
        "with x as (select a, count(*) n from {table} group by a) select max(n) from x",
        "select max(n) from (select a, count(*) n from {table} group by a)",
        "select count(*) from {table} t where exists (select 1 from {table} u where u.a = t.a)",
        "select count(*) from {table} lateral view explode(array(a)) t as y", "(select 1 from {table}) union all (select 2 from {table})",
    ],
)  # fmt: skip
def test_a_query_over_the_table_is_taken(text: str) -> None:
    assert sql.is_query(text)
    sql.require_query(PATH, text, ["query"])


@pytest.mark.parametrize(
    "text",
    [
        "select count(*) from parquet.`/x`", "select count(*) from {table} join delta.`/x` on true", "select 1",
        "select count(*) from other", "select * from range(5), {table}", "select * from read_files('/x'), {table}",
        "select * from identifier('parquet.`/x`'), {table}", "select transform(a) using 'cat' as x from {table}",
        "with x as (select * from csv.`/x`) select * from x, {table}", "select * from {table}; select 1", "drop table x",
        "insert into {table} select 1", "select * from 'x', {table}", "select count(*) from text.`/etc/passwd` {table}",
        "select * from {table} where a = (select value from text.`/x`)", "select reflect('a', 'b') from {table}",
    ],
)  # fmt: skip
def test_a_query_over_something_else_than_the_table_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match="contract contract.yaml, query: "):
        sql.require_query(PATH, text, ["query"])
