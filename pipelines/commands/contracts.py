"""`goldpath contracts`: contracts that others wrote become ours, and ours are written for the tools of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, print_json, say

app = typer.Typer(help="Contracts from others, and for others (Open Data Contract Standard).", no_args_is_help=True)
Output = Annotated[Path | None, typer.Option(help="The file to write; without it, the contract is printed.")]


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="A contract in the Open Data Contract Standard, with any number of tables.")
    ],
    domain: Annotated[str, typer.Option(help="The data domain here that the tables become part of.")],
    folder: Annotated[
        Path | None,
        typer.Option(help="The contracts folder to write to: assets/DOMAIN/contracts; without it, nothing is written."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Makes contracts for bronze and silver from each table of a contract that others wrote.

    Lists what the new contracts keep, what a person has to say (it is `unknown` in them, and such a contract does not
    load), and what the file says that nothing here acts on.

    Example: `goldpath contracts import orders.odcs.yaml --domain shop --folder assets/shop/contracts`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.contracts import foreign
        from pipelines.landing.proposal.documents import render
        from pipelines.machine import files

        like = next((c for t, c in sorted(platform.contracts.items()) if t.domain == domain), None)
        tables = foreign.read(file, domain, like)
        documents = {
            f"{zone}_{table.name}.yaml": getattr(table, zone) for table in tables for zone in ("bronze", "silver")
        }
        if folder is not None and documents:
            texts = {folder / name: text for name, text in render(documents).items()}
            files.create(texts)
            for path in texts:
                say(f"wrote {path}", err=as_json)
        if as_json:
            print_json([{n: getattr(t, n) for n in ("name", "kept", "unsaid", "unused")} for t in tables])
            return
        if not tables:
            say(f"{file} describes no table: there is nothing to make a contract of.")
        for table in tables:
            say(f"{domain}/{table.name}: {'; '.join(table.kept)}")
        _print_remarks("To complete (`unknown`) or to confirm:", {t.name: t.unsaid for t in tables})
        _print_remarks("Not acted on here:", {t.name: t.unused for t in tables})


def _print_remarks(title: str, remarks: dict[str, list[str]]) -> None:
    """Prints each remark once, with the tables that it is about unless it is about all."""
    tables: dict[str, list[str]] = {}
    for table, texts in remarks.items():
        for text in dict.fromkeys(texts):
            tables.setdefault(text, []).append(table)
    if tables:
        say(f"\n{title}")
    for text, about in tables.items():
        say(f"- {text}" if len(about) == len(remarks) else f"- {', '.join(about)}: {text}")


@app.command()
def export(
    table: Annotated[str, typer.Argument(metavar="ZONE/DOMAIN/TABLE", help="The table: silver/shop/orders.")],
    output: Output = None,
) -> None:
    """Writes the contract of a table for tools that know only the standard, such as datacontract-cli.

    Example: `goldpath contracts export silver/shop/orders --output orders.odcs.yaml`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.contracts import exported
        from pipelines.errors import NotFoundError
        from pipelines.landing.proposal.documents import render
        from pipelines.machine import files
        from pipelines.tables import TableId

        contract = platform.contracts.get(TableId.parse(table))
        if contract is None:
            raise NotFoundError(
                object=f"contract of {table}",
                observed="no contract file describes this table",
                expected=f"one of {', '.join(map(str, sorted(platform.contracts)))}",
                next_step="choose one of these, or write its contract first",
            )
        document, left_out = exported.document(contract)
        text = next(iter(render({"": document}).values()))
        if output is None:
            say(text.removesuffix("\n"))
        else:
            files.create({output: text})
            say(f"wrote {output}")
        for remark in left_out:
            say(f"left out: {remark}", err=True)
