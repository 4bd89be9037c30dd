"""The quality of a feature view: what is wrong is found and named, and nothing else is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from pipelines.engine.session import Engine
from pipelines.features import quality, quality_check
from pipelines.features.quality import ViewQuality
from pipelines.tables import RECORD_ID
from tests.pipelines.features.toy_views import BEGIN, DAYS, SCHEMA, Row, stock_rows, stock_table, stock_view

NOW = BEGIN + timedelta(days=DAYS)
FRESH = {"name": "fresh", "type": "custom", "engine": "goldpath"}


def measured(engine: Engine, folder: Path, rows: list[Row], *rules: dict[str, Any], at: Any = NOW) -> ViewQuality:
    return quality.measure(stock_view(folder, *rules), engine.session.createDataFrame(stock_table(rows)), at, NOW)


def found(measured: ViewQuality) -> list[tuple[str, str, str]]:
    return [(finding.feature, finding.kind, finding.severity) for finding in measured.findings]


def every(period: int, **values: Any) -> Callable[[Row], Row]:
    """A change of about every n-th row."""
    chosen = random.Random(period)
    return lambda row: row | values if chosen.randrange(period) == 0 else row


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (dict, []),
        (every(2, colour=None), [("colour", "missingness", "warning")]),
        (every(4, sold=None), [("sold", "missingness", "warning")]),
        (every(15, sold=None), []),
        (lambda row: row | {"colour": f"{row['item']} {row['event_timestamp']}"}, [("colour", "cardinality", "warning")]),
        (lambda row: row | {"pieces": row["event_timestamp"].hour * 7 % 18}, []),
        (every(50, price=500.0), [("price", "range", "warning")]),
        (lambda row: row | {"price": 45 + 1.5 * math.exp(0.13 * (row["price"] - 50))}, [("price", "skew", "warning")]),
        (every(50, price=None), [("price", "contract", "error")]),
        (every(50, price=-1.0), [("price", "contract", "error")]),
        (every(3, price=float("nan")), [("price", "contract", "error"), ("price", "missingness", "warning")]),
    ],
    ids="same missing missing-boolean few-missing ids more-values outlier skewed null negative nan".split(),
)  # fmt: skip
def test_what_changed_in_the_newest_period_is_found_and_named(
    engine: Engine, tmp_path: Path, change: Callable[[Row], Row], expected: list[tuple[str, str, str]]
) -> None:
    assert found(measured(engine, tmp_path, stock_rows(change=change))) == expected


def test_a_view_older_than_its_freshness_is_a_warning_and_its_freshness_rule_an_error(
    engine: Engine, tmp_path: Path
) -> None:
    rule = FRESH | {"implementation": {"freshness": {"column": "event_timestamp", "max_age": "2d"}}}
    late = NOW + timedelta(days=1)
    assert found(measured(engine, tmp_path, stock_rows(), rule)) == []
    assert found(measured(engine, tmp_path, stock_rows(), rule, at=late)) == [("", "staleness", "warning")]
    outdated = measured(engine, tmp_path, stock_rows(), rule, at=late + timedelta(days=1))
    assert found(outdated) == [("", "staleness", "error"), ("", "staleness", "warning")]
    assert "stock is stale: its newest row is 2.04 d old, its freshness 1 d" in map(str, outdated.findings)


def test_rows_after_the_instant_do_not_count(engine: Engine, tmp_path: Path) -> None:
    rows = stock_rows(change=every(2, colour=None))
    yesterday = NOW - timedelta(days=1)
    assert found(measured(engine, tmp_path, rows, at=yesterday)) == []


def test_rows_further_ahead_of_now_than_the_freshness_are_a_warning_unless_their_record_is_known(
    engine: Engine, tmp_path: Path
) -> None:
    soon, late = NOW + timedelta(days=1), NOW + timedelta(days=400)
    instants = {
        "news": soon,
        "an event and its leaving": NOW,
        "a wrong year": late,
        "another": late - timedelta(days=1),
    }
    rows = [{**stock_rows(days=1)[0], "event_timestamp": at, RECORD_ID: record} for record, at in instants.items()]
    rows.append(rows[1] | {"event_timestamp": late + timedelta(days=1)})
    table = pa.Table.from_pylist(rows, schema=SCHEMA.append(pa.field(RECORD_ID, pa.string())))
    view, frame = stock_view(tmp_path), engine.session.createDataFrame(table)
    words = "stock has {} rows more than 1 d ahead of now, up to 2027-04-{} 00:00:00 UTC"
    with_records = quality.measure(view, frame, NOW, NOW)
    assert found(with_records) == [("", "future", "warning")]
    assert [*map(str, with_records.findings)] == [words.format(2, 20)]
    assert [*map(str, quality.measure(view, frame.drop(RECORD_ID), NOW, NOW).findings)] == [words.format(3, 21)]
    assert found(quality.measure(view, frame, NOW, late)) == []  # a replay's clock stands behind what has landed


@pytest.mark.parametrize(("days", "keep"), [(2, 1), (DAYS, 20)], ids=["short past", "few rows"])
def test_too_short_a_past_is_not_compared(engine: Engine, tmp_path: Path, days: int, keep: int) -> None:
    rows = stock_rows(days=days, change=lambda row: row | {"colour": None})[::keep]
    assert found(measured(engine, tmp_path, rows, at=BEGIN + timedelta(days=days))) == []


def test_a_view_without_rows_up_to_the_instant_is_stale(engine: Engine, tmp_path: Path) -> None:
    empty = measured(engine, tmp_path, stock_rows(days=1), at=BEGIN - timedelta(days=1))
    assert found(empty) == [("", "staleness", "warning")]
    assert quality_check.figures([empty])["feature_plot"]


def test_figures_do_not_depend_on_the_order_of_rows(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality.profile.__module__ + ".SAMPLE", 500)
    rows = stock_rows()
    first = measured(engine, tmp_path, rows).profile
    random.Random(2).shuffle(rows)
    second = measured(engine, tmp_path, rows).profile
    assert first.features == second.features
    assert first.rows == second.rows == (240,) * DAYS


def test_the_check_blocks_for_errors_alone_and_shows_every_feature(engine: Engine, tmp_path: Path) -> None:
    good, warned, bad = (
        measured(engine, tmp_path, stock_rows(change=change))
        for change in (dict, every(2, colour=None), every(50, price=-1.0))
    )
    results = [quality_check.check_result([each]) for each in (good, warned, bad)]
    severity = dg.AssetCheckSeverity
    assert [(result.passed, result.severity) for result in results] == [
        (True, severity.ERROR), (False, severity.WARN), (False, severity.ERROR)
    ]  # fmt: skip
    assert "stock.colour is missing in" in str(results[1].description)
    rows = {row["feature"]: row for row in quality_check.rows(warned)}
    assert list(rows) == ["price", "pieces", "colour", "sold"]
    assert (rows["pieces"]["distinct"], rows["price"]["distinct"], rows["price"]["age"]) == ("10", "-", "1 h")
    assert rows["colour"]["finding"].startswith("is missing in")
    assert quality_check.CHECK.blocking
