"""Table rules of a table that increments are merged into: they hold for the table, not for a batch of it."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.medallion.decorators import silver_asset
from tests.pipelines.toy_contracts import integer, text
from tests.pipelines.toy_pipeline import COLUMNS, MakePipeline, as_arrived, failure_message

ONE_EACH = {
    "name": "one_each", "type": "library", "metric": "duplicateValues", "arguments": {"properties": ["holes"]}, "mustBe": 0,
}  # fmt: skip
AT_MOST_TWO = {"name": "few", "type": "library", "metric": "rowCount", "mustBeLessOrEqualTo": 2}
SUM = {"name": "sum", "type": "sql", "query": "sum(holes)", "mustBe": 3}


@pytest.mark.parametrize(
    ("rule", "winner", "rows", "fails"),
    [
        (ONE_EACH, "_ingest_id desc", ["c,1,1"], True),  # `a` has it in the table
        (ONE_EACH, "_ingest_id desc", ["c,3,1"], False),
        (ONE_EACH, "_ingest_id desc", ["a,2,1", "b,1,1"], False),  # they swap
        (ONE_EACH, "weight desc", ["a,2,0", "b,2,2"], False),  # the first loses against the row in the table
        (AT_MOST_TWO, "_ingest_id desc", ["c,3,1"], True),
        (AT_MOST_TWO, "_ingest_id desc", ["a,3,1"], False),  # replaces a row
        (AT_MOST_TWO, "_ingest_id desc", ["a,3,1", "c,x,1"], False),  # a rejected row is none of the table
        (SUM, "_ingest_id desc", ["a,2,1", "b,1,1", "c,0,1"], False),
        (SUM, "_ingest_id desc", ["a,2,1"], True),
        (SUM, "_ingest_id desc", ["a,2,1", "b,1,1"], False),
        (SUM, "weight desc", ["a,2,0"], False),
    ],
)
def test_a_table_rule_of_increments_is_measured_on_the_table_with_the_batch_merged(
    make_pipeline: MakePipeline, rule: dict[str, Any], winner: str, rows: list[str], fails: bool
) -> None:
    pipeline = make_pipeline(silver={"quality": [rule], "winner": winner})
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land("part,holes,weight\na,1,1\nb,2,1\n")
    assert pipeline.run(pipeline.bronze, silver).success
    before = pipeline.rows("silver")
    pipeline.land("\n".join(["part,holes,weight", *rows, ""]), name="b.csv")
    result = pipeline.run(pipeline.bronze, silver)
    assert result.success != fails
    if fails:
        assert f"{rule['name']} saw " in failure_message(result)
        assert pipeline.rows("silver") == before


def test_a_unique_column_beside_the_key_of_increments_is_refused_with_the_rule_to_write(
    make_pipeline: MakePipeline,
) -> None:
    columns = [*COLUMNS, text("maker", unique=True), integer("year")]
    pipeline = make_pipeline(columns=columns)
    pipeline.land("part,holes,weight,maker,year\na,1,1,m,1\n")
    message = failure_message(pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived)))
    assert "metric: duplicateValues, arguments: {properties: [maker]}, mustBe: 0" in message
