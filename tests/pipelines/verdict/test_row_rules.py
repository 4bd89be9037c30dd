"""Row rules of each kind on a handful of rows, with the same result on both engines."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipelines.engine.session import Engine
from pipelines.tables import MALFORMED, RESCUED
from pipelines.verdict import verdict
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import integer, text
from tests.pipelines.verdict.judged_blocks import NAMES, VALID, Judge, Row, blocks, bronze, codes, distinct, in_order

#: Changes of the valid row, and the codes of the errors and of the warnings that they cause.
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


def test_each_value_breaks_exactly_the_rules_that_forbid_it(judged_on_each: Judge) -> None:
    rows = judged_on_each(*distinct([changes for changes, _, _ in CASES]))
    results = [(changes, codes(row), codes(row, "warning")) for (changes, _, _), row in zip(CASES, rows, strict=True)]
    assert results == CASES
    assert [row["_verdict"] for row in rows] == ["quarantine" if errors else "clean" for _, errors, _ in CASES]


def test_null_breaks_no_rule_but_required(judged: Judge) -> None:
    optional = [name for name in NAMES if name not in ("part", "made")]
    rows = judged(*distinct([{name: None} for name in optional]), VALID | dict.fromkeys(optional))
    assert [codes(row) + codes(row, "warning") for row in rows] == [[]] * (len(optional) + 1)


def test_texts_become_values_of_the_contracts_types(judged: Judge) -> None:
    [row] = judged(VALID)
    expected = {"part": "brick", "made": date(2013, 5, 6), "holes": 4, "weight": 2.5, "shop_name": "North"}
    expected |= {"sold": datetime(2013, 5, 6, 7, 8, 9, tzinfo=UTC), "boxed": True, "weight_per_hole": 0.625}
    assert {name: row[name] for name in expected} == expected
    assert row["_row"] is None


def test_a_rejected_row_keeps_the_arrived_row_and_its_reasons(judged: Judge) -> None:
    [row] = judged(VALID | {"holes": "four", "code": ""})
    assert json.loads(row["_row"]) == {**VALID, "holes": "four", "code": ""}
    assert row["_reasons"] == [
        {"code": "holes_type", "column": "holes", "rule": "type int", "value": "four", "severity": "error"}
    ]


def test_the_rule_of_a_reason_is_said_in_words(judged: Judge) -> None:
    rows = judged(
        *distinct([{"weight": "0.4"}, {"colour": "green"}, {"maker": "Nobody"}, {"code": "ab"}, {"part": None}])
    )
    said = [reason["rule"] for row in rows for reason in row["_reasons"]]
    assert said == [
        "range >= 0.5", "set red, blue", "reference silver/toys/makers.name", "pattern ^[A-Z]{2}$", "required",
    ]  # fmt: skip


def test_a_malformed_line_is_quarantined_with_its_text(judged: Judge) -> None:
    [row] = judged({RESCUED: json.dumps({MALFORMED: "a,b"})})
    assert codes(row) == ["malformed_row"]
    assert "a,b" in row["_reasons"][0]["value"]
    assert json.loads(json.loads(row["_row"])[RESCUED]) == {MALFORMED: "a,b"}


@pytest.mark.parametrize(
    ("drift", "expected"), [("discard_value", []), ("freeze", []), ("evolve", []), ("discard_row", ["unknown_column"])]
)
def test_an_unknown_column_rejects_the_row_only_with_drift_discard_row(
    judged: Judge, tmp_path: Path, drift: str, expected: list[str]
) -> None:
    [row] = judged(VALID | {RESCUED: '{"price": "9"}'}, under=blocks(tmp_path, drift={"columns": drift}))
    assert codes(row) == expected


def test_a_mistyped_value_becomes_null_with_drift_discard_value(judged: Judge, tmp_path: Path) -> None:
    [row] = judged(VALID | {"holes": "four"}, under=blocks(tmp_path, drift={"data_type": "discard_value"}))
    assert (row["_verdict"], row["holes"], codes(row, "warning")) == ("clean", None, ["holes_type"])


def test_an_evolving_type_keeps_the_text_beside_the_column(judged_on_each: Judge, tmp_path: Path) -> None:
    evolving = blocks(tmp_path, drift={"data_type": "evolve"})
    assert evolving.variant_columns[:2] == ["made__v_string", "holes__v_string"]
    assert evolving.published_columns == [*(c.name for c in evolving.columns), *evolving.variant_columns]
    [row, valid] = judged_on_each(*distinct([{"holes": "four"}, {}]), under=evolving)
    assert (row["_verdict"], row["holes"], row["holes__v_string"]) == ("clean", None, "four")
    assert codes(row, "warning") == ["holes_type"]
    assert {valid[name] for name in evolving.variant_columns} == {None}


def test_exclusive_date_timestamp_length_and_pattern_rules_reject_values_outside(
    each_engine: Engine, tmp_path: Path
) -> None:
    made = {"name": "made", "logicalType": "date", "description": "d"}
    sold = {"name": "sold", "logicalType": "timestamp", "description": "d"}
    contract = toy_contracts.contract(
        tmp_path,
        "silver/toys/blocks",
        [
            integer("holes", logicalTypeOptions={"exclusiveMinimum": 1, "exclusiveMaximum": 8}),
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
    judged = in_order(verdict.judge(verdict.typed(bronze(each_engine, rows), contract), contract, {}))
    first = ["code_length", "holes_range", "made_range", "shop_pattern", "sold_range"]
    second = ["code_length", "holes_range", "made_range", "shop_pattern"]
    assert [codes(row) for row in judged] == [
        [*first[:3], "maker_unique", *first[3:]],
        second,
        ["shop_pattern"],
        [],
        [],
    ]
