"""Every kind of rule on a handful of rows, with the same verdict on both engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from pipelines.contracts.model import Column, Contract
from pipelines.engine.session import Engine
from pipelines.errors import ContractError, VerdictError
from pipelines.tables import MALFORMED, RESCUED, TableId
from pipelines.verdict import text_values, verdict
from tests.pipelines import toys
from tests.pipelines.toys import number, row_rule, text, whole

Row = dict[str, Any]
Judge = Callable[..., list[Row]]
MAKERS = TableId("silver", "toys", "makers")
NOW = datetime(2013, 5, 8, tzinfo=UTC)
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
    ({"made": "2013-02-30"}, ["made_type"], []),
    ({"made": "soon"}, ["made_type"], []),
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
    ({"weight": "NaN"}, ["weight_type"], []),
    ({"weight": "-Infinity"}, ["weight_type"], []),
    ({"weight": "1e400"}, ["weight_type"], []),
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
    assert codes(row) == ["malformed_row"]
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


def summary(
    engine: Engine, contract: Contract, rows: Sequence[Row], *, rows_in: int | None = None, **more: Any
) -> verdict.Verdict:
    judged = run(engine, contract, rows)
    arrived = verdict.fingerprint(bronze(engine, rows))
    count = arrived.rows if rows_in is None else rows_in
    return verdict.summarize(judged, contract, rows_in=count, record_hash=arrived.hash, now=NOW, **more)


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
    assert broken == {"holes_range": 2, "colour_set": 2, "malformed_row": 1}
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
    assert error.expected == "some >= 3"


def test_a_table_rule_that_only_warns_refuses_nothing(engine: Engine, tmp_path: Path) -> None:
    found = summary(engine, blocks(tmp_path, quality=[SOME | {"severity": "warning"}]), distinct([{}]))
    assert (found.table_rules[0].passed, found.passed) == (False, True)


@dataclass(frozen=True)
class Texts:
    """A column's physical type and custom properties, the texts that it takes with their values, and those it does not."""

    type: str
    taken: dict[str, Any]
    refused: list[str]
    properties: dict[str, str] = field(default_factory=dict)


NOON = datetime(2013, 2, 3, 12, 0, tzinfo=UTC)
TEXTS = {
    "int": Texts("int", {"5": 5, " 5\t": 5, "+5": 5, "-0": 0, "007": 7}, ["5.0", "1e3", "0x1F", "1_000", "", "2147483648", "\x005", "\uff11\uff12"]),
    "bigint": Texts("bigint", {"2147483648": 2**31}, ["9223372036854775808", "true"]),
    "double": Texts("double", {"5": 5.0, "1e3": 1000.0, ".5": 0.5, "5.": 5.0}, ["NaN", "-inf", "Infinity", "1e400", "1.5d", "1,5", "0x1"]),
    "any double": Texts("double", {"-inf": float("-inf"), "+Infinity": float("inf"), "1e400": float("inf")}, ["nana"], {"nonFinite": "allowed"}),
    "float": Texts("float", {"0.5": 0.5}, ["nan", "1e39", "1.5f"]),
    "decimal": Texts(
        "decimal(6,2)", {"1.25": Decimal("1.25"), "1.5": Decimal("1.50"), "1.2500": Decimal("1.25"), "-.25": Decimal("-0.25"), " 9999.99 ": Decimal("9999.99")},
        ["1.234", "10000", "1e3", "NaN", "\u00a05"],
    ),
    "decimal without decimals": Texts("decimal(6, 0)", {"7": Decimal(7), "7.00": Decimal(7)}, ["7.5", "1000000"]),
    "boolean": Texts("boolean", {"true": True, " TRUE ": True, "t": True, "yes": True, "1": True, "0": False, "n": False}, ["2", "on", "ja", "1.0"]),
    "date": Texts("date", {"2013-02-03": date(2013, 2, 3), " 2013-2-3 ": date(2013, 2, 3)}, ["2013-02-30", "2013", "2013-02", "20130203", "03/02/2013", "2013-02-03T00:00:00", "0000-01-01", "12013-02-03"]),
    "timestamp": Texts(
        "timestamp",
        {"2013-02-03 12:00": NOON, "2013-02-03T12:00:00Z": NOON, "2013-02-03 14:00:00+02:00": NOON, "2013-02-03T12:00:00.000000123": NOON, "2013-02-03": NOON.replace(hour=0)},
        ["12:00:00", "0999-12-31T12:00:00Z", "2013-02-03 25:00:00", "2013-02-03 12:00:60", "2013-02-30 12:00:00", "now", "2013-02-03 12"],
    ),
    "clock": Texts("timestamp", {"2013-02-03 07:00:00": NOON, "2013-07-01": datetime(2013, 7, 1, 4, tzinfo=UTC)}, ["2013-02-03T12:00:00Z"], {"timezone": "America/New_York"}),
}  # fmt: skip
LOGICAL = {"int": "integer", "bigint": "integer", "boolean": "boolean", "date": "date", "timestamp": "timestamp"}


