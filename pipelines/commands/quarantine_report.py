"""What `goldpath quarantine` prints: tables, rows, one record, decisions, and the result of a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from pipelines.commands.invocation import plain_table
from pipelines.machine.terminal import Terminal

#: When a decision about a record takes effect, by the table that holds the record.
PLACES = {
    "quarantined": "in quarantine until it is judged again",
    "clean": "clean now: the decision takes effect when its partition is judged again",
    "unjudged": "in no published version now: the decision takes effect if it is judged again",
}
COUNTS = ("open", "corrected", "discarded", "pending")


def show_overview(tables: Sequence[Mapping[str, Any]]) -> None:
    """Prints each table with the numbers of its rejected rows."""
    if not tables:
        Terminal().print("No quarantine yet: the first run of a silver table creates one.")
        return
    listing = plain_table("table", *COUNTS, right=COUNTS, no_wrap=["table"])
    for entry in tables:
        listing.add_row(entry["table"], *[f"{entry[name]:,}" for name in COUNTS])
    Terminal().print(listing)


def show_rows(listing: Mapping[str, Any]) -> None:
    """Prints the reasons of one table's rejected rows with their numbers, then the rows."""
    console = Terminal()
    states = ", ".join(f"{listing[state]:,} {state}" for state in ("open", "corrected", "discarded"))
    console.print(f"{listing['version']}  {states}\n", highlight=False)
    reasons = plain_table("reason", "rows", "column", "rule", right=["rows"], no_wrap=["reason"])
    for entry in listing["reasons"]:
        reasons.add_row(entry["reason"], f"{entry['rows']:,}", entry["column"], entry["rule"])
    console.print(reasons)
    rows = plain_table("record", "file and row", "why", no_wrap=["record"])
    for row in listing["rows"]:
        why = ", ".join(
            reason["code"] if reason["value"] is None else f"{reason['code']} ({reason['value']})"
            for reason in row["reasons"]
        )
        mark = (
            "" if row["state"] == "open" and not row["pending"] else f" [{row['state']}{', pending' * row['pending']}]"
        )
        rows.add_row(row["record_id"], f"{row['file']}:{row['row_number']}", why + mark)
    console.print()
    console.print(rows if listing["rows"] else "No such row.")


def show_record(record: Mapping[str, Any]) -> None:
    """Prints one record: where it is, its reasons, its values as they arrived and as judged, and its decisions."""
    console = Terminal()
    pending = ", pending" if record["pending"] else ""
    console.print(f"{record['record_id']}  {record['place']}, {record['state']}{pending}", highlight=False)
    origin = Table.grid(padding=(0, 2))
    origin.add_row("table", f"{record['version']}, partition {record['partition']}")
    batch = f"batch {record['ingest_id']}, {record['ingested_at']:%F %T} UTC"
    origin.add_row("file", f"{record['file']}:{record['row']} ({batch})")
    if record["source"]:
        origin.add_row("line", str(record["source"]["line"]))
    console.print(origin)
    if record["reasons"]:
        reasons = plain_table("reason", "column", "rule", "value", no_wrap=["reason"])
        for reason in record["reasons"]:
            reasons.add_row(reason["code"], reason["column"], reason["rule"], _value(reason["value"]))
        console.print("\n", reasons, sep="")
    values = plain_table("column", "as it arrived", "as judged", no_wrap=["column"])
    judged = record["judged"] or {}
    for name, value in record["arrived"].items():
        judged_value = judged.get(name)
        changed = record["judged"] is not None and judged_value != value
        values.add_row(name, _value(value), _value(judged_value) if changed else "")
    console.print("\n", values, sep="")
    decisions = plain_table("decided", "by", "act", "note", no_wrap=["decided"])
    for decision in record["decisions"]:
        decided_at = f"{decision['decided_at']:%F %T}"
        decisions.add_row(decided_at, decision["decided_by"], _act(decision), decision["note"])
    console.print("\n", decisions if record["decisions"] else "No decision about it.", sep="")


def show_acts(table: str, acts: Sequence[Mapping[str, Any]], *, replayed: bool) -> None:
    """Prints the recorded decisions; without a replay also when they take effect."""
    console = Terminal()
    listing = plain_table("record", "act", "was", no_wrap=["record"])
    for act in acts:
        listing.add_row(act["record_id"], _act(act), act["place"] if replayed else PLACES[act["place"]])
    console.print(listing)
    if not replayed:
        console.print(
            f"\nRecorded. To judge them again: goldpath quarantine replay {table} --pending --note …", soft_wrap=True
        )


def show_replay(summary: Mapping[str, Any]) -> None:
    """Prints how many rows a replay judged, and how many of them are clean or in quarantine."""
    console = Terminal(highlight=False, soft_wrap=True)
    console.print(
        f"Judged again: {summary['records']:,} rows; {summary['clean']:,} clean now, "
        f"{summary['quarantined']:,} in quarantine."
    )
    console.print(f"Partitions {', '.join(summary['partitions'])}; Dagster run {', '.join(summary['runs'])}")
    console.print("Tables derived from this one change when they are materialized next.")


def _act(decision: Mapping[str, Any]) -> str:
    """The act of a decision, with the corrected values."""
    values = "".join(f" {name}={value!r}" for name, value in decision["values"].items())
    return decision["act"] + values


def _value(value: Any) -> Text | str:
    return Text("(none)", style="dim") if value is None else str(value)
