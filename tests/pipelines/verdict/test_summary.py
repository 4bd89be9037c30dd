"""The verdict over staged rows: its counts, what refuses a version, and lost, doubled or replaced rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.errors import VerdictError
from pipelines.tables import MALFORMED, RESCUED
from pipelines.verdict import verdict
from tests.pipelines.verdict.judged_blocks import Row, blocks, codes, distinct, judged_frame, judging, summary

#: A rule, what it observes of the rows of the test below, and whether it passes.
TABLE_RULES: list[tuple[dict[str, Any], float | None, bool]] = [
    ({"type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 2}, 2.0, True),
    ({"type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 3}, 2.0, False),
    ({"type": "library", "metric": "rowCount", "mustBe": 2}, 2.0, True),
    ({"type": "sql", "query": "avg(weight)", "mustBeBetween": [2, 3]}, 2.0, True),
    ({"type": "sql", "query": "avg(weight)", "mustBeLessOrEqualTo": 1.9}, 2.0, False),
    ({"type": "sql", "query": "max(case when part = 'nowhere' then 1 end)", "mustBeLessOrEqualTo": 9}, None, False),
]


def test_the_summary_counts_rows_by_broken_rule_and_measures_table_rules_on_clean_rows(
    each_engine: Engine, tmp_path: Path
) -> None:
    rules = [{"name": f"rule {number}", **rule} for number, (rule, _, _) in enumerate(TABLE_RULES)]
    changes = [
        {"weight": "1.5"},
        {"holes": "9"},
        {"holes": "9", "colour": "green"},
        {"weight": "2.5", "colour": "green"},
    ]
    rows = [*distinct(changes), {RESCUED: json.dumps({MALFORMED: "x"})}]
    result = summary(each_engine, blocks(tmp_path, quality=rules), rows)
    assert (result.rows_in, result.rows_clean, result.rows_quarantined) == (5, 2, 3)
    rows_by_broken_rule = {r.rule.name: r.rows for r in result.rules if r.rows}
    assert rows_by_broken_rule == {"holes_range": 2, "colour_set": 2, "malformed_row": 1}
    figures = [(r.observed, r.passed) for r in result.table_rules]
    assert figures == [(observed, passed) for _, observed, passed in TABLE_RULES]
    assert not result.passed


@pytest.mark.parametrize("rows_in", [2, 4])
def test_a_lost_or_doubled_row_raises_an_error(engine: Engine, contract: Contract, rows_in: int) -> None:
    with pytest.raises(VerdictError, match=f"{rows_in} rows in, 3 clean and 0 quarantined.*inner join"):
        summary(engine, contract, distinct([{}, {}, {}]), rows_in=rows_in)


def test_a_record_in_the_place_of_another_raises_an_error(each_engine: Engine, contract: Contract) -> None:
    judged = judged_frame(each_engine, contract, distinct([{}, {}, {}]))
    arrived = verdict.fingerprint(judged)
    assert arrived == verdict.fingerprint(judged.orderBy(F.col("_record_id").desc()))
    swapped = judged.withColumn("_record_id", F.regexp_replace("_record_id", "2", "1"))
    with pytest.raises(VerdictError, match="of other records"):
        verdict.summarize(swapped, contract, rows_in=arrived.rows, record_hash=arrived.hash)


THREE_ROWS = {"name": "three_rows", "type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 3}


def test_a_failed_table_rule_refuses_the_version_with_the_observed_figure(engine: Engine, tmp_path: Path) -> None:
    contract = blocks(tmp_path, quality=[THREE_ROWS])
    error = summary(engine, contract, distinct([{}])).refuse()
    assert (error.object, error.observed) == ("table silver/toys/blocks", "three_rows saw 1.0")
    assert error.expected == "three_rows >= 3"


def test_a_failed_warning_does_not_refuse_the_version(engine: Engine, tmp_path: Path) -> None:
    result = summary(engine, blocks(tmp_path, quality=[THREE_ROWS | {"severity": "warning"}]), distinct([{}]))
    assert (result.table_rules[0].passed, result.passed) == (False, True)


def test_one_value_that_breaks_a_frozen_type_refuses_the_version(engine: Engine, tmp_path: Path) -> None:
    frozen = blocks(tmp_path, drift={"data_type": "freeze"})
    rows = distinct([{}, {"holes": "four"}, {"holes": "five"}, {"weight": "heavy"}, {"weight": "0.1"}])
    result = summary(engine, frozen, rows)
    assert not result.passed
    assert result.refuse().observed == "2 rows break holes_type; 1 rows break weight_type"
    assert "frozen" in result.refuse().expected
    assert summary(engine, frozen, distinct([{}, {"holes": "9"}])).passed


#: Rows with valid and invalid values, and with keys that repeat.
DIRTY = st.fixed_dictionaries(
    {
        "part": st.sampled_from(["a", "A", "b ", "b", "c", "", None]),
        "made": st.sampled_from(["2013-05-06", "2013-05-07", "2013-02-30", "NA", None]),
        "holes": st.sampled_from(["1", "8", "9", "x", "", None]),
        "weight": st.sampled_from(["0.5", "2.5", "400", "-1", "NaN", "x", None]),
        "colour": st.sampled_from(["red", "blue", "green", None]),
        "code": st.sampled_from(["AA", "A", None]),
        "maker": st.sampled_from(["Ole", "Nobody", None]),
        "edition": st.sampled_from(["1", "2", "x", None]),
    }
)


@pytest.mark.spark
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(DIRTY, min_size=1, max_size=40))
def test_both_engines_give_each_row_the_same_reasons(
    engine: Engine, spark: Engine, contract: Contract, rows: list[Row]
) -> None:
    reasons = [
        [(row["_record_id"], row["_verdict"], codes(row), codes(row, "warning")) for row in judging(e, contract)(*rows)]
        for e in (engine, spark)
    ]
    assert reasons[0] == reasons[1]
    first, second = (summary(e, contract, rows) for e in (engine, spark))
    assert [(r.rule.name, r.rows) for r in first.rules] == [(r.rule.name, r.rows) for r in second.rules]
    assert {v.rows_clean + v.rows_quarantined for v in (first, second)} == {len(rows)}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(DIRTY, min_size=1, max_size=40))
def test_whatever_arrives_each_row_is_clean_or_quarantined_once(
    engine: Engine, contract: Contract, rows: list[Row]
) -> None:
    judged = judged_frame(engine, contract, rows).toArrow().to_pylist()
    assert sorted(row["_record_id"] for row in judged) == [f"r{n:04d}" for n in range(len(rows))]
    for row in judged:
        assert row["_verdict"] == ("quarantine" if codes(row) else "clean")
        assert (row["_row"] is None) == (row["_verdict"] == "clean")
    clean = [(row["part"].strip().lower(), row["made"]) for row in judged if row["_verdict"] == "clean"]
    assert len(clean) == len(set(clean))
    # A row is never the duplicate of a rejected row: of the rows of a key without other errors, one is clean.
    about_keys = {"duplicate_key", "key_variant"}
    keys = {(r["part"].strip().lower(), r["made"]) for r in judged if set(codes(r)) <= about_keys}
    assert keys == set(clean)