@pytest.mark.parametrize("case", TEXTS)
def test_both_engines_take_the_same_texts_for_values(each_engine: Engine, tmp_path: Path, case: str) -> None:
    texts = TEXTS[case]
    found = {"name": "holes", "logicalType": LOGICAL.get(texts.type, "number"), "physicalType": texts.type}
    found["customProperties"] = [{"property": k, "value": v} for k, v in texts.properties.items()]  # type: ignore[assignment]
    contract = toys.contract(tmp_path, "silver/toys/blocks", [found])
    rows = bronze(each_engine, [{"holes": value} for value in (*texts.taken, *texts.refused)])
    judged = verdict.judge(verdict.typed(rows, contract, each_engine.kind), contract, {}).toArrow().to_pylist()
    judged = sorted(judged, key=lambda row: row["_record_id"])
    values = [None if row["_reasons"] else row["holes"] for row in judged]
    assert values == [*texts.taken.values(), *[None] * len(texts.refused)]
    assert [codes(row) for row in judged[len(texts.taken) :]] == [["holes_type"]] * len(texts.refused)


NUMERALS = st.text(st.sampled_from("0123456789+- \t\n\r\f\v.eEx_\u00a0\u0665\uff15"), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(NUMERALS, min_size=50, max_size=50))
@pytest.mark.parametrize("kind", text_values.EXACT_CASTS["embedded"])
def test_a_cast_that_is_taken_as_it_is_lets_through_what_the_grammar_does(
    sail: Engine, kind: str, texts: list[str]
) -> None:
    column = Column("holes", kind, "Holes.")
    slow, fast = text_values.read(F.col("text"), column), text_values.read(F.col("text"), column, "embedded")
    rows = sail.session.createDataFrame(pa.table({"text": texts}))
    rows = rows.select(slow.value.alias("slow"), fast.value.alias("fast")).toArrow()
    assert rows["slow"].to_pylist() == rows["fast"].to_pylist()


def clocks(folder: Path, **more: Any) -> Contract:
    zone = [{"property": "timezone", "value": "America/New_York"}]
    sold = {"name": "sold", "logicalType": "timestamp", "description": "d", "customProperties": zone}
    return toys.contract(folder, "silver/toys/blocks", [sold], **more)


def test_a_time_that_the_clocks_skipped_is_named_and_of_two_equal_ones_the_earlier_is_taken(
    each_engine: Engine, tmp_path: Path
) -> None:
    contract = clocks(tmp_path)
    texts = ["2013-03-10 01:59:59", "2013-03-10 02:30:00", "2013-03-10 03:00:00", "2013-11-03 01:30:00"]
    typed = verdict.typed(bronze(each_engine, [{"sold": text} for text in texts]), contract)
    found = sorted(verdict.judge(typed, contract, {}).toArrow().to_pylist(), key=lambda row: row["_record_id"])
    assert [codes(row) for row in found] == [[], ["sold_nonexistent"], [], []]
    times = [row["sold"] and row["sold"].strftime("%m-%d %H:%M:%S") for row in found]
    assert times == ["03-10 06:59:59", None, "03-10 07:00:00", "11-03 05:30:00"]


def test_keys_that_differ_by_case_or_space_are_one_and_the_winner_stays(judged_by_each: Judge) -> None:
    rows = [("brick", "1"), ("Brick", "3"), (" brick", "2"), ("Brick", "1"), ("brick 2", "9"), ("other\t", "1")]
    found = judged_by_each(*[GOOD | {"part": part, "edition": edition} for part, edition in rows])
    lost = ["key_variant"]
    assert [codes(row) for row in found] == [lost, [], lost, ["duplicate_key"], [], []]


