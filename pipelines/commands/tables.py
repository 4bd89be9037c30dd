"""`goldpath tables` and `goldpath rebuild`: tables as they are, as they were, and the past made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, print_json

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.governed.platform import Platform
    from pipelines.lakehouse.base import Lakehouse
    from pipelines.provenance.rebuild import Rebuilt, Request
    from pipelines.tables import TableId, TableVersion

#: What a column needs to be read; a table that needs more than the terminal has is shown on end.
COLUMN_WIDTH = 12
tables_app = typer.Typer(invoke_without_command=True)
Name = Annotated[str, typer.Argument(metavar="TABLE", help="zone/domain/table, as `goldpath tables` lists it.")]


@tables_app.callback()
def tables(context: typer.Context, as_json: AsJson = False) -> None:
    """Every table: its contract, its newest version and its rows. And with a command, one table's past.

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


@tables_app.command("history")
def tables_history(
    table: Name,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The commits of a table, newest first: when, by which run, how many rows since, made from which versions.

    Example: `goldpath tables history gold/flights/training_set`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.lakehouse import time_travel
        from pipelines.tables import TableId

        commits = time_travel.history(platform.lakehouse, TableId.parse(table), limit=limit)
        if as_json:
            print_json(commits)
        else:
            _show_history(commits)


@tables_app.command("show")
def tables_show(
    table: Name,
    version: Annotated[int | None, typer.Option(min=0, help="Of this version; else of the newest.")] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="ISO", help="As committed by an instant with its offset.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Rows of a table, as of a version or of an instant.

    Example: `goldpath tables show silver/flights/flights --as-of 2026-01-31T06:00:00+00:00 --limit 5`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.lakehouse import time_travel
        from pipelines.tables import TableId

        at = _wanted(platform.lakehouse, TableId.parse(table), version, as_of)
        time_travel.require_readable(platform.lakehouse, at)
        rows = platform.lakehouse.sample(at, limit)
        if as_json:
            print_json({"table": table, "version": at.version, "rows": rows.to_pylist()})
        else:
            _show_rows(at, rows)


def rebuild(
    table_version: Annotated[
        str | None, typer.Argument(metavar="TABLE@VERSION", help="A version of a gold table.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Instead: the training set of this model …")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="… in this registered version.")] = None,
    output: Annotated[Path | None, typer.Option(dir_okay=False, help="Parquet file for the rebuilt rows.")] = None,
    as_json: AsJson = False,
) -> None:
    """Computes a table version again from the input versions that it was made from, and compares every bit.

    Exit code 1 if the content differs.

    Example: `goldpath rebuild gold/flights/training_set@3 --output training_set.parquet`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.provenance import rebuild as again

        found = again.rebuild(platform, _request(platform, table_version, model, version), output=output)
        if as_json:
            print_json(_as_json(found))
        else:
            _show_rebuilt(found)
        if not found.same_content:
            raise typer.Exit(1)


def _wanted(house: Lakehouse, table: TableId, version: int | None, as_of: str | None) -> TableVersion:
    from pipelines import clock
    from pipelines.errors import SettingsError
    from pipelines.tables import TableVersion

    if version is not None and as_of is not None:
        raise SettingsError(
            object="--version and --as-of", observed="both", expected="one of them", next_step="leave one out"
        )
    if as_of is not None:
        return house.at(
            table, clock.instant(as_of, of="--as-of", next_step="`goldpath tables history` shows when what was")
        )
    return house.current(table) if version is None else TableVersion(table, version)


def _request(platform: Platform, table_version: str | None, model: str | None, version: int | None) -> Request:
    from pipelines.errors import SettingsError
    from pipelines.provenance import rebuild as again
    from pipelines.tables import TableVersion

    if table_version and not model and version is None:
        return again.of_version(platform, TableVersion.parse(table_version))
    if model and version is not None and not table_version:
        return again.of_model(platform, model, version)
    raise SettingsError(
        object="goldpath rebuild",
        observed="not exactly one thing to rebuild",
        expected="TABLE@VERSION, or --model NAME --version N",
        next_step="as in `goldpath rebuild gold/flights/training_set@3`",
    )


def _as_json(found: Rebuilt) -> dict[str, Any]:
    return {
        "table_version": str(found.request.at),
        "inputs": {name: str(at) for name, at in found.request.inputs.items()},
        "same_content": found.same_content,
        "same_order": found.same_order,
        "rows": found.rows,
        "rebuilt_rows": found.rebuilt_rows,
        "digest": found.digest,
        "rebuilt_digest": found.rebuilt_digest,
        "code_version": found.request.code_version,
        "code_now": found.code_now,
    }


def _show_rebuilt(found: Rebuilt) -> None:
    from rich.console import Console

    console, request = Console(highlight=False), found.request
    verdict = "the same content, bit for bit" if found.same_content else "NOT the same content"
    order = "in the same order" if found.same_order else "in another order"
    console.print(f"{request.at}: {verdict}{f', {order}' if found.same_content else ''}")
    console.print(f"  stored   {found.rows:>10,} rows  sha256 {found.digest}", soft_wrap=True)
    console.print(f"  rebuilt  {found.rebuilt_rows:>10,} rows  sha256 {found.rebuilt_digest}", soft_wrap=True)
    console.print("  from     " + ", ".join(sorted({str(at) for at in request.inputs.values()})))
    if request.code_version not in (None, found.code_now):
        console.print(f"  made by  {request.code_version}; this is {found.code_now}")


def _show_history(commits: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("version", "rows"):
        table.add_column(column, justify="right")
    for column in ("committed at (UTC)", "operation", "run"):
        table.add_column(column, no_wrap=True)
    table.add_column("made from")
    for commit in commits:
        table.add_row(
            str(commit["version"]),
            f"{commit['rows']:,}",
            commit["committed_at"][:19].replace("T", " "),
            commit["operation"],
            (commit["run_id"] or "-")[:8],
            ", ".join(sorted(set(commit["inputs"].values()))) or "-",
        )
    Console().print(table)


def _show_rows(at: TableVersion, rows: pa.Table) -> None:
    from rich.console import Console
    from rich.table import Table

    console, table = Console(), Table(title=str(at), title_justify="left", header_style="bold")
    shown = [["-" if value is None else str(value) for value in row.values()] for row in rows.to_pylist()]
    if len(rows.column_names) * COLUMN_WIDTH <= console.width:
        for name in rows.column_names:
            table.add_column(name)
        for values in shown:
            table.add_row(*values)
    else:  # on end, so that names and values can be read
        table.add_column("column")
        for values in zip(rows.column_names, *shown[: console.width // (2 * COLUMN_WIDTH)], strict=True):
            table.add_row(*values)
    console.print(table)
