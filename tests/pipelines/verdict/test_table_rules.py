"""Table rules of each kind: the figure that they observe of the clean rows, and whether it is within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.session import Engine
from tests.pipelines.contracts.blocks import goldpath_rule
from tests.pipelines.verdict.judged_blocks import VALID, Row, blocks, distinct, summary


def metric(name: str, limit: int, *columns: str, unit: str = "rows", **arguments: Any) -> dict[str, Any]:
    """A `quality` entry with one of the standard's metrics, which may be at most `limit`."""
    entry = {"name": name, "type": "library", "metric": name, "mustBeLessOrEqualTo": limit, "unit": unit}
    return entry | {"arguments": {"properties": list(columns), **arguments}}


#: A rule, what it observes of the rows of the test below, and whether it passes.
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
    (goldpath_rule("", freshness={"column": "sold", "max_age": "2d"}), 147_111, True),
    (goldpath_rule("", freshness={"column": "sold", "max_age": "36h"}), 147_111, False),
    (goldpath_rule("", distribution={"column": "maker", "shares": {"Ole": 1.0}}), 0.0, True),
    (goldpath_rule("", distribution={"column": "maker", "shares": {"Ole": 0.5, "Kit": 0.5}}), 4.604, False),
    (goldpath_rule("", distribution={"column": "holes", "edges": [4, 8], "shares": [0, 0.75, 0.25]}), 0.0, True),
    (goldpath_rule("", distribution={"column": "holes", "edges": [4, 8], "shares": [0.25, 0.5, 0.25], "max_psi": 9}), 2.057, True),
    (goldpath_rule("", distribution={"column": "code", "categories": ["AA", "BB"], "reference": "previous"}), 0.0, True),
]  # fmt: skip


def test_each_kind_of_table_rule_observes_the_clean_rows(each_engine: Engine, tmp_path: Path) -> None:
    rules = [rule | {"name": f"rule {number}"} for number, (rule, _, _) in enumerate(FIGURES)]
    changes: list[Row] = [{"code": "AA"}, {"code": "AA", "holes": "8"}, {"code": None}, {"code": "ZZ"}, {"holes": "9"}]
    rows = [VALID | {"part": f"{n}"} | change for n, change in enumerate(changes)]
    result = summary(each_engine, blocks(tmp_path, quality=rules), rows)
    assert result.rows_clean == 4
    figures = [(r.observed if r.observed is None else round(r.observed, 3), r.passed) for r in result.table_rules]
    assert figures == [(observed, passed) for _, observed, passed in FIGURES]


def test_shares_are_compared_with_those_of_the_version_before(engine: Engine, tmp_path: Path) -> None:
    rule = goldpath_rule("mixed", distribution={"column": "maker", "categories": ["Ole"], "reference": "previous"})
    contract = blocks(tmp_path, quality=[rule])
    rows = distinct([{}, {}, {"maker": "Kit"}, {"maker": "Kit"}])
    first = summary(engine, contract, rows)
    assert (first.passed, first.table_rules[0].shares) == (True, (0.5, 0.5))
    assert summary(engine, contract, rows, previous={"mixed": (0.4, 0.6)}).passed
    moved = summary(engine, contract, rows, previous={"mixed": (0.05, 0.95)})
    assert not moved.passed
    assert moved.refuse().expected == "mixed <= 0.2"


def test_without_rows_freshness_distributions_and_percentages_fail(each_engine: Engine, tmp_path: Path) -> None:
    rules = [
        goldpath_rule("fresh", freshness={"column": "sold", "max_age": "2d"}),
        goldpath_rule("mixed", distribution={"column": "maker", "shares": {"Ole": 1}}),
        metric("nullValues", 100, "code", unit="percent") | {"name": "percentage"},
    ]
    result = summary(each_engine, blocks(tmp_path, quality=rules), distinct([{"holes": "9"}]))
    assert [(r.observed, r.passed) for r in result.table_rules] == [(None, False)] * 3


def test_each_day_is_measured_by_itself_and_freshness_by_the_newest_row(each_engine: Engine, tmp_path: Path) -> None:
    rules = [
        {"name": "some", "type": "library", "metric": "rowCount", "mustBeGreaterThan": 0},
        metric("nullValues", 50, "code", unit="percent") | {"name": "codes"},
        {"name": "holes", "type": "sql", "query": "max(holes)", "mustBeLessThan": 8},
        {"name": "red", "type": "sql", "query": "SELECT count(*) FROM {table} WHERE colour = 'red'", "mustBe": 2},
        goldpath_rule("makers", distribution={"column": "maker", "shares": {"Ole": 0.5, "Kit": 0.5}}),
        goldpath_rule("fresh", freshness={"column": "sold", "max_age": "2d"}),
    ]
    old = {"sold": "2013-01-01T00:00:00Z"}
    by_day = {"1": [{}, {"maker": "Kit", "holes": "8"}], "3": [old, old | {"maker": "Kit", "code": None}]}
    rows = [
        VALID | {"part": f"{day}{n}", "_partition": day} | change
        for day, changes in by_day.items()
        for n, change in enumerate(changes)
    ]
    result = summary(each_engine, blocks(tmp_path, quality=rules), rows, days=["1", "2", "3"])
    assert [(str(r), r.failed_days) for r in result.table_rules] == [
        ("some saw 0.0 on 2", ("2",)), ("codes saw None on 2", ("2",)), ("holes saw 8.0 on 1 and 1 more", ("1", "2")),
        ("red saw 0.0 on 2", ("2",)), ("makers saw None on 2", ("2",)), ("fresh saw 147111.0", ()),
    ]  # fmt: skip
    assert (result.passed, result.publishable_days) == (False, ("3",))


@pytest.mark.parametrize(("sold", "fresh"), [("2099-01-01T00:00:00Z", False), ("2013-05-08T00:04:00Z", True)])
def test_a_row_of_the_future_is_not_fresh(engine: Engine, tmp_path: Path, sold: str, fresh: bool) -> None:
    contract = blocks(tmp_path, quality=[goldpath_rule("fresh", freshness={"column": "sold", "max_age": "2d"})])
    result = summary(engine, contract, distinct([{}, {"sold": sold}]))
    assert result.table_rules[0].passed is fresh
