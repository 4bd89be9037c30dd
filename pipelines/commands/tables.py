"""`goldpath tables`: lists all tables, the history of a table, and its rows as of a version or an instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, plain_table, print_json

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.lakehouse.base import Lakehouse
    from pipelines.tables import TableId, TableVersion

#: The readable width of a column, in characters; a table with too many columns for the terminal is printed transposed.
COLUMN_WIDTH = 12
app = typer.Typer(invoke_without_command=True)
Name = Annotated[str, typer.Argument(metavar="TABLE", help="zone/domain/table, as `goldpath tables` lists it.")]


@app.callback()
def tables(context: typer.Context, as_json: AsJson = False) -> None:
    """Lists all tables with their newest version, rows, contract and owner. With a command: one table's past.

    Example: `goldpath tables`
    """
    if context.invoked_subcommand:
        return
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import table_list

        rows = table_list.table_list(platform)
        if as_json:
            print_json(rows)
        else:
            table_list.show(rows)


@app.command("history")
def tables_history(
    table: Name,
    limit: Annotated[int, typer.Option(min=1, help="At most this many commits.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Lists the commits of a table, newest first, with the time, the run, the rows and the input versions.

    Example: `goldpath tables history gold/shop/training_set`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.lakehouse import time_travel
        from pipelines.tables import TableId

        commits = time_travel.history(platform.lakehouse, TableId.parse(table), limit=limit)
        if as_json:
            print_json(commits)
        else:
            _show_history(commits)


@app.command("show")
def tables_show(
    table: Name,
    version: Annotated[int | None, typer.Option(min=0, help="Of this version. [default: the newest]")] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="ISO", help="Of the newest version at this instant, with its UTC offset."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many rows.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Shows rows of a table, as of a version or an instant.

    Example: `goldpath tables show silver/shop/orders --as-of 2026-01-31T06:00:00+00:00 --limit 5`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.tables import TableId

        at = _table_version(platform.lakehouse, TableId.parse(table), version, as_of)
        snapshot = platform.lakehouse.snapshot(at)
        snapshot.require_readable()
        rows = snapshot.sample(limit)
        if as_json:
            print_json({"table": table, "version": at.version, "rows": rows.to_pylist()})
        else:
            _show_rows(at, rows)


def _table_version(lakehouse: Lakehouse, table: TableId, version: int | None, as_of: str | None) -> TableVersion:
    """The version that --version or --as-of names, else the newest; raises SettingsError if both are given."""
    from datetime import UTC, datetime

    from pipelines import clock
    from pipelines.errors import SettingsError
    from pipelines.lakehouse import time_travel
    from pipelines.tables import TableVersion

    if version is not None and as_of is not None:
        raise SettingsError(
            object="--version and --as-of", observed="both", expected="one of them", next_step="leave one out"
        )
    if as_of is not None:
        instant = clock.known_at(as_of, now=datetime.now(UTC), of="--as-of")  # commits are by the wall clock
        return time_travel.at(lakehouse, table, instant)
    return lakehouse.current(table) if version is None else TableVersion(table, version)


def _show_history(commits: list[dict[str, Any]]) -> None:
    from pipelines.machine.terminal import Terminal

    numbers, texts = ("version", "rows"), ("committed at (UTC)", "operation", "run")
    table = plain_table(*numbers, *texts, "made from", right=numbers, no_wrap=texts)
    for commit in commits:
        table.add_row(
            str(commit["version"]),
            f"{commit['rows']:,}",
            commit["committed_at"][:19].replace("T", " "),
            commit["operation"],
            (commit["run_id"] or "-")[:8],
            ", ".join(sorted(set(commit["inputs"].values()))) or "-",
        )
    Terminal().print(table)


def _show_rows(at: TableVersion, rows: pa.Table) -> None:
    from rich.table import Table

    from pipelines.machine.terminal import Terminal

    console, table = Terminal(), Table(title=str(at), title_justify="left", header_style="bold")
    cells = [["-" if value is None else str(value) for value in row.values()] for row in rows.to_pylist()]
    if len(rows.column_names) * COLUMN_WIDTH <= console.width:
        for name in rows.column_names:
            table.add_column(name)
        for values in cells:
            table.add_row(*values)
    else:  # transposed: one line for each column
        table.add_column("column")
        for values in zip(rows.column_names, *cells[: console.width // (2 * COLUMN_WIDTH)], strict=True):
            table.add_row(*values)
    console.print(table)
