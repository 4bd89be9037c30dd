"""A feature view of toys in stock, with a feature of each kind, and rows of some days."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.features.declaration import FeatureView, feature_view
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import integer, number, text

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 15
SCHEMA = pa.schema(
    [
        ("item", pa.string()),
        ("event_timestamp", pa.timestamp("us", "UTC")),
        ("price", pa.float64()),
        ("pieces", pa.int32()),
        ("colour", pa.string()),
        ("sold", pa.bool_()),
    ]
)
Row = dict[str, Any]


def stock_view(folder: Path, *quality: dict[str, Any], table: str = "gold/toys/stock") -> FeatureView:
    """The view `stock`, or a version of it, whose freshness is a day and whose price is required and at least 0."""
    instant = {"name": "event_timestamp", "logicalType": "timestamp", "description": "When it was known."}
    columns = [
        text("item", primaryKey=True, primaryKeyPosition=1, required=True),
        instant | {"primaryKey": True, "primaryKeyPosition": 2, "required": True},
        number("price", required=True, logicalTypeOptions={"minimum": 0}),
        integer("pieces"),
        text("colour"),
        {"name": "sold", "logicalType": "boolean", "description": "Whether it was sold."},
    ]
    return feature_view(toy_contracts.contract(folder, table, columns, quality=quality))


def stock_rows(days: int = DAYS, change: Callable[[Row], Row] = dict, seed: int = 1) -> list[Row]:
    """Rows of 10 items at each hour; `change` is applied to those of the last day.

    The price is normal with mean 50 and deviation 10, there are 0 to 9 pieces, and every tenth colour is missing.
    """
    chosen = random.Random(seed)
    rows: list[Row] = [
        {
            "item": f"item {item}",
            "event_timestamp": BEGIN + timedelta(hours=hour),
            "price": chosen.gauss(50, 10),
            "pieces": chosen.randrange(10),
            "colour": chosen.choice(["red", "blue", "green"]) if chosen.random() > 0.1 else None,
            "sold": chosen.random() < 0.3,
        }
        for hour in range(24 * days)
        for item in range(10)
    ]
    last = BEGIN + timedelta(days=days - 1)
    return [change(row) if row["event_timestamp"] >= last else row for row in rows]


def stock_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)
