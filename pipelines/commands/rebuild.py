"""`goldpath rebuild`: a table version computed again from its inputs, and compared with the stored one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, print_json

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform
    from pipelines.provenance.rebuild import Rebuilt, Request


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
