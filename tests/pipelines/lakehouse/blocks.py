"""Rows of a toy table, and how tests stage, publish and read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from pipelines.lakehouse.base import Lakehouse
from pipelines.lakehouse.staging import Staged, Write
from pipelines.tables import PARTITION, TableId, TableVersion

TABLE, QUARANTINE = TableId("silver", "toys", "blocks"), TableId("quarantine", "toys", "blocks")
REASON = pa.struct([("code", pa.string()), ("value", pa.string())])
SCHEMA = pa.schema(
    [("id", pa.string()), ("small", pa.int32()), ("big", pa.int64()), ("weight", pa.float64()), ("light", pa.float32()),
     ("good", pa.bool_()), ("made", pa.date32()), ("sold", pa.timestamp("us", "UTC")), ("reasons", pa.list_(REASON)),
     (PARTITION, pa.string())]
)  # fmt: skip
Row = dict[str, Any]


def row(name: str, day: str = "2013-01-01", **values: Any) -> Row:
    return dict.fromkeys(SCHEMA.names) | {"id": name, PARTITION: day} | values


#: Values at the edges of their types, and nulls.
EDGES = [
    row("brick", small=2**31 - 1, big=2**63 - 1, weight=1 / 3, light=0.25, good=True, made=date(2013, 3, 10),
        sold=datetime(2013, 3, 10, 7, 0, 0, 1, UTC), reasons=[{"code": "a", "value": None}, {"code": "b", "value": "1"}]),
    row("größe ✓ 'x' \\ \"y\"\n2", small=-(2**31), big=-(2**63), weight=5e-324, light=-0.0, good=False, made=date(1582, 10, 15),
        sold=datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), reasons=[]),
    row("", weight=math.inf, light=-math.inf, day="2013-01-02", made=date(9999, 12, 31), sold=datetime(2262, 4, 11, tzinfo=UTC)),
    row("nothing", day="2013-01-02"),
]  # fmt: skip


def contents(table: pa.Table) -> list[Row]:
    names = sorted(table.column_names)
    return sorted(table.select(names).to_pylist(), key=repr)


def expected(rows: Iterable[Row]) -> list[Row]:
    return sorted((dict(sorted(row.items())) for row in rows), key=repr)


def stage(
    house: Lakehouse,
    rows: list[Row],
    *,
    table: TableId = TABLE,
    by: tuple[str, ...] = (PARTITION,),
    schema: pa.Schema = SCHEMA,
) -> Staged:
    frame = house.session.createDataFrame(pa.Table.from_pylist(rows or [row("none")], schema=schema))
    frame = frame if rows else frame.limit(0)
    return house.stage(table, frame, partition_by=by)


def publish(house: Lakehouse, rows: list[Row], write: Write, **more: Any) -> TableVersion:
    return house.commit(TABLE, stage(house, rows, **more), write, metadata={"run_id": "r"})


def read(house: Lakehouse, at: TableVersion | None = None) -> list[Row]:
    return contents(house.read(at or house.current(TABLE)).toArrow())


def ids(rows: list[Row]) -> list[str]:
    return sorted(row["id"] for row in rows)


def batches(rows: list[Row]) -> list[pa.RecordBatch]:
    return pa.Table.from_pylist(rows, schema=SCHEMA).to_batches(max_chunksize=2)
