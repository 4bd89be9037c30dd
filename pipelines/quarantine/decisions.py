"""What people decided about rejected rows: an append-only record, and its effect on the rows that are judged next.

Bronze holds what arrived and never changes; a quarantine is computed anew with its table. So a corrected value lives
here, is laid over the bronze row before it is typed, and the row is judged again: it keeps its record id, its file and
its row, and a correction that is still wrong leaves it in quarantine. A discarded row stays there whatever the rules.
Grain of `ops/platform/quarantine_decisions`: one row per record and act.
"""

from __future__ import annotations

import functools
import getpass
import hashlib
import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import SettingsError
from pipelines.lakehouse.catalog import text
from pipelines.tables import DECISION, MALFORMED, RECORD_ID, RESCUED, TableId, TableVersion
from pipelines.verdict.verdict import DECIDED_AT, DECIDED_BY

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from pipelines.lakehouse.base import Lakehouse

DECISIONS = TableId("ops", "platform", "quarantine_decisions")
Act = Literal["correct", "discard", "reopen", "replay"]
#: How a rejected row stands: nobody decided, corrected and rejected again, or not to be used.
State = Literal["open", "corrected", "discarded"]
_STATES: Mapping[str, State] = {"correct": "corrected", "discard": "discarded"}


@dataclass(frozen=True, slots=True)
class Decision:
    """One act about one record of a silver table.

    `values` maps source column to corrected text (None: no value); `run_id` is the Dagster run of a replay.
    `decided_at` is the wall clock, UTC.
    """

    decision_id: str
    decided_at: datetime
    decided_by: str
    table: TableId
    record_id: str
    partition: str
    act: Act
    values: Mapping[str, str | None]
    note: str
    run_id: str | None = None

    @property
    def state(self) -> State:
        return _STATES.get(self.act, "open")


def record(
    house: Lakehouse,
    table: TableId,
    records: Mapping[str, str],
    *,
    act: Act,
    note: str,
    by: str | None = None,
    values: Mapping[str, Mapping[str, str | None]] | None = None,
    run_id: str | None = None,
) -> list[Decision]:
    """Writes an act about some records, in one commit.

    Args:
        house: Where the record of decisions lies.
        table: The silver table.
        records: Record id to the partition that it came in.
        act: What was decided.
        note: Why; whoever reads the record later has nothing else to go by.
        by: Who decided; None is the user of this process.
        values: Record id to its corrected source columns.
        run_id: The Dagster run of a replay.

    Raises:
        SettingsError: if the note is empty.
    """
    import pyarrow as pa

    if not note.strip():
        raise SettingsError(
            object=f"{act} in {table}",
            observed="no note",
            expected="why this was decided, for whoever asks in a year",
            next_step="say it in a few words with --note",
        )
    now, who = datetime.now(UTC), by or getpass.getuser()
    made = [
        Decision(uuid.uuid4().hex, now, who, table, name, partition, act, (values or {}).get(name, {}), note, run_id)
        for name, partition in records.items()
    ]
    if made:
        house.record(DECISIONS, pa.Table.from_pylist([_row(decision) for decision in made], schema=_schema()))
    return made


def recorded(house: Lakehouse, table: TableId, records: Collection[str] | None = None) -> list[Decision]:
    """Every act about a silver table, or about some of its records; oldest first."""
    import pyarrow as pa

    version = house.version(DECISIONS)
    if version is None:
        return []
    where = text("table") == str(table)
    if records is not None:
        where = where & text("record_id").isin(pa.array(list(records), pa.string()))
    rows = house.snapshot(TableVersion(DECISIONS, version)).arrow(where=where).to_pylist()
    return sorted((_decision(row) for row in rows), key=lambda made: (made.decided_at, made.decision_id))


