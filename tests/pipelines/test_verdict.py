"""Every kind of rule on a handful of rows, with the same verdict on both engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from pipelines import verdict
from pipelines.contracts import Contract
from pipelines.engine import Engine
from pipelines.errors import VerdictError
from pipelines.ingestion import MALFORMED, RESCUED
from pipelines.tables import TableId
from tests.pipelines import toys
from tests.pipelines.toys import number, row_rule, text, whole

Row = dict[str, Any]
Judge = Callable[..., list[Row]]
MAKERS = TableId("silver", "toys", "makers")
NAMES = ["part", "made", "holes", "weight", "colour", "code", "maker", "shop", "sold", "boxed", "edition"]
GOOD = {
    "part": "brick", "made": "2013-05-06", "holes": "4", "weight": "2.5", "colour": "red", "code": "AB",
    "maker": "Ole", "shop": "North", "sold": "2013-05-06T07:08:09Z", "boxed": "true", "edition": "1",
}  # fmt: skip


def reference(to: str, severity: str) -> dict[str, Any]:
    return {"type": "foreignKey", "to": to, "customProperties": [{"property": "severity", "value": severity}]}


def blocks(folder: Path, **more: Any) -> Contract:
    """Blocks by part and day; `weight_per_hole` is computed by the transform, `colour` of old blocks is only warned about."""
    properties = [
        text("part", primaryKey=True, primaryKeyPosition=1, required=True),
        {"name": "made", "logicalType": "date", "description": "d", "primaryKey": True, "primaryKeyPosition": 2, "required": True},
        whole("holes", logicalTypeOptions={"minimum": 1, "maximum": 8}),
        number("weight", logicalTypeOptions={"minimum": 0.5}, transformSourceObjects=["weight"]),
        text("colour", enum=[{"value": "red"}, {"value": "blue"}], customProperties=[{"property": "severity", "value": "warning"}]),
        text("code", logicalTypeOptions={"pattern": "^[A-Z]{2}$"}),
        text("maker", relationships=[reference("silver.toys.makers.name", "error")]),
        text("shop_name", transformSourceObjects=["shop"], relationships=[reference("silver.toys.makers.shop", "warning")]),
        {"name": "sold", "logicalType": "timestamp", "description": "When."},
        {"name": "boxed", "logicalType": "boolean", "description": "Whether."},
        whole("edition"),
        number("weight_per_hole", transformLogic="weight / holes", logicalTypeOptions={"maximum": 5}),
    ]  # fmt: skip
    more.setdefault("quality", [row_rule("heavy_is_red", "weight", "weight < 3 or colour = 'red'", description="why")])
    values: dict[str, Any] = {"nullTokens": ["", "NA"], "winner": "edition desc, code"} | more
    return toys.contract(folder, "silver/toys/blocks", properties, **values)


def bronze(engine: Engine, rows: Sequence[Row]) -> Any:
    texts = [*NAMES, RESCUED, "_record_id", "_source_uri", "_ingest_id", "_partition"]
    schema = pa.schema(
        [(name, pa.string()) for name in texts]
        + [("_source_row", pa.int64()), ("_ingested_at", pa.timestamp("us", "UTC"))]
    )
    made = [
        {"_record_id": f"r{n:04d}", "_source_row": n + 2, "_source_uri": "u", "_ingest_id": "0", "_partition": "p"}
        | row
        for n, row in enumerate(rows)
    ]
    return engine.session.createDataFrame(pa.Table.from_pylist(made, schema=schema))


def run(engine: Engine, contract: Contract, rows: Sequence[Row]) -> Any:
    """The rows as the platform judges them, with the computed column."""
    session = engine.session
    makers = pa.table({"name": ["Ole", "Kit", "Ole", None], "shop": ["North", "South", "North", None]})
    typed = verdict.typed(bronze(engine, rows), contract)
    computed = typed.withColumn("weight_per_hole", F.when(F.col("holes") != 0, F.col("weight") / F.col("holes")))
    return verdict.judge(computed, contract, {MAKERS: session.createDataFrame(makers)})


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return blocks(tmp_path_factory.mktemp("contracts"))


def judging(engine: Engine, contract: Contract) -> Judge:
    def judge(*rows: Row, under: Contract = contract) -> list[Row]:
        found = run(engine, under, rows).toArrow().to_pylist()
        return sorted(found, key=lambda row: row["_record_id"])

    return judge


@pytest.fixture(scope="session")
def judged(engine: Engine, contract: Contract) -> Judge:
    """Rows as they are judged, in the order in which they were given."""
    return judging(engine, contract)


@pytest.fixture(scope="session")
def judged_by_each(each_engine: Engine, contract: Contract) -> Judge:
    """The same on both engines in turn."""
    return judging(each_engine, contract)


def codes(row: Row, severity: str = "error") -> list[str]:
    return sorted(reason["code"] for reason in row["_reasons"] if reason["severity"] == severity)


#: What is other than in a good row, and the codes of the errors and warnings that this gives.
CASES: list[tuple[Row, list[str], list[str]]] = [
    ({}, [], []),
    ({"part": None}, ["part_required"], []),
    ({"part": "NA"}, ["part_required"], []),
    ({"made": ""}, ["made_required"], []),
    ({"made": "2013-02-30"}, ["made_required", "made_type"], []),
    ({"made": "soon"}, ["made_required", "made_type"], []),
    ({"holes": "four"}, ["holes_type"], []),
    ({"holes": "4.0"}, ["holes_type"], []),
    ({"holes": "99999999999"}, ["holes_type"], []),
    ({"holes": "1", "weight": "1"}, [], []),
    ({"holes": "8"}, [], []),
    ({"holes": "0"}, ["holes_range"], []),
    ({"holes": "9"}, ["holes_range"], []),
    ({"holes": " 4 "}, [], []),
    ({"weight": "0.5"}, [], []),
    ({"weight": "0.4999"}, ["weight_range"], []),
    ({"weight": "-1e3"}, ["weight_range"], []),
    ({"weight": "1,5"}, ["weight_type"], []),
    ({"weight": "NaN"}, ["weight_per_hole_range"], []),
    ({"weight": "Infinity"}, ["weight_per_hole_range"], []),
    ({"weight": "40"}, ["weight_per_hole_range"], []),
    ({"colour": "green"}, [], ["colour_set"]),
    ({"colour": "Red"}, [], ["colour_set"]),
    ({"code": "ABC"}, ["code_pattern"], []),
    ({"code": "ab"}, ["code_pattern"], []),
    ({"maker": "Kit", "shop": "South"}, [], []),
    ({"maker": "Nobody"}, ["maker_in_makers"], []),
    ({"shop": "East"}, [], ["shop_name_in_makers"]),
    ({"sold": "2013-05-06"}, [], []),
    ({"sold": "yesterday"}, ["sold_type"], []),
    ({"boxed": "maybe"}, ["boxed_type"], []),
    ({"weight": "3.5", "colour": "blue"}, ["heavy_is_red"], []),
    ({"weight": "2.9", "colour": "blue"}, [], []),
    ({"weight": "3.5", "colour": "green", "code": "?"}, ["code_pattern", "heavy_is_red"], ["colour_set"]),
]  # fmt: skip


def distinct(rows: Sequence[Row]) -> list[Row]:
    """Rows that no key doubles."""
    return [GOOD | {"part": f"part {n}"} | row for n, row in enumerate(rows)]


def test_each_kind_of_rule_is_broken_by_what_it_forbids_and_by_nothing_else(
    judged_by_each: Judge,
) -> None:
    rows = judged_by_each(*distinct([changes for changes, _, _ in CASES]))
    found = [(changes, codes(row), codes(row, "warning")) for (changes, _, _), row in zip(CASES, rows, strict=True)]
    assert found == CASES
    assert [row["_verdict"] for row in rows] == ["quarantine" if errors else "clean" for _, errors, _ in CASES]


def test_null_breaks_nothing_but_required(judged: Judge) -> None:
    optional = [name for name in NAMES if name not in ("part", "made")]
    rows = judged(*distinct([{name: None} for name in optional]), GOOD | dict.fromkeys(optional))
    assert [codes(row) + codes(row, "warning") for row in rows] == [[]] * (len(optional) + 1)


def test_texts_become_values_of_the_contracts_types(judged: Judge) -> None:
    [row] = judged(GOOD)
    expected = {"part": "brick", "made": date(2013, 5, 6), "holes": 4, "weight": 2.5, "shop_name": "North"}
    expected |= {"sold": datetime(2013, 5, 6, 7, 8, 9, tzinfo=UTC), "boxed": True, "weight_per_hole": 0.625}
    assert {name: row[name] for name in expected} == expected
    assert row["_row"] is None


def test_a_quarantined_row_keeps_what_arrived_and_says_what_was_wrong(judged: Judge) -> None:
    [row] = judged(GOOD | {"holes": "four", "code": ""})
    assert json.loads(row["_row"]) == {**GOOD, "holes": "four", "code": ""}
    assert row["_reasons"] == [
        {"code": "holes_type", "column": "holes", "rule": "type int", "value": "four", "severity": "error"}
    ]


def test_a_line_that_was_no_row_is_quarantined_whole(judged: Judge) -> None:
    [row] = judged({RESCUED: json.dumps({MALFORMED: "a,b"})})
    assert codes(row) == ["made_required", "malformed_row", "part_required"]
    assert "a,b" in row["_reasons"][0]["value"]
    assert json.loads(json.loads(row["_row"])[RESCUED]) == {MALFORMED: "a,b"}


@pytest.mark.parametrize(
    ("drift", "expected"), [("discard_value", []), ("freeze", []), ("evolve", []), ("discard_row", ["unknown_column"])]
)
def test_an_unknown_column_costs_the_row_only_where_the_contract_says_so(
    judged: Judge, tmp_path: Path, drift: str, expected: list[str]
) -> None:
    [row] = judged(GOOD | {RESCUED: '{"price": "9"}'}, under=blocks(tmp_path, drift={"columns": drift}))
    assert codes(row) == expected


def test_a_value_that_its_type_cannot_hold_costs_only_the_value_where_the_contract_says_so(
    judged: Judge, tmp_path: Path
) -> None:
    [row] = judged(GOOD | {"holes": "four"}, under=blocks(tmp_path, drift={"data_type": "discard_value"}))
    assert (row["_verdict"], row["holes"], codes(row, "warning")) == ("clean", None, ["holes_type"])


def test_of_rows_with_one_key_the_declared_winner_stays(judged_by_each: Judge) -> None:
    editions = [("1", "AA"), ("3", "AC"), ("3", "AB"), (None, "AA")]
    declared = [GOOD | {"edition": edition, "code": code} for edition, code in editions]
    broken = [
        GOOD | {"part": "never with an error", "edition": "9", "holes": "0"},
        GOOD | {"part": "never with an error"},
    ]
    equal = [GOOD | {"part": "the first record"}] * 3
    rows = judged_by_each(*declared, *broken, *equal)
    lost = ["duplicate_key"]
    assert [codes(row) for row in rows] == [lost, lost, [], lost, [*lost, "holes_range"], [], [], lost, lost]
    assert [row["_verdict"] == "clean" for row in rows] == [codes(row) == [] for row in rows]
    assert rows[0]["_reasons"][0]["value"] == "brick|2013-05-06"


def test_rows_without_a_whole_key_are_no_duplicates_of_each_other(judged: Judge) -> None:
    rows = judged(GOOD | {"part": None}, GOOD | {"part": None})
    assert [codes(row) for row in rows] == [["part_required"], ["part_required"]]


def summary(engine: Engine, contract: Contract, rows: Sequence[Row], *, rows_in: int | None = None) -> verdict.Verdict:
    judged = run(engine, contract, rows)
    return verdict.summarize(judged, contract, rows_in=len(rows) if rows_in is None else rows_in)


TABLE_RULES: list[tuple[dict[str, Any], float | None, bool]] = [
    ({"type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 2}, 2.0, True),
    ({"type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 3}, 2.0, False),
    ({"type": "library", "metric": "rowCount", "mustBe": 2}, 2.0, True),
    ({"type": "sql", "query": "avg(weight)", "mustBeBetween": [2, 3]}, 2.0, True),
    ({"type": "sql", "query": "avg(weight)", "mustBeLessOrEqualTo": 1.9}, 2.0, False),
    ({"type": "sql", "query": "max(case when part = 'nowhere' then 1 end)", "mustBeLessOrEqualTo": 9}, None, False),
]


def test_the_verdict_counts_rows_by_broken_rule_and_table_rules_see_the_clean_ones(
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
    found = summary(each_engine, blocks(tmp_path, quality=rules), rows)
    assert (found.rows_in, found.rows_clean, found.rows_quarantined) == (5, 2, 3)
    broken = {result.rule.name: result.rows for result in found.rules if result.rows}
    assert broken == {"holes_range": 2, "colour_set": 2, "malformed_row": 1, "part_required": 1, "made_required": 1}
    assert [(r.observed, r.passed) for r in found.table_rules] == [(seen, passed) for _, seen, passed in TABLE_RULES]
    assert not found.passed


@pytest.mark.parametrize("rows_in", [2, 4])
def test_rows_that_vanish_or_double_are_refused(engine: Engine, contract: Contract, rows_in: int) -> None:
    with pytest.raises(VerdictError, match=f"{rows_in} rows in, 3 clean and 0 quarantined.*inner join"):
        summary(engine, contract, distinct([{}, {}, {}]), rows_in=rows_in)


SOME = {"name": "some", "type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 3}


def test_a_failed_table_rule_is_refused_with_what_it_saw(engine: Engine, tmp_path: Path) -> None:
    contract = blocks(tmp_path, quality=[SOME])
    error = summary(engine, contract, distinct([{}])).refuse()
    assert (error.object, error.observed) == ("table silver/toys/blocks", "some saw 1.0")
    assert error.expected == "some within [3, None]"


def test_a_table_rule_that_only_warns_refuses_nothing(engine: Engine, tmp_path: Path) -> None:
    found = summary(engine, blocks(tmp_path, quality=[SOME | {"severity": "warning"}]), distinct([{}]))
    assert (found.table_rules[0].passed, found.passed) == (False, True)


DIRTY = st.fixed_dictionaries(
    {
        "part": st.sampled_from(["a", "b", "c", "", None]),
        "made": st.sampled_from(["2013-05-06", "2013-05-07", "2013-02-30", "NA", None]),
        "holes": st.sampled_from(["1", "8", "9", "x", "", None]),
        "weight": st.sampled_from(["0.5", "2.5", "400", "-1", "NaN", "x", None]),
        "colour": st.sampled_from(["red", "blue", "green", None]),
        "code": st.sampled_from(["AA", "A", None]),
        "maker": st.sampled_from(["Ole", "Nobody", None]),
        "edition": st.sampled_from(["1", "2", "x", None]),
    }
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(DIRTY, min_size=1, max_size=40))
def test_whatever_arrives_each_row_is_clean_or_quarantined_once(
    engine: Engine, contract: Contract, rows: list[Row]
) -> None:
    found = run(engine, contract, rows).toArrow().to_pylist()
    assert sorted(row["_record_id"] for row in found) == [f"r{n:04d}" for n in range(len(rows))]
    for row in found:
        assert row["_verdict"] == ("quarantine" if codes(row) else "clean")
        assert (row["_row"] is None) == (row["_verdict"] == "clean")
    clean = [(row["part"], row["made"]) for row in found if row["_verdict"] == "clean"]
    assert len(clean) == len(set(clean))
    # Nobody is a duplicate of a row that is not there: where a key has a row without other errors, one of them is clean.
    keys = {(r["part"], r["made"]) for r in found if set(codes(r)) <= {"duplicate_key"}}
    assert keys == set(clean)
