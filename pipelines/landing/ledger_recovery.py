"""A lost ledger, made again from the table: bronze rows say which delivery each of them came from."""

from __future__ import annotations

from typing import Any

from pipelines.contracts.model import Contract
from pipelines.lakehouse.base import Lakehouse
from pipelines.landing.delivery import Delivery
from pipelines.landing.edge import PREFIX_CHARACTERS
from pipelines.landing.ledger import Ledger, Record
from pipelines.landing.zone import Landing
from pipelines.tables import INGEST_ID, INGESTED_AT, PARTITION, RECORD_ID, SOURCE_URI


def recover(ledger: Ledger, landing: Landing, house: Lakehouse, contract: Contract, *, committed: int) -> int:
    """Notes every delivery that bronze, whose last batch is `committed`, has rows of; returns how many they are.

    A delivery without rows leaves no trace in the table: it is looked at again, and gives none again.
    """
    from pyspark.sql import functions as F

    rows = house.read(house.current(contract.table))
    names = [SOURCE_URI, INGEST_ID, INGESTED_AT, PARTITION]
    prefix = F.substring(RECORD_ID, 1, PREFIX_CHARACTERS).alias("prefix")
    found = rows.select(*names, prefix).distinct().toArrow().to_pylist()
    records = [_record(landing, contract, row) for row in found]
    ledger.adopt(records, committed=committed)
    return len(records)


def _record(landing: Landing, contract: Contract, row: dict[str, Any]) -> Record:
    delivery = Delivery(str(row[SOURCE_URI]), str(row[PARTITION]), 0, 0, "", str(row["prefix"]))
    now = landing.now(delivery)
    if now is not None:
        delivery = Delivery(
            now.uri, now.interval, now.bytes, now.modified_ns, landing.checksum(now), str(row["prefix"])
        )
    return Record(delivery, "batch", int(row[INGEST_ID]), contract.digest, row[INGESTED_AT].isoformat())
