"""The trace of a record: the landed file and row that it comes from, and what people decided about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.landing.origin import origin
from pipelines.quarantine import decisions
from pipelines.tables import TableId

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform


def trace(platform: Platform, domain: str, record_id: str) -> dict[str, Any] | None:
    """Where a record of a domain comes from; None if no bronze table of the domain took it.

    Returns:
        `record_id`, `bronze` (the table), `batch` (as in `_ingest_id`), `file` (below the landing root), `sha256` of
        the file, `row` (from 1), `line` (None where the file has no such line), and `decisions`: the corrections,
        discards and reopenings of the record, oldest first, each with `act`, `by`, `at` (UTC) and `values`.
    """
    ledgers = {table: platform.ledger(table) for table in platform.contracts if table.zone == "bronze"}
    found = origin(platform.landing, ledgers, domain, record_id)
    if found is None:
        return None
    acts = decisions.recorded(platform.lakehouse, TableId("silver", domain, found.bronze.table), [record_id])
    return {
        "record_id": record_id,
        "bronze": str(found.bronze),
        "batch": found.batch,
        "file": found.uri,
        "sha256": found.sha256,
        "row": found.row,
        "line": found.line,
        "decisions": [
            {"act": act.act, "by": act.decided_by, "at": act.decided_at, "values": dict(act.values)}
            for act in acts
            if act.act != "replay"
        ],
    }
