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
    str, typer.Argument(metavar="DOMAIN/SOURCE", help="Folder below the landing root: shop/orders.")
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
    from pipelines.landing.file_names import otherwise_named
    from pipelines.landing.fresh import fresh
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
            error = platform.broken().get(domain)
            words = {"observed": "no contract describes it", "expected": f"goldpath landing propose {domain}/{source}"}
            if error is not None:
                words = {"observed": f"{error.object}: {error.observed}", "expected": error.next_step}
            state = "unknown source" if error is None else "domain does not load"
            entries.append({"delivery": f"{domain}/{source}/", "state": state, **words})
        findings += in_no_interval(store, domain)
        for source in platform.landing.sources(domain):
            findings += misplaced(store, domain, source)
    return entries + [
        {"delivery": f.subject, "state": f.code, "observed": f.observed, "expected": f.expected} for f in findings
    ]


@app.command()
def retry(source: SourceFolder) -> None:
    """Lets the next run of a source judge its refused deliveries again. What was taken stays taken.

    Example: `goldpath landing retry shop/orders`
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
        say(f"{len(deliveries)} deliveries of {source} will be read again, by the next run:")
        say(f"goldpath materialize {table} silver/{source}{span}")


@app.command()
def propose(
    source: SourceFolder,
    folder: Annotated[
        Path | None,
        typer.Option(help="The domain's contracts folder, to write to; Python files are written beside it."),
    ] = None,
) -> None:
    """Proposes contracts for bronze and silver from what has landed of a source, and the code to declare them.

    What cannot be known from a file is `unknown` there; replace it, since such a contract does not load.

    Example: `goldpath landing propose shop/payments --folder assets/shop/contracts`
    """
    with errors_shown():
        from pipelines import settings
        from pipelines.landing.proposal import code, documents
        from pipelines.landing.proposal.look import look
        from pipelines.landing.stores import open_store
        from pipelines.landing.zone import Landing

        domain, name = _domain_and_source(source)
        seen = look(Landing(open_store(settings.get())), domain, name)
        proposed = documents.documents(seen, *documents.owner_and_tags(folder))
        documents.require_loading(seen, proposed)
        texts = documents.render(proposed)
        if folder is None:
            for file, text in (texts | code.lines(name)).items():
                say(f"# {file}\n{text}")
        else:
            _write(folder, name, texts, documents.owner_and_tags(folder))
        for note in seen.summary():
            say(f"# {note}" if folder is None else note)
        unknown = [file for file, document in proposed.items() if documents.has_unknown(document)]
        if folder and unknown:
            say(f"replace each `unknown` in {', '.join(['domain.py', *unknown])}; then run `make lint`")


def _domain_and_source(text: str) -> tuple[str, str]:
    """The two parts of `DOMAIN/SOURCE`.

    Raises:
        NotFoundError: if there are not two, or one cannot name a table.
    """
    from pipelines.errors import NotFoundError
    from pipelines.tables import TableId

    parts = text.rstrip("/").split("/")
    if len(parts) != 2:
        raise NotFoundError(
            object=f"source {text!r}",
            observed=f"{len(parts)} part(s)",
            expected="DOMAIN/SOURCE, the folder below the landing root, such as shop/payments",
            next_step="`goldpath landing list` lists the sources without a contract",
        )
    table = TableId.parse("/".join(["bronze", *parts]))
    return table.domain, table.table


def _write(folder: Path, source: str, texts: dict[str, str], stated: tuple[str, dict[str, str]]) -> None:
    """Writes the contracts, and the modules beside their folder: new ones, or more lines in those that are there.

    Raises:
        SettingsError: if a contract exists already, or the domain's folder is no name of a Python package.
    """
    from pipelines.landing.proposal import code
    from pipelines.machine import files

    folder = folder.absolute()
    files.require_new(folder / file for file in texts)
    package = folder.parent
    code.require_package(package)
    written = {folder / file: text for file, text in texts.items()}
    by_hand = []
    for file, text in code.modules(package.name, source, *stated).items():
        path = package / file
        now = path.read_text(encoding="utf-8") if path.exists() else None
        if now is None:
            written[path] = text
        elif file in code.lines(source):
            more = code.extended(file, now, source)
            if more is None:
                by_hand.append(f"\nadd to {path}:\n\n{code.lines(source)[file]}")
            elif more != now:
                written[path] = more
    files.replace_all(written)
    for path in written:
        say(f"wrote {path}")
    for text in by_hand:
        say(text)
