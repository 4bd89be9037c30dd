"""Which rows of one key are duplicates, and which row of them stays."""

from __future__ import annotations

from pathlib import Path

from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text
from tests.pipelines.verdict.judged_blocks import VALID, Judge, blocks, codes, in_order, judged_frame, summary

WARN = [{"property": "severity", "value": "warning"}]


def test_of_rows_with_one_key_only_the_winner_is_clean(judged_on_each: Judge) -> None:
    editions = [("1", "AA"), ("3", "AC"), ("3", "AB"), (None, "AA")]
    ordered = [VALID | {"edition": edition, "code": code} for edition, code in editions]
    with_error = [VALID | {"part": "error", "edition": "9", "holes": "0"}, VALID | {"part": "error"}]
    equal = [VALID | {"part": "last row"}] * 3
    rows = judged_on_each(*ordered, *with_error, *equal)
    duplicate = ["duplicate_key"]
    assert [codes(row) for row in rows] == [
        duplicate, duplicate, [], duplicate, ["duplicate_key", "holes_range"], [], duplicate, duplicate, [],
    ]  # fmt: skip
    assert [row["_verdict"] == "clean" for row in rows] == [codes(row) == [] for row in rows]
    assert rows[0]["_reasons"][0]["value"] == "brick|2013-05-06"


def test_a_null_in_the_key_is_an_error_and_no_duplicate(judged: Judge, tmp_path: Path) -> None:
    columns = [
        text("part", primaryKey=True),
        text("made", primaryKey=True, primaryKeyPosition=2, customProperties=WARN),
    ]
    contract = toy_contracts.contract(tmp_path, "silver/toys/blocks", columns)
    rows = judged(*[VALID | change for change in ({"part": None}, {"part": None}, {"made": None}, {})], under=contract)
    assert [codes(row) for row in rows] == [["part_required"], ["part_required"], ["made_required"], []]


def test_within_days_a_key_identifies_one_row_of_each_day(each_engine: Engine, contract: Contract) -> None:
    rows = [VALID | {"_partition": day, "part": part} for day in "ab" for part in ("brick", "Brick")]
    frame = judged_frame(each_engine, contract, rows, within=["_partition"])
    assert [codes(row) for row in in_order(frame)] == [["key_variant"], [], ["key_variant"], []]


def test_keys_that_differ_by_case_or_space_are_one_and_the_winner_stays(judged_on_each: Judge) -> None:
    keys = [("brick", "1"), ("Brick", "3"), (" brick", "2"), ("Brick", "1"), ("brick 2", "9"), ("other\t", "1")]
    rows = judged_on_each(*[VALID | {"part": part, "edition": edition} for part, edition in keys])
    assert [codes(row) for row in rows] == [["key_variant"], [], ["key_variant"], ["duplicate_key"], [], []]


def test_with_exact_key_match_keys_that_differ_by_case_are_two(judged: Judge, tmp_path: Path) -> None:
    rows = judged(VALID, VALID | {"part": "BRICK"}, under=blocks(tmp_path, keyMatch="exact"))
    assert [codes(row) for row in rows] == [[], []]


def test_the_summary_reports_a_key_that_repeats_in_another_spelling(engine: Engine, contract: Contract) -> None:
    rows = [VALID | {"part": "a"}, VALID | {"part": "b"}]
    assert not summary(engine, contract, rows).keys_repeat
    assert summary(engine, contract, [*rows, VALID | {"part": "B "}]).keys_repeat
