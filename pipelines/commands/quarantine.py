"""`goldpath quarantine`: lists rejected rows with their reasons, records decisions about them, judges them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, print_json

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform
    from pipelines.orchestration.replays import RowSelection
    from pipelines.quarantine.decisions import State
    from pipelines.quarantine.table import Quarantine
    from pipelines.tables import TableId

app = typer.Typer(help="Rejected rows: their reasons, and decisions about them.", no_args_is_help=True)
Table = Annotated[str, typer.Argument(metavar="TABLE", help="domain/table, as `goldpath quarantine list` shows it.")]
Note = Annotated[str, typer.Option("--note", help="The reason for it, recorded with each record.")]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who decides. [default: the user of this process]")
]
Replay = Annotated[bool, typer.Option("--replay", help="Judge the rows again immediately.")]
Records = Annotated[list[str], typer.Argument(metavar="RECORD...", help="Ids of records.")]


@app.command("list")
def list_rows(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="domain/table. [default: all tables]")] = None,
    reason: Annotated[str | None, typer.Option(help="Only rows that broke this rule.")] = None,
    partition: Annotated[str | None, typer.Option(metavar="DAY", help="Only rows of this partition.")] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="open, corrected or discarded. [default: open and corrected]")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many rows.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Lists the rejected rows of a table, after their numbers by reason. Without a table: their numbers in each table.

    Example: `goldpath quarantine list shop/orders --reason amount_range --limit 5`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import quarantine_report as report
        from pipelines.quarantine.table import WAITING, overview

        if table is None:
            tables = overview(platform)
            print_json(tables) if as_json else report.show_overview(tables)
            return
        quarantine = _quarantine(platform, table)
        states = (_state(state),) if state else WAITING
        rows = quarantine.rows(reason=reason, partition=partition, states=states, limit=limit)
        summary = {"table": table, "version": str(quarantine.at), **quarantine.states()}
        listing = summary | {"reasons": quarantine.reasons(), "rows": rows}
        print_json(listing) if as_json else report.show_rows(listing)


@app.command()
def show(table: Table, record: Annotated[str, typer.Argument(metavar="RECORD")], as_json: AsJson = False) -> None:
    """Shows one record: its line and file as it arrived, the reasons of its rejection, and the decisions about it.

    Example: `goldpath quarantine show shop/orders 3f9a1c0d5b7e2468000000000017`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import quarantine_report as report

        details = _quarantine(platform, table).record(record)
        print_json(details) if as_json else report.show_record(details)


@app.command()
def correct(
    table: Table,
    note: Note,
    record: Annotated[str | None, typer.Option(metavar="RECORD", help="The record that --set corrects.")] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="COLUMN=VALUE", help="A source column and its correct text.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A .json, .jsonl or .csv file with _record_id and the corrected columns."),
    ] = None,
    any_key: Annotated[
        bool, typer.Option("--any-key", help="Also if another row has the key: the contract's winner stays.")
    ] = False,
    by: By = None,
    replay: Replay = False,
    as_json: AsJson = False,
) -> None:
    """Corrects values of rejected rows. A row is judged again with them, and keeps its record id, file and row number.

    Columns are those of the source file. The original values stay in bronze. A later correction of the same record
    replaces an earlier one.

    Example: `goldpath quarantine correct shop/customers --record 3f9a1c0d5b7e2468000000000017 --set year=2004 --note x`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.quarantine import corrections

        corrected = _corrections(record, values or [], file)
        quarantine = _quarantine(platform, table)
        keys: Literal["free", "any"] = "any" if any_key else "free"
        acts = corrections.correct(quarantine, corrected, note=note, by=by, keys=keys)
        _finish(platform, quarantine, acts, note=note, by=by, replay=replay, as_json=as_json)


@app.command()
def discard(
    table: Table, records: Records, note: Note, by: By = None, replay: Replay = False, as_json: AsJson = False
) -> None:
    """Discards rows: they stay in quarantine, whatever the rules become, and no longer count as open.

    Example: `goldpath quarantine discard shop/orders 3f9a1c0d5b7e2468000000000017 --note "test order"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.quarantine import corrections

        quarantine = _quarantine(platform, table)
        acts = corrections.discard(quarantine, records, note=note, by=by)
        _finish(platform, quarantine, acts, note=note, by=by, replay=replay, as_json=as_json)


@app.command()
def reopen(
    table: Table, records: Records, note: Note, by: By = None, replay: Replay = False, as_json: AsJson = False
) -> None:
    """Revokes a correction or a discard: the rows are judged as they arrived.

    Example: `goldpath quarantine reopen shop/orders 3f9a1c0d5b7e2468000000000017 --note "it was paid"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.quarantine import corrections

        quarantine = _quarantine(platform, table)
        acts = corrections.reopen(quarantine, records, note=note, by=by)
        _finish(platform, quarantine, acts, note=note, by=by, replay=replay, as_json=as_json)


