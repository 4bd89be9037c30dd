"""The contracts of this domain, by table name."""

from __future__ import annotations

from pathlib import Path

from pipelines.contracts.load import load_folder

CONTRACTS = load_folder(Path(__file__).parent / "contracts")
contract = CONTRACTS.named


def cost_tags(workload_class: str) -> dict[str, str]:
    """The cost tags of this domain's assets that are not tables; a table's stand in its contract."""
    return {
        "cost_centre": "cc-1200",
        "business_unit": "operations",
        "project": "on-time-performance",
        "application": "arrival-delay",
        "workload_class": workload_class,
        "data_class": "public",
    }


OWNER = "flight-data"
#: The tables that features are read from, by their Feast source name: those whose key holds `event_timestamp`, the
#: instant at which a row became known.
FEATURE_TABLES = {
    table.source_name: str(table)
    for table, content in CONTRACTS.items()
    if table.zone == "gold" and "event_timestamp" in content.key_columns
}
