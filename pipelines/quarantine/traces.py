"""The trace of a record: the landed file and row that it comes from, and what people decided about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.landing.origin import origin
from pipelines.quarantine import decisions
from pipelines.tables import TableId
from pipelines.verdict import masking

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform


def trace(platform: Platform, domain: str, record_id: str) -> dict[str, Any] | None:
    """Where a record of a domain comes from.

    Args:
        platform: Where the tables and the landing zone are.
        domain: The domain of the record.
        record_id: The record.

    Returns:
        None if no bronze table of the domain took the record; else `record_id`, `bronze` (the table), `batch` (as in
        `_ingest_id`), `file` (relative to the landing root), `sha256` of the file, `row` (from 1), `line` (None if the
        file has no such line), and `decisions`: the corrections, discards and reopenings of the record, oldest first,
        each with `act`, `by`, `at` (UTC) and `values`. What the silver table masks is masked.

    Raises:
        FileNotFoundError: if the file is no longer in landing.
    """
    ledgers = {table: platform.ledger(table) for table in platform.contracts if table.zone == "bronze"}
    source = origin(platform.landing, ledgers, domain, record_id)
    if source is None:
        return None
    silver = TableId("silver", domain, source.bronze.table)
    acts = decisions.recorded(platform.lakehouse, silver, [record_id])
    found = {
        "record_id": record_id,
        "bronze": str(source.bronze),
        "batch": source.batch,
        "file": source.uri,
        "sha256": source.sha256,
        "row": source.row,
        "line": source.line,
        "decisions": [
            {"act": act.act, "by": act.decided_by, "at": act.decided_at, "values": dict(act.values)}
            for act in acts
            if act.act != "replay"
        ],
    }
    contract = platform.contracts.get(silver)
    return masking.masked_values(found, masking.kinds(contract)) if contract else found
