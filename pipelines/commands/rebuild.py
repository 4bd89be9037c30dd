"""`goldpath rebuild`: computes a table version again from its inputs and compares it with the stored one."""

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
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Rebuild the training set of a version of this model instead.")
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="The registered version of the model.")] = None,
    output: Annotated[Path | None, typer.Option(dir_okay=False, help="Parquet file for the rebuilt rows.")] = None,
    as_json: AsJson = False,
) -> None:
    """Computes a table version again from its recorded input versions, and compares it with the stored rows bit by bit.

    Exit code 1 if the content differs.

    Example: `goldpath rebuild gold/shop/training_set@3 --output training_set.parquet`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.provenance import rebuild as rebuilding

        rebuilt = rebuilding.rebuild(platform, _request(platform, table_version, model, version), output=output)
        if as_json:
            print_json(_as_json(rebuilt))
        else:
            _show(rebuilt)
        if not rebuilt.same_content:
            raise typer.Exit(1)


def _request(platform: Platform, table_version: str | None, model: str | None, version: int | None) -> Request:
    """The rebuild that the options ask for; raises SettingsError if they name none, or two."""
    from pipelines.errors import SettingsError
    from pipelines.provenance import rebuild as rebuilding
    from pipelines.tables import TableVersion

    if table_version and not model and version is None:
        return rebuilding.request_for_version(platform, TableVersion.parse(table_version))
    if model and version is not None and not table_version:
        return rebuilding.request_for_model(platform, model, version)
    raise SettingsError(
        object="goldpath rebuild",
        observed="not exactly one version to rebuild",
        expected="TABLE@VERSION, or --model NAME --version N",
        next_step="for example: goldpath rebuild gold/shop/training_set@3",
    )


def _as_json(rebuilt: Rebuilt) -> dict[str, Any]:
    return {
        "table_version": str(rebuilt.request.at),
        "inputs": {name: str(at) for name, at in rebuilt.request.inputs.items()},
        "same_content": rebuilt.same_content,
        "same_order": rebuilt.same_order,
        "rows": rebuilt.rows,
        "rebuilt_rows": rebuilt.rebuilt_rows,
        "digest": rebuilt.digest,
        "rebuilt_digest": rebuilt.rebuilt_digest,
        "code_version": rebuilt.request.code_version,
        "code_now": rebuilt.code_now,
    }


def _show(rebuilt: Rebuilt) -> None:
    from pipelines.machine.terminal import Terminal

    console, request = Terminal(highlight=False), rebuilt.request
    comparison = "the same content, bit for bit" if rebuilt.same_content else "NOT the same content"
    order = "in the same order" if rebuilt.same_order else "in another order"
    console.print(f"{request.at}: {comparison}{f', {order}' if rebuilt.same_content else ''}")
    console.print(f"  stored   {rebuilt.rows:>10,} rows  sha256 {rebuilt.digest}", soft_wrap=True)
    console.print(f"  rebuilt  {rebuilt.rebuilt_rows:>10,} rows  sha256 {rebuilt.rebuilt_digest}", soft_wrap=True)
    console.print("  from     " + ", ".join(sorted({str(at) for at in request.inputs.values()})))
    if request.code_version not in (None, rebuilt.code_now):
        console.print(f"  stored by code {request.code_version}, rebuilt by code {rebuilt.code_now}")