def test_keys_may_be_told_apart_by_their_case(judged: Judge, tmp_path: Path) -> None:
    found = judged(GOOD, GOOD | {"part": "BRICK"}, under=blocks(tmp_path, keyMatch="exact"))
    assert [codes(row) for row in found] == [[], []]


def test_the_summary_notices_keys_that_repeat_in_another_spelling(engine: Engine, contract: Contract) -> None:
    rows = [GOOD | {"part": "a"}, GOOD | {"part": "b"}]
    assert not summary(engine, contract, rows).keys_repeat
    assert summary(engine, contract, [*rows, GOOD | {"part": "B "}]).keys_repeat


def test_bounds_may_be_exclusive_and_of_dates_and_lengths(each_engine: Engine, tmp_path: Path) -> None:
    made = {"name": "made", "logicalType": "date", "description": "d"}
    sold = {"name": "sold", "logicalType": "timestamp", "description": "d"}
    contract = toys.contract(
        tmp_path,
        "silver/toys/blocks",
        [
            whole("holes", logicalTypeOptions={"exclusiveMinimum": 1, "exclusiveMaximum": 8}),
            made | {"logicalTypeOptions": {"minimum": "2013-01-01", "exclusiveMaximum": "2014-01-01"}},
            sold | {"logicalTypeOptions": {"exclusiveMinimum": "2013-05-06T07:08:09Z"}},
            text("code", logicalTypeOptions={"minLength": 2, "maxLength": 3}),
            text("maker", unique=True),
            text("shop", logicalTypeOptions={"pattern": r"^\w\d.$"}),
        ],
    )
    rows = [
        {"holes": "1", "made": "2012-12-31", "sold": "2013-05-06 07:08:09", "code": "A", "maker": "x", "shop": "a1"},
        {
            "holes": "8",
            "made": "2014-01-01",
            "sold": "2013-05-06 07:08:10",
            "code": "ABCD",
            "maker": "X",
            "shop": "a\uff11x",
        },
        {"holes": "2", "made": "2013-01-01", "sold": None, "code": "äß", "maker": "x", "shop": "a1x\n"},
        {"holes": "7", "made": "2013-12-31", "sold": None, "code": "ABC", "maker": None, "shop": "_1é"},
        {"holes": None, "made": None, "sold": None, "code": None, "maker": None, "shop": None},
    ]
    judged = verdict.judge(verdict.typed(bronze(each_engine, rows), contract), contract, {}).toArrow().to_pylist()
    first = ["code_length", "holes_range", "made_range", "shop_pattern", "sold_range"]
    second = ["code_length", "holes_range", "made_range", "shop_pattern"]
    found = [codes(row) for row in sorted(judged, key=lambda row: row["_record_id"])]
    assert found == [[*first[:3], "maker_unique", *first[3:]], second, ["shop_pattern"], [], []]


def test_one_value_that_breaks_a_frozen_type_refuses_the_version(engine: Engine, tmp_path: Path) -> None:
    frozen = blocks(tmp_path, drift={"data_type": "freeze"})
    rows = distinct([{}, {"holes": "four"}, {"holes": "five"}, {"weight": "heavy"}, {"weight": "0.1"}])
    found = summary(engine, frozen, rows)
    assert not found.passed
    assert found.refuse().observed == "2 rows break holes_type; 1 rows break weight_type"
    assert "frozen" in found.refuse().expected
    assert summary(engine, frozen, distinct([{}, {"holes": "9"}])).passed


def test_an_evolving_type_keeps_the_text_beside_the_column(judged_by_each: Judge, tmp_path: Path) -> None:
    evolving = blocks(tmp_path, drift={"data_type": "evolve"})
    assert evolving.variant_columns[:2] == ["made__v_string", "holes__v_string"]
    assert evolving.published_columns == [*(c.name for c in evolving.columns), *evolving.variant_columns]
    [row, good] = judged_by_each(*distinct([{"holes": "four"}, {}]), under=evolving)
    assert (row["_verdict"], row["holes"], row["holes__v_string"]) == ("clean", None, "four")
    assert codes(row, "warning") == ["holes_type"]
    assert {good[name] for name in evolving.variant_columns} == {None}


