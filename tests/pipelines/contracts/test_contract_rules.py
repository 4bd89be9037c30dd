"""The row rules and the table rules that follow from a contract file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.contracts.load import load
from pipelines.contracts.model import Bounds, Distribution, RowRule, TableRule
from pipelines.tables import TableId
from tests.pipelines import toy_contracts
from tests.pipelines.contracts.blocks import blocks_document, goldpath_rule
from tests.pipelines.toy_contracts import integer, number, text


def test_row_and_table_rules_are_read_from_the_file(tmp_path: Path) -> None:
    contract = load(toy_contracts.write(tmp_path, blocks_document()))
    makers = TableId("silver", "toys", "makers")
    assert contract.row_rules == (
        RowRule("part_required", "required", "part", "error"),
        RowRule("box_required", "required", "box", "error"),
        RowRule("weight_type", "type", "weight", "error", "double", "weight is double"),
        RowRule("weight_range", "range", "weight", "error", Bounds(0)),
        RowRule("holes_type", "type", "holes", "error", "int", "holes is int"),
        RowRule("holes_range", "range", "holes", "error", Bounds(1, 8)),
        RowRule("colour_set", "set", "colour", "error", ("red", "blue")),
        RowRule("code_pattern", "pattern", "code", "error", "^[A-Z]{2}$"),
        RowRule("maker_in_makers", "reference", "maker", "warning", (makers, "name"), "new"),
        RowRule(
            "key_variant",
            "variant",
            "box",
            "error",
            ("box", "part"),
            "keys differ by more than case and surrounding space",
        ),
        RowRule("duplicate_key", "duplicate", "box", "error", ("box", "part"), "the key identifies one row"),
        RowRule("light_or_red", "expression", "weight", "warning", "weight < 9 or colour = 'red'", "why"),
    )
    assert contract.table_rules == (
        TableRule("some_rows", "count(1)", Bounds(1), "error"),
        TableRule("balanced", "avg(weight)", Bounds(1, 9), "warning"),
    )


def test_with_drift_discard_value_a_type_rule_is_a_warning(tmp_path: Path) -> None:
    contract = toy_contracts.contract(
        tmp_path, "silver/toys/blocks", [integer("holes")], drift={"data_type": "discard_value"}
    )
    assert [(rule.name, rule.severity) for rule in contract.row_rules] == [("holes_type", "warning")]


def test_each_property_of_a_column_gives_its_row_rule(tmp_path: Path) -> None:
    zone = [{"property": "timezone", "value": "America/New_York"}]
    sold = {"name": "sold", "logicalType": "timestamp", "description": "d", "customProperties": zone}
    contract = toy_contracts.contract(
        tmp_path,
        "silver/toys/blocks",
        [
            text("part", unique=True, logicalTypeOptions={"minLength": 2, "maxLength": 9}),
            number("price", physicalType="DECIMAL(8, 2)", logicalTypeOptions={"exclusiveMinimum": 0, "maximum": 9}),
            sold | {"logicalTypeOptions": {"minimum": "2013-01-01T00:00:00Z"}},
            number("ratio", customProperties=[{"property": "nonFinite", "value": "allowed"}]),
        ],
    )
    assert contract.row_rules == (
        RowRule("part_length", "length", "part", "error", Bounds(2, 9)),
        RowRule("part_unique", "duplicate", "part", "error", ("part",), "part identifies one row"),
        RowRule("price_type", "type", "price", "error", "decimal(8,2)", "price is decimal(8,2)"),
        RowRule("price_range", "range", "price", "error", Bounds(maximum=9, above=0)),
        RowRule("sold_type", "type", "sold", "error", "timestamp", "sold is timestamp"),
        RowRule("sold_nonexistent", "clock", "sold", "error", "America/New_York",
                "the local time exists in America/New_York"),
        RowRule("sold_range", "range", "sold", "error", Bounds("2013-01-01T00:00:00Z")),
        RowRule("ratio_type", "type", "ratio", "error", "double", "ratio is double"),
    )  # fmt: skip
    assert (contract.column("price").type, contract.column("sold").timezone) == ("decimal(8,2)", "America/New_York")
    assert contract.column("ratio").non_finite == "allowed"


def test_each_kind_of_quality_entry_gives_its_table_rule(tmp_path: Path) -> None:
    nulls = {"name": "few_nulls", "metric": "nullValues", "unit": "percent", "mustBeLessThan": 5, "type": "library"}
    edges = {"column": "holes", "edges": [2, 4], "shares": [0.2, 0.5, 0.3]}
    document = toy_contracts.document(
        "silver/toys/blocks",
        [integer("holes", quality=[nulls, {"type": "text", "description": "Holes are round."}]), text("colour")],
        quality=[
            {"name": "half", "type": "sql", "query": "SELECT count(*) FROM ${table}", "mustNotBeBetween": [1, 2]},
            goldpath_rule("spread", distribution={"max_psi": 0.1, **edges}),
            goldpath_rule("colours", distribution={"column": "colour", "shares": {"blue": 0.7, "red": 0.2}}),
            goldpath_rule("moved", distribution={"column": "colour", "categories": ["red"], "reference": "previous"}),
        ],
    )
    contract = load(toy_contracts.write(tmp_path, document))
    half, spread, colours, moved, nulls_rule = contract.table_rules
    assert half == TableRule("half", "SELECT count(*) FROM {table}", Bounds(1, 2, inside=False), "error", kind="query")
    assert spread.argument == Distribution("holes", (2, 4), "edges", (0.2, 0.5, 0.3))
    assert spread.bounds == Bounds(maximum=0.1)
    assert colours.argument
    assert moved.argument
    assert colours.argument.shares == pytest.approx((0.7, 0.2, 0.1))
    assert (moved.argument.bins, moved.argument.shares) == (("red",), None)
    assert (nulls_rule.kind, nulls_rule.bounds) == ("aggregate", Bounds(below=5))
    assert "`holes` IS NULL" in nulls_rule.expression


def test_max_age_is_read_in_minutes_hours_and_days(tmp_path: Path) -> None:
    sold = {"name": "sold", "logicalType": "timestamp", "description": "d"}
    quality = [goldpath_rule(age, freshness={"column": "sold", "max_age": age}) for age in ("30m", "1.5h", "2d")]
    contract = toy_contracts.contract(tmp_path, "silver/toys/blocks", [sold], quality=quality)
    assert [rule.bounds.maximum for rule in contract.table_rules] == [1_800, 5_400, 172_800]


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "text"),
    [
        (Bounds(1, 2), (1, 2), (0.9, 2.1), ">= 1 and <= 2"),
        (Bounds(above=1, below=2), (1.5,), (1, 2), "> 1 and < 2"),
        (Bounds(3, 3, inside=False), (2, 4), (3,), "not >= 3 and <= 3"),
    ],
)
def test_bounds_hold_for_values_inside_and_not_outside(
    bounds: Bounds, inside: tuple[float, ...], outside: tuple[float, ...], text: str
) -> None:
    assert [bounds.hold(value) for value in inside] == [True] * len(inside)
    assert [bounds.hold(value) for value in outside] == [False] * len(outside)
    assert str(bounds) == text
