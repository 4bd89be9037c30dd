"""Rebuilds a lost ledger from its bronze table, whose rows say which delivery they come from."""

from __future__ import annotations

from typing import Any

from pipelines.lakehouse.base import Lakehouse
from pipelines.landing.delivery import PREFIX_CHARACTERS, Delivery
from pipelines.landing.edge import Edge
from pipelines.landing.ledger import Record
from pipelines.tables import INGEST_ID, INGESTED_AT, PARTITION, RECORD_ID, SOURCE_URI


def recover(edge: Edge, house: Lakehouse, *, committed: int) -> int:
    """Adds every delivery that the bronze table has rows of to the ledger; returns how many there are.

    A delivery without rows left no trace in the table: it is judged again, and gives no rows again.

    Args:
        edge: The edge of the bronze table, with the new ledger.
        house: Where the bronze table is.
        committed: The number of the last batch that the table has.
    """
    from pyspark.sql import functions as F

    rows = house.read(house.current(edge.contract.table))
    names = [SOURCE_URI, INGEST_ID, INGESTED_AT, PARTITION]
    prefix = F.substring(RECORD_ID, 1, PREFIX_CHARACTERS).alias("prefix")
    deliveries = rows.select(*names, prefix).distinct().toArrow().to_pylist()
    records = [_record(edge, row) for row in deliveries]
    edge.ledger.adopt(records, committed=committed)
    return len(records)


def _record(edge: Edge, row: dict[str, Any]) -> Record:
    """The record of one delivery; without size and checksum if its file is gone, or is not that which was taken."""
    delivery = Delivery(str(row[SOURCE_URI]), str(row[PARTITION]), 0, 0, "", str(row["prefix"]))
    now = edge.identified(delivery)
    if now is not None and now.prefix == delivery.prefix:
        delivery = now
    return Record(delivery, "batch", int(row[INGEST_ID]), edge.contract.reading, row[INGESTED_AT].isoformat())
