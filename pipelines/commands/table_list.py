"""The list of all tables that `goldpath tables` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.commands.invocation import plain_table
from pipelines.tables import ZONES, TableVersion

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform


def table_list(platform: Platform) -> list[dict[str, Any]]:
    """All tables that a contract declares or that exist, ordered by zone. Grain: one entry per table.

    `version` and `rows` are None for a table without a published version, `contract`, `contract_version` and `owner`
    for a table without a contract, such as the platform's own.
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
    from pipelines.machine.terminal import Terminal

    numbers = ("version", "rows", "contract")
    table = plain_table("table", *numbers, "owner", right=numbers, no_wrap=["table"])
    for entry in entries:
        version, rows = entry["version"], entry["rows"]
        table.add_row(
            entry["table"],
            "-" if version is None else str(version),
            "-" if rows is None else f"{rows:,}",
            entry["contract_version"] or "-",
            entry["owner"] or "-",
        )
    Terminal().print(table)
