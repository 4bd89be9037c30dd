"""Rebuilds a lost ledger from its bronze table, whose rows say which delivery they come from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipelines.contracts.model import Contract
from pipelines.lakehouse.base import Lakehouse
from pipelines.landing.delivery import PREFIX_CHARACTERS, Delivery
from pipelines.landing.ledger import Ledger, Record
from pipelines.landing.zone import Landing
from pipelines.tables import INGEST_ID, INGESTED_AT, PARTITION, RECORD_ID, SOURCE_URI


def recover(ledger: Ledger, landing: Landing, house: Lakehouse, contract: Contract, *, committed: int) -> int:
    """Adds every delivery that the bronze table has rows of to the ledger; returns how many there are.

    A delivery without rows left no trace in the table: it is judged again, and gives no rows again.

    Args:
        ledger: The new ledger.
        landing: Where the deliveries are.
        house: Where the bronze table is.
        contract: The contract of the bronze table.
        committed: The number of the last batch that the table has.
    """
    from pyspark.sql import functions as F

    rows = house.read(house.current(contract.table))
    names = [SOURCE_URI, INGEST_ID, INGESTED_AT, PARTITION]
    prefix = F.substring(RECORD_ID, 1, PREFIX_CHARACTERS).alias("prefix")
    deliveries = rows.select(*names, prefix).distinct().toArrow().to_pylist()
    records = [_record(landing, contract, row) for row in deliveries]
    ledger.adopt(records, committed=committed)
    return len(records)


def _record(landing: Landing, contract: Contract, row: dict[str, Any]) -> Record:
    """The record of one delivery; without size and checksum if its file is gone."""
    delivery = Delivery(str(row[SOURCE_URI]), str(row[PARTITION]), 0, 0, "", str(row["prefix"]))
    now = landing.now(delivery)
    if now is not None:
        delivery = replace(now, sha256=landing.checksum(now))
    return Record(delivery, "batch", int(row[INGEST_ID]), contract.digest, row[INGESTED_AT].isoformat())
