"""Files that are landed and read as bronze rows, for the tests of reading."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.contracts.model import Contract
from pipelines.landing import reading
from pipelines.landing.ledger import Batch
from pipelines.landing.zone import Landing
from pipelines.tables import MALFORMED, RESCUED
from tests.pipelines.toy_contracts import integer, number, text

Rows = list[dict[str, Any]]
Read = Callable[..., Rows]
COLUMNS = [text("part"), integer("holes"), number("weight")]
PLANNED = datetime(2013, 1, 2, 3, 4, 5, tzinfo=UTC)


def batches(folder: Path, contract: Contract, content: bytes, **more: Any) -> list[pa.RecordBatch]:
    landing = Landing(folder / f"landing_{contract.path.stem}")
    landing.deliver(domain="toys", source="blocks", interval="2013-01-01", name="blocks.txt", content=content, **more)
    [delivery] = landing.deliveries("toys", "blocks")
    digest = landing.checksum(delivery)
    delivery = replace(delivery, sha256=digest, prefix=digest[:16])
    return list(reading.read(landing, contract, Batch(7, PLANNED.isoformat(), (delivery,)), delivery))


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    """The bytes of a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def values(rows: Rows) -> list[tuple[Any, ...]]:
    return [tuple(row[column["name"]] for column in COLUMNS) for row in rows]


def places(rows: Rows) -> list[int]:
    return [row["_source_row"] for row in rows]


def malformed(rows: Rows) -> dict[int, str]:
    """The texts of malformed lines by their place."""
    by_place = {row["_source_row"]: json.loads(row[RESCUED] or "{}") for row in rows}
    return {place: rescued[MALFORMED] for place, rescued in by_place.items() if MALFORMED in rescued}
