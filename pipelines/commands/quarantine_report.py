"""Quarantine for a terminal: what waits, one record, what was decided, what a replay did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: What a decision about a record waits for, by where the record stands.
PLACES = {
    "quarantined": "in quarantine until it is judged again",
    "clean": "clean now: the decision takes effect when its partition is judged again",
    "unjudged": "in no published version now: the decision takes effect if it is judged again",
}


def show_overview(tables: Sequence[Mapping[str, Any]]) -> None:
    """Each table with its rejected rows by state."""
    if not tables:
        Console().print("No quarantine yet: it comes with the first run of a silver table.")
        return
    shown = _table("table", "open", "corrected", "discarded", "pending")
    for entry in tables:
        shown.add_row(entry["table"], *[f"{entry[name]:,}" for name in ("open", "corrected", "discarded", "pending")])
    Console().print(shown)


def show_rows(said: Mapping[str, Any]) -> None:
    """Why rows of one table wait, then the rows."""
    console = Console()
    states = ", ".join(f"{said[state]:,} {state}" for state in ("open", "corrected", "discarded"))
    console.print(f"[bold]{said['version']}[/]  {states}\n", highlight=False)
    reasons = _table("reason", "rows", "column", "rule", left=("column", "rule"))
    for entry in said["reasons"]:
        reasons.add_row(entry["reason"], f"{entry['rows']:,}", entry["column"], Text(entry["rule"]))
    console.print(reasons)
    rows = _table("record", "file and row", "why", left=("file and row", "why"))
    for row in said["rows"]:
        why = ", ".join(f"{reason['code']} ({reason['value']})" for reason in row["reasons"])
        mark = (
            "" if row["state"] == "open" and not row["pending"] else f" [{row['state']}{', pending' * row['pending']}]"
        )
        rows.add_row(row["record_id"], Text(f"{row['file']}:{row['row_number']}"), Text(why + mark))
    console.print()
    console.print(rows if said["rows"] else "No such row.")


def show_record(found: Mapping[str, Any]) -> None:
    """One record and its story."""
    console = Console()
    pending = ", pending" if found["pending"] else ""
    console.print(f"[bold]{found['record_id']}[/]  {found['place']}, {found['state']}{pending}", highlight=False)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("table", f"{found['version']}, partition {found['partition']}")
    facts.add_row(
        "file", Text(f"{found['file']}:{found['row']} (batch {found['ingest_id']}, {found['ingested_at']:%F %T} UTC)")
    )
    if found["source"]:
        facts.add_row("line", Text(str(found["source"]["line"])))
    console.print(facts)
    if found["reasons"]:
        reasons = _table("reason", "column", "rule", "value", left=("column", "rule", "value"))
        for reason in found["reasons"]:
            reasons.add_row(reason["code"], reason["column"], Text(reason["rule"]), Text(str(reason["value"])))
        console.print("\n", reasons, sep="")
    values = _table("column", "as it arrived", "as judged", left=("as it arrived", "as judged"))
    judged = found["judged"] or {}
    for name, value in found["arrived"].items():
        other = judged.get(name)
        changed = found["judged"] is not None and other != value
        values.add_row(name, _value(value), _value(other) if changed else Text(""))
    console.print("\n", values, sep="")
    acts = _table("decided", "by", "act", "note", left=("by", "act", "note"))
    for made in found["decisions"]:
        what = "".join(f" {name}={value!r}" for name, value in made["values"].items())
        acts.add_row(f"{made['decided_at']:%F %T}", made["decided_by"], Text(made["act"] + what), Text(made["note"]))
    console.print("\n", acts if found["decisions"] else "Nothing was decided about it.", sep="")


def show_acts(table: str, acts: Sequence[Mapping[str, Any]], *, replayed: bool) -> None:
    """What was decided, and when it takes effect."""
    console = Console()
    shown = _table("record", "act", "stood", left=("act", "stood"))
    for act in acts:
        what = "".join(f" {name}={value!r}" for name, value in act["values"].items())
        shown.add_row(act["record_id"], Text(act["act"] + what), act["place"] if replayed else PLACES[act["place"]])
    console.print(shown)
    if not replayed:
        console.print(
            f"\nRecorded. Judge them again: goldpath quarantine replay {table} --pending --note …", soft_wrap=True
        )


def show_replay(said: Mapping[str, Any]) -> None:
    """What became of the rows."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"Judged again: {said['records']:,} rows; {said['clean']:,} clean now, {said['quarantined']:,} in quarantine."
    )
    console.print(f"Partitions {', '.join(said['partitions'])}; Dagster run {', '.join(said['runs'])}")
    console.print("What is derived from the table moves on when it is materialized next.")


def _value(value: Any) -> Text:
    return Text("(none)", style="dim") if value is None else Text(str(value))


def _table(*columns: str, left: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        first = number == 0
        table.add_column(column, justify="left" if first or column in left else "right", no_wrap=first, overflow="fold")
    return table
