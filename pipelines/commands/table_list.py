"""Every table of the platform, as `goldpath tables` lists it. Grain: one entry per table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.tables import ZONES, TableVersion

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform


def table_list(platform: Platform) -> list[dict[str, Any]]:
    """Tables that a contract declares and tables that exist, in the order of zones.

    `version` and `rows` are None for a table that was never published, `contract` for a table of the platform's own.
    """
    lakehouse = platform.lakehouse
    entries = []
    for table in sorted({*lakehouse.tables(), *platform.contracts}, key=lambda table: (ZONES.index(table.zone), table)):
        contract = platform.contracts.get(table)
        version = lakehouse.version(table)
        entries.append(
            {
                "table": str(table),
                "contract": contract.path.name if contract else None,
                "contract_version": contract.version if contract else None,
                "owner": contract.owner if contract else None,
                "version": version,
                "rows": lakehouse.snapshot(TableVersion(table, version)).rows if version is not None else None,
            }
        )
    return entries


def show(entries: list[dict[str, Any]]) -> None:
    """Prints the list as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("table", no_wrap=True)
    for column in ("version", "rows", "contract"):
        table.add_column(column, justify="right")
    table.add_column("owner")
    for entry in entries:
        version, rows = entry["version"], entry["rows"]
        table.add_row(
            entry["table"],
            "-" if version is None else str(version),
            "-" if rows is None else f"{rows:,}",
            entry["contract_version"] or "-",
            entry["owner"] or "-",
        )
    Console().print(table)