@dataclass(frozen=True, slots=True)
class InEffect:
    """The decision that counts for each record: its latest correction or discard, unless it was reopened since.

    Without any, nothing is joined and nothing is computed. `acts` are all that led here, by id with their partition.
    """

    by_record: Mapping[str, Decision]
    at: TableVersion | None = None
    acts: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_record)

    @property
    def digest(self) -> str:
        """Changes with each act, and never back: a part of what the table is computed from. Empty without any act."""
        return _digest(self.acts)

    def digest_of(self, partition: str) -> str:
        """The same for what was decided about the rows of one partition."""
        return _digest(made for made, at in self.acts.items() if at == partition)

    def state(self, record_id: str) -> State:
        decision = self.by_record.get(record_id)
        return decision.state if decision else "open"

    def records(self, state: State) -> list[str]:
        return [name for name, decision in self.by_record.items() if decision.state == state]

    def apply(self, raw: DataFrame) -> DataFrame:
        """Bronze rows with the corrected texts in place of those that arrived, and `_decision` on decided rows.

        A corrected line that was no row of its file is one from then on. Corrections of columns that the rows do not
        have are left out.
        """
        from pyspark.sql import functions as F

        if not self:
            return raw
        names = raw.columns
        touched = sorted({column for made in self.by_record.values() for column in made.values if column in names})
        decided = F.broadcast(_frame(raw.sparkSession, self._overlay(touched)))
        corrected = F.col(DECISION) == "correct"
        rescued = F.when(corrected & F.col(RESCUED).contains(f'"{MALFORMED}"'), None).otherwise(F.col(RESCUED))
        values = {RESCUED: rescued} | {
            column: F.when(F.col(f"_set_{n}"), F.col(f"_to_{n}")).otherwise(F.col(column))
            for n, column in enumerate(touched)
        }
        rows = raw.join(decided, on=RECORD_ID, how="left").withColumns(values)
        return rows.select(*names, DECISION)

    def mark(self, rejected: DataFrame) -> DataFrame:
        """Rejected rows with what was decided about each: `_decision`, `_decided_at`, `_decided_by`."""
        from pyspark.sql import functions as F

        nothing = {
            DECISION: F.lit("open"),
            DECIDED_AT: F.lit(None).cast("timestamp"),
            DECIDED_BY: F.lit(None).cast("string"),
        }
        if not self:
            return rejected.withColumns(nothing)
        marks = F.broadcast(_frame(rejected.sparkSession, self._marks()))
        rows = rejected.join(marks, on=RECORD_ID, how="left")
        return rows.withColumns({DECISION: F.coalesce(F.col(DECISION), F.lit("open"))})

    def _overlay(self, touched: Sequence[str]) -> pa.Table:
        import pyarrow as pa

        made = self.by_record.values()
        columns: dict[str, Any] = {
            RECORD_ID: pa.array([decision.record_id for decision in made], pa.string()),
            DECISION: pa.array([decision.act for decision in made], pa.string()),
        }
        for number, column in enumerate(touched):
            columns[f"_set_{number}"] = pa.array([column in decision.values for decision in made], pa.bool_())
            columns[f"_to_{number}"] = pa.array([decision.values.get(column) for decision in made], pa.string())
        return pa.table(columns)

    def _marks(self) -> pa.Table:
        import pyarrow as pa

        made = self.by_record.values()
        return pa.table(
            {
                RECORD_ID: pa.array([decision.record_id for decision in made], pa.string()),
                DECISION: pa.array([decision.state for decision in made], pa.string()),
                DECIDED_AT: pa.array([decision.decided_at for decision in made], pa.timestamp("us", "UTC")),
                DECIDED_BY: pa.array([decision.decided_by for decision in made], pa.string()),
            }
        )


def in_effect(house: Lakehouse, table: TableId, partitions: Collection[str] | None = None) -> InEffect:
    """What counts now for a silver table, or for some of its partitions."""
    found: dict[str, Decision] = {}
    acts: dict[str, str] = {}
    for made in recorded(house, table):
        if made.act == "replay" or (partitions is not None and made.partition not in partitions):
            continue
        acts[made.decision_id] = made.partition
        if made.act == "reopen":
            found.pop(made.record_id, None)
        else:
            found[made.record_id] = made
    return InEffect(found, house.current(DECISIONS) if found else None, acts)


def _digest(acts: Iterable[str]) -> str:
    ids = sorted(acts)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] if ids else ""


def _frame(session: SparkSession, rows: pa.Table) -> DataFrame:
    return session.createDataFrame(rows)


@functools.cache
def _schema() -> pa.Schema:
    import pyarrow as pa

    names = ("decision_id", "decided_by", "table", "record_id", "partition", "act", "values", "note", "run_id")
    texts = [pa.field(name, pa.string()) for name in names]
    return pa.schema([texts[0], pa.field("decided_at", pa.timestamp("us", "UTC")), *texts[1:]])


def _row(made: Decision) -> dict[str, Any]:
    return {
        "decision_id": made.decision_id,
        "decided_at": made.decided_at,
        "decided_by": made.decided_by,
        "table": str(made.table),
        "record_id": made.record_id,
        "partition": made.partition,
        "act": made.act,
        "values": json.dumps(dict(made.values), ensure_ascii=False) if made.values else None,
        "note": made.note,
        "run_id": made.run_id,
    }


def _decision(row: Mapping[str, Any]) -> Decision:
    read: dict[str, Any] = {**row, "table": TableId.parse(row["table"]), "values": json.loads(row["values"] or "{}")}
    return Decision(**read)