@app.command()
def replay(
    table: Table,
    note: Note,
    record: Annotated[list[str] | None, typer.Option(metavar="RECORD", help="This record.")] = None,
    reason: Annotated[str | None, typer.Option(help="All waiting rows that were rejected for this reason.")] = None,
    partition: Annotated[list[str] | None, typer.Option(metavar="DAY", help="All rows of this partition.")] = None,
    pending: Annotated[
        bool, typer.Option("--pending", help="All rows with a decision that is newer than their last judgement.")
    ] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Judges rows again, such as after a correction of the contract, by a run of the table over their partitions only.

    Example: `goldpath quarantine replay shop/orders --reason amount_range --note "contract 1.1 allows a day"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import quarantine_report as report
        from pipelines.orchestration.replays import RowSelection
        from pipelines.quarantine.table import silver_table

        selection = RowSelection(tuple(record or ()), reason, tuple(partition or ()), pending)
        summary = _judge_again(platform, silver_table(platform, table), selection, note=note, by=by)
        print_json(summary) if as_json else report.show_replay(summary)


def _quarantine(platform: Platform, name: str) -> Quarantine:
    """The quarantine of the silver table `domain/table`; raises NotFoundError if there is none."""
    from pipelines.quarantine.table import Quarantine, silver_table

    return Quarantine.of(platform, silver_table(platform, name))


def _judge_again(
    platform: Platform, table: TableId, selection: RowSelection, *, note: str, by: str | None
) -> dict[str, Any]:
    """Replays the selected rows with the assets of this code location."""
    from pipelines.definitions import defs
    from pipelines.orchestration.replays import replay

    return replay(platform, table, selection, definitions=defs, note=note, by=by)


def _finish(
    platform: Platform,
    quarantine: Quarantine,
    acts: list[dict[str, Any]],
    *,
    note: str,
    by: str | None,
    replay: bool,
    as_json: bool,
) -> None:
    """Judges the records of the acts again if `replay` is set, then prints the acts and the result."""
    from pipelines.commands import quarantine_report as report

    output: dict[str, Any] = {"acts": acts}
    if replay:
        from pipelines.orchestration.replays import RowSelection

        selection = RowSelection(records=tuple(act["record_id"] for act in acts))
        output["replay"] = _judge_again(platform, quarantine.silver, selection, note=note, by=by)
    if as_json:
        print_json(output)
        return
    report.show_acts(f"{quarantine.silver.domain}/{quarantine.silver.table}", acts, replayed=replay)
    if replay:
        report.show_replay(output["replay"])


def _state(text: str) -> State:
    """The state that --state names; raises SettingsError if there is no such state."""
    from pipelines.errors import SettingsError
    from pipelines.quarantine.table import STATES

    for state in STATES:
        if state == text:
            return state
    raise SettingsError(
        object="--state",
        observed=repr(text),
        expected=f"one of {', '.join(STATES)}",
        next_step="leave it out for all waiting rows: open ones, and corrected ones that were rejected again",
    )


def _corrections(record: str | None, values: list[str], file: Path | None) -> dict[str, Any]:
    """The corrected values by record id, of --record and --set or of --file; raises SettingsError for other options."""
    from pipelines.errors import SettingsError
    from pipelines.quarantine import corrections

    if file is not None and record is None and not values:
        return corrections.read(file)
    pairs = [value.partition("=") for value in values]
    if file is not None or record is None or not all(name and equals for name, equals, _ in pairs):
        raise SettingsError(
            object="quarantine correct",
            observed=f"--record {record}, --set {', '.join(values) or None}, --file {file}",
            expected="--record with --set COLUMN=VALUE, or --file alone",
            next_step="the rows of a file have _record_id and the corrected columns; only a JSON null removes a value",
        )
    return {record: {name: value for name, _, value in pairs}}
