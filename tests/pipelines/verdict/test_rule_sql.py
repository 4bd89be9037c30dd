"""Errors of the engine in the SQL of rules: which rule they name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.errors import ContractError
from pipelines.verdict import verdict
from tests.pipelines.toy_contracts import row_rule
from tests.pipelines.verdict.judged_blocks import MAKERS, VALID, blocks, bronze, judged_frame, summary


@pytest.mark.parametrize("sql", ["wheight < 3", "weight + 1", "CAST(part AS int) > 3"])
def test_invalid_sql_of_a_row_rule_raises_an_error_that_names_the_rule(
    each_engine: Engine, tmp_path: Path, sql: str
) -> None:
    contract = blocks(tmp_path, quality=[row_rule("fine", "weight", "weight < 3"), row_rule("heavy", "weight", sql)])
    rows = verdict.typed(bronze(each_engine, [VALID]), contract).withColumn("weight_per_hole", F.lit(1.0))
    makers = each_engine.session.createDataFrame(pa.table({"name": ["Ole"], "shop": ["North"]}))
    with pytest.raises(ContractError) as caught, verdict.sql_errors_named(rows, contract):
        verdict.judge(rows, contract, {MAKERS: makers}).toArrow()
    error = caught.value
    assert (sql in error.object, "rule heavy" in error.object, contract.path.name in error.object) == (True, True, True)
    assert len(str(error)) < 1000
    assert "\n" not in str(error)


@pytest.mark.parametrize("sql", ["SELECT count(*) FROM {table} WHERE wheight > 1", "max(part)"])
def test_invalid_sql_of_a_table_rule_raises_an_error_that_names_the_rule(
    each_engine: Engine, tmp_path: Path, sql: str
) -> None:
    rules = [
        {"name": "fine", "type": "sql", "query": "avg(weight)", "mustBeLessThan": 9},
        {"name": "invalid", "type": "sql", "query": sql, "mustBeLessThan": 9},
    ]
    contract = blocks(tmp_path, quality=rules)
    with pytest.raises(ContractError, match="rule invalid") as caught:
        summary(each_engine, contract, [VALID])
    assert "\n" not in str(caught.value)


def test_an_engine_error_that_no_rule_causes_is_raised_as_it_is(engine: Engine, contract: Contract) -> None:
    rows = judged_frame(engine, contract, [VALID])
    with pytest.raises(PySparkException, match="Division by zero"), verdict.sql_errors_named(rows, contract):
        rows.select(F.expr("1 / (holes - holes)")).toArrow()
