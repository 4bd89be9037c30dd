"""Rows of toy blocks as bronze keeps them, their silver contract, and the verdict over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import functions as F

from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.tables import RESCUED, TableId
from pipelines.verdict import verdict
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import integer, number, row_rule, text

Row = dict[str, Any]
#: Judges rows of bronze, and returns them in the order in which they were given; `under` is another contract.
Judge = Callable[..., list[Row]]

MAKERS = TableId("silver", "toys", "makers")
NOW = datetime(2013, 5, 8, tzinfo=UTC)
NAMES = ["part", "made", "holes", "weight", "colour", "code", "maker", "shop", "sold", "boxed", "edition"]
#: A row that breaks no rule.
VALID = {
    "part": "brick", "made": "2013-05-06", "holes": "4", "weight": "2.5", "colour": "red", "code": "AB",
    "maker": "Ole", "shop": "North", "sold": "2013-05-06T07:08:09Z", "boxed": "true", "edition": "1",
}  # fmt: skip


def reference(to: str, severity: str) -> dict[str, Any]:
    return {"type": "foreignKey", "to": to, "customProperties": [{"property": "severity", "value": severity}]}


def blocks(folder: Path, **more: Any) -> Contract:
    """The contract of blocks, with the key (part, made); the transform computes `weight_per_hole`."""
    properties = [
        text("part", primaryKey=True, primaryKeyPosition=1, required=True),
        {"name": "made", "logicalType": "date", "description": "d", "primaryKey": True, "primaryKeyPosition": 2, "required": True},
        integer("holes", logicalTypeOptions={"minimum": 1, "maximum": 8}),
        number("weight", logicalTypeOptions={"minimum": 0.5}, transformSourceObjects=["weight"]),
        text("colour", enum=[{"value": "red"}, {"value": "blue"}], customProperties=[{"property": "severity", "value": "warning"}]),
        text("code", logicalTypeOptions={"pattern": "^[A-Z]{2}$"}),
        text("maker", relationships=[reference("silver.toys.makers.name", "error")]),
        text("shop_name", transformSourceObjects=["shop"], relationships=[reference("silver.toys.makers.shop", "warning")]),
        {"name": "sold", "logicalType": "timestamp", "description": "When."},
        {"name": "boxed", "logicalType": "boolean", "description": "Whether."},
        integer("edition"),
        number("weight_per_hole", transformLogic="weight / holes", logicalTypeOptions={"maximum": 5}),
    ]  # fmt: skip
    more.setdefault("quality", [row_rule("heavy_is_red", "weight", "weight < 3 or colour = 'red'", description="why")])
    values: dict[str, Any] = {"nullTokens": ["", "NA"], "winner": "edition desc, code"} | more
    return toy_contracts.contract(folder, "silver/toys/blocks", properties, **values)


def bronze(engine: Engine, rows: Sequence[Row]) -> Any:
    """The rows as a frame with the columns of bronze; record ids are r0000, r0001, …"""
    texts = [*NAMES, RESCUED, "_record_id", "_source_uri", "_ingest_id", "_partition"]
    schema = pa.schema(
        [(name, pa.string()) for name in texts]
        + [("_source_row", pa.int64()), ("_ingested_at", pa.timestamp("us", "UTC"))]
    )
    records = [
        {"_record_id": f"r{n:04d}", "_source_row": n + 2, "_source_uri": "u", "_ingest_id": "0", "_partition": "p"}
        | row
        for n, row in enumerate(rows)
    ]
    return engine.session.createDataFrame(pa.Table.from_pylist(records, schema=schema))


def judged_frame(engine: Engine, contract: Contract, rows: Sequence[Row], *, within: Sequence[str] = ()) -> Any:
    """The judged rows as a frame, with the column that the transform computes; `within` as in `verdict.judge`."""
    session = engine.session
    makers = pa.table({"name": ["Ole", "Kit", "Ole", None], "shop": ["North", "South", "North", None]})
    typed = verdict.typed(bronze(engine, rows), contract)
    computed = typed.withColumn("weight_per_hole", F.when(F.col("holes") != 0, F.col("weight") / F.col("holes")))
    return verdict.judge(computed, contract, {MAKERS: session.createDataFrame(makers)}, within=within)


def judging(engine: Engine, contract: Contract) -> Judge:
    def judge(*rows: Row, under: Contract = contract) -> list[Row]:
        return in_order(judged_frame(engine, under, rows))

    return judge


def in_order(frame: Any) -> list[Row]:
    """The rows of a frame in the order of their record ids."""
    return sorted(frame.toArrow().to_pylist(), key=lambda row: row["_record_id"])


def codes(row: Row, severity: str = "error") -> list[str]:
    """The reason codes of a row with this severity, sorted."""
    return sorted(reason["code"] for reason in row["_reasons"] if reason["severity"] == severity)


def distinct(changes: Sequence[Row]) -> list[Row]:
    """The valid row with these changes, each with another key."""
    return [VALID | {"part": f"part {n}"} | change for n, change in enumerate(changes)]


def summary(
    engine: Engine, contract: Contract, rows: Sequence[Row], *, rows_in: int | None = None, **more: Any
) -> verdict.Verdict:
    """The verdict over rows of bronze; `rows_in` is the number of rows that it is told were judged."""
    judged = judged_frame(engine, contract, rows)
    arrived = verdict.fingerprint(bronze(engine, rows))
    count = arrived.rows if rows_in is None else rows_in
    return verdict.summarize(judged, contract, rows_in=count, record_hash=arrived.hash, now=NOW, **more)
