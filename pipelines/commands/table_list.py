"""The list of all tables that `goldpath tables` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.commands.invocation import plain_table
from pipelines.errors import DamagedError, NotFoundError
from pipelines.tables import ZONES, TableId

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform
    from pipelines.lakehouse.base import Lakehouse


def table_list(platform: Platform) -> list[dict[str, Any]]:
    """All tables that a contract declares or that exist, ordered by zone. Grain: one entry per table.

    `version` and `rows` are None for a table without a published version and for a damaged one, whose `error` says what
    and where; `contract`, `contract_version` and `owner` for a table without a contract, such as the platform's own.
    """
    lakehouse = platform.lakehouse
    entries = []
    for table in sorted({*lakehouse.tables(), *platform.contracts}, key=lambda table: (ZONES.index(table.zone), table)):
        contract = platform.contracts.get(table)
        version, rows, error = _newest(lakehouse, table)
        entries.append(
            {
                "table": str(table),
                "contract": contract.path.name if contract else None,
                "contract_version": contract.version if contract else None,
                "owner": contract.owner if contract else None,
                "version": version,
                "rows": rows,
                "error": error,
            }
        )
    return entries


def _newest(lakehouse: Lakehouse, table: TableId) -> tuple[int | None, int | None, str | None]:
    """The newest version of a table, its rows, and what is damaged."""
    try:
        lakehouse.require_whole(table)
        snapshot = lakehouse.snapshot(table)
        return snapshot.at.version, snapshot.rows, None
    except NotFoundError:
        return None, None, None
    except DamagedError as error:
        return None, None, str(error)


def show(entries: list[dict[str, Any]]) -> None:
    """Prints the list as a table."""
    from pipelines.machine.terminal import Terminal

    numbers = ("version", "rows", "contract")
    table = plain_table("table", *numbers, "owner", right=numbers, no_wrap=["table"])
    for entry in entries:
        version, rows = entry["version"], entry["rows"]
        table.add_row(
            entry["table"],
            "damaged" if entry["error"] else "-" if version is None else str(version),
            "-" if rows is None else f"{rows:,}",
            entry["contract_version"] or "-",
            entry["owner"] or "-",
        )
    terminal = Terminal()
    terminal.print(table)
    for entry in entries:
        if entry["error"]:
            terminal.print(entry["error"], style="red")