def goldpath(name: str, **implementation: Any) -> dict[str, Any]:
    return {"name": name, "type": "custom", "engine": "goldpath", "implementation": implementation}


def metric(name: str, limit: int, *columns: str, unit: str = "rows", **arguments: Any) -> dict[str, Any]:
    found = {"name": name, "type": "library", "metric": name, "mustBeLessOrEqualTo": limit, "unit": unit}
    return found | {"arguments": {"properties": list(columns), **arguments}}


#: A rule, what it observes of the rows below, and whether that is what it asks.
FIGURES: list[tuple[dict[str, Any], float | None, bool]] = [
    (metric("nullValues", 0, "code"), 1, False),
    (metric("nullValues", 25, "code", unit="percent"), 25, True),
    (metric("missingValues", 1, "code", missingValues=["ZZ", None, "it's"]), 2, False),
    (metric("invalidValues", 1, "code", pattern=r"^[A-Z]{2}$", validValues=["AA", "BB"]), 1, True),
    (metric("duplicateValues", 0, "maker"), 3, False),
    (metric("duplicateValues", 0, "maker", "part"), 0, True),
    (metric("duplicateValues", 50, "code", unit="percent"), 25, True),
    ({"type": "library", "metric": "rowCount", "mustNotBe": 4}, 4, False),
    ({"type": "library", "metric": "rowCount", "mustBeGreaterThan": 4}, 4, False),
    ({"type": "library", "metric": "rowCount", "mustBeLessThan": 5}, 4, True),
    ({"type": "sql", "query": "avg(weight)", "mustNotBeBetween": [2, 3]}, 2.5, False),
    ({"type": "sql", "query": "SELECT count(*) FROM ${table} WHERE holes > 4", "mustBe": 1}, 1, True),
    ({"type": "sql", "query": "WITH x AS (SELECT * FROM {table}) SELECT max(holes) FROM x WHERE holes > 9", "mustBe": 1}, None, False),
    (goldpath("", freshness={"column": "sold", "max_age": "2d"}), 147_111, True),
    (goldpath("", freshness={"column": "sold", "max_age": "36h"}), 147_111, False),
    (goldpath("", distribution={"column": "maker", "shares": {"Ole": 1.0}}), 0.0, True),
    (goldpath("", distribution={"column": "maker", "shares": {"Ole": 0.5, "Kit": 0.5}}), 4.604, False),
    (goldpath("", distribution={"column": "holes", "edges": [4, 8], "shares": [0, 0.75, 0.25]}), 0.0, True),
    (goldpath("", distribution={"column": "holes", "edges": [4, 8], "shares": [0.25, 0.5, 0.25], "max_psi": 9}), 2.057, True),
    (goldpath("", distribution={"column": "code", "categories": ["AA", "BB"], "reference": "previous"}), 0.0, True),
]  # fmt: skip


def test_table_rules_observe_the_clean_rows(each_engine: Engine, tmp_path: Path) -> None:
    rules = [rule | {"name": f"rule {number}"} for number, (rule, _, _) in enumerate(FIGURES)]
    changes: list[Row] = [{"code": "AA"}, {"code": "AA", "holes": "8"}, {"code": None}, {"code": "ZZ"}, {"holes": "9"}]
    rows = [GOOD | {"part": f"{n}"} | change for n, change in enumerate(changes)]
    found = summary(each_engine, blocks(tmp_path, quality=rules), rows)
    assert found.rows_clean == 4
    shown = [(r.observed if r.observed is None else round(r.observed, 3), r.passed) for r in found.table_rules]
    assert shown == [(seen, passed) for _, seen, passed in FIGURES]


def test_shares_are_compared_with_those_of_the_version_before(engine: Engine, tmp_path: Path) -> None:
    asked = goldpath("mixed", distribution={"column": "maker", "categories": ["Ole"], "reference": "previous"})
    contract = blocks(tmp_path, quality=[asked])
    rows = distinct([{}, {}, {"maker": "Kit"}, {"maker": "Kit"}])
    first = summary(engine, contract, rows)
    assert (first.passed, first.table_rules[0].shares) == (True, (0.5, 0.5))
    assert summary(engine, contract, rows, previous={"mixed": (0.4, 0.6)}).passed
    moved = summary(engine, contract, rows, previous={"mixed": (0.05, 0.95)})
    assert not moved.passed
    assert moved.refuse().expected == "mixed <= 0.2"


