"""`goldpath landing`: deliveries that were not taken, and a first contract for a source that has none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, print_json, say

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform

app = typer.Typer(help="Deliveries that landed and were not taken; contracts for new sources.", no_args_is_help=True)
SourceFolder = Annotated[
    str, typer.Argument(metavar="DOMAIN/SOURCE", help="Folder below the landing root: flights/weather.")
]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Lists refused deliveries with the reason, deliveries that no run has judged, and sources without a contract.

    Example: `goldpath landing list`
    """
    with errors_shown(), opened_platform() as platform:
        rows = open_deliveries(platform)
        if as_json:
            print_json(rows)
            return
        from rich.table import Table

        from pipelines.machine.terminal import Terminal

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("delivery", "state", "observed", "expected"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(row["delivery"], row["state"], row["observed"], row["expected"])
        Terminal().print(table if rows else "Everything that has landed was taken.")


def open_deliveries(platform: Platform) -> list[dict[str, Any]]:
    """What has landed and is not taken. Grain: one entry per delivery, per folder that no run looks into, or per source
    without a contract."""
    from pipelines.landing.edge import fresh
    from pipelines.landing.file_names import otherwise_named
    from pipelines.landing.placement import in_no_interval, misplaced
    from pipelines.medallion.unknown_sources import unknown_sources

    entries, store = [], platform.landing.store
    findings = in_no_interval(store, "")
    for table, contract in sorted(platform.contracts.items()):
        if table.zone != "bronze":
            continue
        ledger = platform.ledger(table)
        findings += otherwise_named(platform.landing, contract, None)
        for record in ledger.records(fate="refused"):
            if platform.landing.now(record.delivery) is not None:
                words = {"observed": record.observed or "", "expected": record.expected or ""}
                entries.append({"delivery": record.delivery.uri, "state": f"refused: {record.code}", **words})
        landed = platform.landing.deliveries(table.domain, table.table)
        refused = {entry["delivery"] for entry in entries}
        entries += [
            {"delivery": d.uri, "state": "not looked at", "observed": "", "expected": ""}
            for d in fresh(ledger, contract, landed)
            if d.uri not in refused
        ]
    for domain in platform.landing.domains():
        for source in unknown_sources(platform.landing, domain, platform.contracts):
            words = {"observed": "no contract describes it", "expected": f"goldpath landing propose {domain}/{source}"}
            entries.append({"delivery": f"{domain}/{source}/", "state": "unknown source", **words})
        findings += in_no_interval(store, domain)
        for source in platform.landing.sources(domain):
            findings += misplaced(store, domain, source)
    return entries + [
        {"delivery": f.subject, "state": f.code, "observed": f.observed, "expected": f.expected} for f in findings
    ]


@app.command()
def retry(source: SourceFolder) -> None:
    """Lets the next run of a source judge its refused deliveries again. What was taken stays taken.

    Example: `goldpath landing retry flights/weather`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.tables import TableId

        table = TableId.parse(f"bronze/{source}")
        count = platform.ledger(table).forget_refused()
        say(f"{count} refused deliveries of {source} will be looked at again: goldpath materialize {table}")


@app.command()
def retake(
    source: SourceFolder,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="Files, as their path ends. [default: all]")
    ] = None,
) -> None:
    """Lets the next run read what it took from a source again: after the contract's format options were corrected.

    The rows of these files are replaced in one commit, in bronze and in all that is derived from it; the order in which
    files arrived stays. A file that cannot be read keeps the rows that it has.

    Example: `goldpath landing retake shop/payments dt=2026-11-19/payments.csv`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.definitions import daily_tables
        from pipelines.errors import NotFoundError
        from pipelines.landing import interval
        from pipelines.tables import TableId

        table = TableId.parse(f"bronze/{source}")
        ledger = platform.ledger(table)
        taken = {record.delivery.uri for record in ledger.records(fate="batch")}
        uris = {uri for uri in taken if not files or any(f"/{uri}".endswith(f"/{file.lstrip('/')}") for file in files)}
        missing = [file for file in files or () if not any(f"/{uri}".endswith(f"/{file.lstrip('/')}") for uri in uris)]
        if missing or not uris:
            raise NotFoundError(
                object=f"source {source}",
                observed=f"no run has taken {', '.join(missing) or 'a file of it'}",
                expected="files that were taken: DOMAIN/SOURCE/dt=INTERVAL/NAME, or the end of that",
                next_step="correct the names; files that were refused are judged again after `goldpath landing retry`",
            )
        deliveries = ledger.ask_retake(uris=uris)
        days = sorted({delivery.interval for delivery in deliveries}, key=interval.order)
        span = f" --from {days[0]} --to {days[-1]}" if table in daily_tables() else ""
        typer.echo(f"{len(deliveries)} deliveries of {source} will be read again, by the next run:")
        typer.echo(f"goldpath materialize {table} silver/{source}{span}")


@app.command()
def propose(
    source: SourceFolder,
    folder: Annotated[
        Path | None,
        typer.Option(help="The domain's contracts folder, to write to; Python files are written beside it if missing."),
    ] = None,
) -> None:
    """Proposes contracts for bronze and silver from the newest delivery of a source, and the code to declare them.

    What cannot be known from a file is `unknown` there; replace it, since such a contract does not load.

    Example: `goldpath landing propose shop/payments --folder assets/shop/contracts`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.landing import proposal

        domain, _, name = source.partition("/")
        sample = proposal.newest_sample(platform.landing, domain, name)
        like = next((c for t, c in sorted(platform.contracts.items()) if t.domain == domain), None)
        texts = proposal.render(proposal.documents(domain, name, sample, like))
        columns = list(sample.columns)
        lines = {"bronze.py": proposal.bronze_lines(name), "silver.py": proposal.silver_lines(name, columns)}
        if folder is None:
            for file, text in (texts | lines).items():
                say(f"# {file}\n{text}")
            return
        _new(folder, texts)
        modules = proposal.modules(domain, name, columns)
        existing = {file for file in modules if (folder.parent / file).exists()}
        _new(folder.parent, {file: text for file, text in modules.items() if file not in existing})
        for file in sorted(existing & lines.keys()):
            say(f"\nadd to {folder.parent / file}:\n\n{lines[file]}")
        unknown = sorted(file for file, text in texts.items() if "unknown" in text)
        if unknown:
            say(f"replace each `unknown` in {', '.join(unknown)}; then run `make lint`")


def _new(folder: Path, texts: dict[str, str]) -> None:
    """Writes new files: all of them, or none if one of them exists already.

    Raises:
        SettingsError: if one of them exists.
    """
    from pipelines.errors import SettingsError

    for file in texts:
        if (folder / file).exists():
            raise SettingsError(
                object=f"{folder / file}",
                observed="it exists",
                expected="no file of that name: an existing file is never overwritten",
                next_step="propose into another folder, or move the file away",
            )
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
        say(f"wrote {folder / file}")
