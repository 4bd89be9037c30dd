"""`goldpath quarantine`: rejected rows, why they were rejected, and what to do about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, print_json

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform
    from pipelines.quarantine.decisions import State
    from pipelines.quarantine.table import Quarantine

app = typer.Typer(help="Rejected rows: why, and what to do about them.", no_args_is_help=True)
Table = Annotated[str, typer.Argument(metavar="TABLE", help="domain/table, as `goldpath quarantine list` shows it.")]
Note = Annotated[str, typer.Option("--note", help="Why; it is kept with the decision.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who decides; else the user of this process.")]
Replay = Annotated[bool, typer.Option("--replay", help="Judge the rows again at once.")]
Records = Annotated[list[str], typer.Argument(metavar="RECORD...", help="Record ids.")]


@app.command("list")
def list_rows(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="domain/table; else every table.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only rows that broke this rule.")] = None,
    partition: Annotated[str | None, typer.Option(metavar="DAY", help="Only rows of this partition.")] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="open, corrected or discarded; else the first two.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many rows.")] = 20,
    as_json: AsJson = False,
) -> None:
    """How many rows wait and why, then the rows. Without a table: how many wait in each.

    Example: `goldpath quarantine list flights/flights --reason dep_delay_range --limit 5`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import quarantine_report as report
        from pipelines.quarantine.table import WAITING, overview

        if table is None:
            found = overview(platform)
            print_json(found) if as_json else report.show_overview(found)
            return
        here = _opened(platform, table)
        states = (_state(state),) if state else WAITING
        rows = here.rows(reason=reason, partition=partition, states=states, limit=limit)
        said = {"table": table, "version": str(here.at), **here.states(), "reasons": here.reasons(), "rows": rows}
        print_json(said) if as_json else report.show_rows(said)


@app.command()
def show(table: Table, record: Annotated[str, typer.Argument(metavar="RECORD")], as_json: AsJson = False) -> None:
    """One record: the line as it arrived, the file it stood in, why it was rejected, and what was decided about it.

    Example: `goldpath quarantine show flights/flights 3f9a1c0d5b7e2468000000000017`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import quarantine_report as report

        found = _opened(platform, table).record(record)
        print_json(found) if as_json else report.show_record(found)


@app.command()
def correct(
    table: Table,
    note: Note,
    record: Annotated[str | None, typer.Option(metavar="RECORD", help="The record that --set corrects.")] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="COLUMN=VALUE", help="A source column and its right text.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="PATH", help=".json, .jsonl or .csv: _record_id and corrected columns.")
    ] = None,
    by: By = None,
    replay: Replay = False,
    as_json: AsJson = False,
) -> None:
    """Corrects values as they arrived; the row is judged again with them, and keeps its record id, file and row.

    Columns are those of the source file. What arrived stays in bronze; a later correction of the same record wins.

    Example: `goldpath quarantine correct flights/planes --record 3f9a1c0d5b7e2468000000000017 --set year=2004 --note x`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.quarantine import corrections

        wanted = _corrections(record, values or [], file)
        here = _opened(platform, table)
        _acted(platform, here, corrections.correct(here, wanted, note=note, by=by), note, by, replay, as_json)


@app.command()
def discard(
    table: Table, records: Records, note: Note, by: By = None, replay: Replay = False, as_json: AsJson = False
) -> None:
    """Says that rows are not to be used, whatever the rules; they stay in quarantine and no longer count as open.

    Example: `goldpath quarantine discard flights/flights 3f9a1c0d5b7e2468000000000017 --note "test flight"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.quarantine import corrections

        here = _opened(platform, table)
        _acted(platform, here, corrections.discard(here, records, note=note, by=by), note, by, replay, as_json)


@app.command()
def reopen(
    table: Table, records: Records, note: Note, by: By = None, replay: Replay = False, as_json: AsJson = False
) -> None:
    """Takes back a correction or a discard: the rows are judged as they arrived.

    Example: `goldpath quarantine reopen flights/flights 3f9a1c0d5b7e2468000000000017 --note "it did fly"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.quarantine import corrections

        here = _opened(platform, table)
        _acted(platform, here, corrections.reopen(here, records, note=note, by=by), note, by, replay, as_json)


@app.command()
def replay(
    table: Table,
    note: Note,
    record: Annotated[list[str] | None, typer.Option(metavar="RECORD", help="These records.")] = None,
    reason: Annotated[str | None, typer.Option(help="All waiting rows with this reason.")] = None,
    partition: Annotated[list[str] | None, typer.Option(metavar="DAY", help="Whole partitions.")] = None,
    pending: Annotated[bool, typer.Option("--pending", help="What was decided since it was judged last.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Judges rows again, by materializing the table over their partitions alone: after a contract was mended, say.

    Example: `goldpath quarantine replay flights/flights --reason dep_delay_range --note "contract 1.1 allows a day"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.commands import quarantine_report as report
        from pipelines.definitions import defs
        from pipelines.orchestration.replays import Which
        from pipelines.orchestration.replays import replay as judge_again
        from pipelines.quarantine.table import silver_table

        which = Which(tuple(record or ()), reason, tuple(partition or ()), pending)
        said = judge_again(platform, silver_table(platform, table), which, definitions=defs, note=note, by=by)
        print_json(said) if as_json else report.show_replay(said)


def _opened(platform: Platform, name: str) -> Quarantine:
    from pipelines.quarantine.table import Quarantine, silver_table

    return Quarantine.of(platform, silver_table(platform, name))


def _acted(
    platform: Platform,
    here: Quarantine,
    acts: list[dict[str, Any]],
    note: str,
    by: str | None,
    replay: bool,
    as_json: bool,
) -> None:
    """Says what was decided and, if asked, what became of it."""
    from pipelines.commands import quarantine_report as report

    said: dict[str, Any] = {"acts": acts}
    if replay:
        from pipelines.definitions import defs
        from pipelines.orchestration.replays import Which
        from pipelines.orchestration.replays import replay as judge_again

        which = Which(records=tuple(act["record_id"] for act in acts))
        said["replay"] = judge_again(platform, here.silver, which, definitions=defs, note=note, by=by)
    if as_json:
        print_json(said)
        return
    report.show_acts(f"{here.silver.domain}/{here.silver.table}", acts, replayed=replay)
    if replay:
        report.show_replay(said["replay"])


def _state(text: str) -> State:
    from pipelines.errors import SettingsError
    from pipelines.quarantine.table import STATES

    for state in STATES:
        if state == text:
            return state
    raise SettingsError(
        object="--state",
        observed=repr(text),
        expected=f"one of {', '.join(STATES)}",
        next_step="leave it out for all rows that wait: open, and corrected but rejected again",
    )


def _corrections(record: str | None, values: list[str], file: Path | None) -> dict[str, Any]:
    """What --record and --set, or --file, say."""
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
            next_step="a file's rows carry _record_id and the corrected columns; only a JSON null says `no value`",
        )
    return {record: {name: value for name, _, value in pairs}}