def test_a_version_without_rows_proves_no_freshness_and_no_distribution(engine: Engine, tmp_path: Path) -> None:
    asked = [
        goldpath("fresh", freshness={"column": "sold", "max_age": "2d"}),
        goldpath("mixed", distribution={"column": "maker", "shares": {"Ole": 1}}),
    ]
    found = summary(engine, blocks(tmp_path, quality=asked), distinct([{"holes": "9"}]))
    assert [(r.observed, r.passed) for r in found.table_rules] == [(None, False)] * 2


@pytest.mark.parametrize("sql", ["wheight < 3", "weight < (3", "weight + 1", "CAST(part AS int) > 3"])
def test_wrong_sql_of_a_row_rule_is_named(each_engine: Engine, tmp_path: Path, sql: str) -> None:
    contract = blocks(tmp_path, quality=[row_rule("fine", "weight", "weight < 3"), row_rule("heavy", "weight", sql)])
    rows = verdict.typed(bronze(each_engine, [GOOD]), contract).withColumn("weight_per_hole", F.lit(1.0))
    makers = each_engine.session.createDataFrame(pa.table({"name": ["Ole"], "shop": ["North"]}))
    with pytest.raises(ContractError) as caught, verdict.sql_errors_named(rows, contract):
        verdict.judge(rows, contract, {MAKERS: makers}).toArrow()
    error = caught.value
    assert (sql in error.object, "rule heavy" in error.object, contract.path.name in error.object) == (True, True, True)
    assert len(str(error)) < 1000
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "sql", ["avg(wheight)", "avg(weight", "SELECT count(*) FROM {table} WHERE wheight > 1", "max(part)"]
)
def test_wrong_sql_of_a_table_rule_is_named(each_engine: Engine, tmp_path: Path, sql: str) -> None:
    asked = [
        {"name": "fine", "type": "sql", "query": "avg(weight)", "mustBeLessThan": 9},
        {"name": "wrong", "type": "sql", "query": sql, "mustBeLessThan": 9},
    ]
    contract = blocks(tmp_path, quality=asked)
    with pytest.raises(ContractError, match="rule wrong") as caught:
        summary(each_engine, contract, [GOOD])
    assert "\n" not in str(caught.value)


def test_an_error_that_no_rule_caused_passes_as_it_is(engine: Engine, contract: Contract) -> None:
    rows = run(engine, contract, [GOOD])
    with pytest.raises(PySparkException, match="Division by zero"), verdict.sql_errors_named(rows, contract):
        rows.select(F.expr("1 / (holes - holes)")).toArrow()


def test_a_record_in_place_of_another_is_noticed(each_engine: Engine, contract: Contract) -> None:
    judged = run(each_engine, contract, distinct([{}, {}, {}]))
    arrived = verdict.fingerprint(judged)
    assert arrived == verdict.fingerprint(judged.orderBy(F.col("_record_id").desc()))
    swapped = judged.withColumn("_record_id", F.regexp_replace("_record_id", "2", "1"))
    with pytest.raises(VerdictError, match="of other records"):
        verdict.summarize(swapped, contract, rows_in=arrived.rows, record_hash=arrived.hash)


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
    found = [judging(one, contract)(*rows) for one in (engine, spark)]
    shown = [[(row["_record_id"], row["_verdict"], codes(row), codes(row, "warning")) for row in one] for one in found]
    assert shown[0] == shown[1]
    sums = [summary(one, contract, rows) for one in (engine, spark)]
    assert [(r.rule.name, r.rows) for r in sums[0].rules] == [(r.rule.name, r.rows) for r in sums[1].rules]
    assert {one.rows_clean + one.rows_quarantined for one in sums} == {len(rows)}


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
    clean = [(row["part"].strip().lower(), row["made"]) for row in found if row["_verdict"] == "clean"]
    assert len(clean) == len(set(clean))
    # Nobody is a duplicate of a row that is not there: where a key has a row without other errors, one of them is clean.
    lost = {"duplicate_key", "key_variant"}
    keys = {(r["part"].strip().lower(), r["made"]) for r in found if set(codes(r)) <= lost}
    assert keys == set(clean)
