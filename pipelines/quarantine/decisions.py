"""What people decided about rejected rows: an append-only table of acts, and their effect when rows are judged again.

Bronze holds what arrived and never changes, and a quarantine table is computed again together with its silver table.
So corrected values are stored here. They replace the values of the bronze row before it is typed, and the row is judged
again: it keeps its record id, its file and its row number, and if it is still wrong, it stays in quarantine. A
discarded row stays in quarantine whatever the rules.

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
from pipelines.tables import DECIDED_AT, DECIDED_BY, DECISION, MALFORMED, RECORD_ID, RESCUED, TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from pipelines.lakehouse.base import Lakehouse

DECISIONS = TableId("ops", "platform", "quarantine_decisions")
Act = Literal["correct", "discard", "reopen", "replay"]
#: The state of a rejected row: without a decision, corrected and rejected again, or not to be used.
State = Literal["open", "corrected", "discarded"]
_STATES: Mapping[str, State] = {"correct": "corrected", "discard": "discarded"}


@dataclass(frozen=True, slots=True)
class Decision:
    """One act about one record of a silver table.

    Attributes:
        decision_id: Unique, also among the decisions of one commit.
        decided_at: The wall clock, UTC.
        decided_by: Who decided.
        table: The silver table.
        record_id: The record.
        partition: The partition that the record came in.
        act: What was decided.
        values: Source column to corrected text; None is no value.
        note: Why it was decided.
        run_id: The Dagster run of a replay; None for other acts.
        sequence: The number of the act among all acts, from 1; 0 for one that was recorded without.
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
    sequence: int = 0

    @classmethod
    def proposed(cls, table: TableId, record_id: str, values: Mapping[str, str | None]) -> Decision:
        """A correction that is not recorded."""
        return cls("", datetime.now(UTC), "", table, record_id, "", "correct", values, "")

    @property
    def state(self) -> State:
        """The state in which the act puts the row."""
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
    """Writes one act about some records, in one commit.

    Args:
        house: The lakehouse that holds the table of decisions.
        table: The silver table.
        records: Record id to the partition that the record came in.
        act: What was decided.
        note: Why; nothing else tells a later reader.
        by: Who decided; None is the user of this process.
        values: Record id to its corrected source columns.
        run_id: The Dagster run of a replay.

    Returns:
        One decision per record, in the order of `records`.

    Raises:
        SettingsError: if the note is empty.
    """
    import pyarrow as pa

    if not note.strip():
        raise SettingsError(
            object=f"{act} in {table}",
            observed="no note",
            expected="the reason for the decision, for people who read it later",
            next_step="give the reason with --note",
        )
    now, user, corrected = datetime.now(UTC), by or getpass.getuser(), values or {}
    if not records:
        return []
    with house.writing(DECISIONS):
        house.require_whole(DECISIONS)  # what people decided is not mended without them
        number = _last_sequence(house) + 1
        decisions = [
            Decision(
                decision_id=uuid.uuid4().hex,
                decided_at=now,
                decided_by=user,
                table=table,
                record_id=record_id,
                partition=partition,
                act=act,
                values=corrected.get(record_id, {}),
                note=note,
                run_id=run_id,
                sequence=number,
            )
            for record_id, partition in records.items()
        ]
        house.record(DECISIONS, pa.Table.from_pylist([_to_row(decision) for decision in decisions], schema=_schema()))
    return decisions


def _last_sequence(house: Lakehouse) -> int:
    """The number of the last act that was recorded; 0 if there is none."""
    if "sequence" not in house.columns(DECISIONS):
        return 0
    numbers = house.snapshot(DECISIONS).arrow(columns=["sequence"])["sequence"].to_pylist()
    return max((number or 0 for number in numbers), default=0)


def recorded(house: Lakehouse, table: TableId, records: Collection[str] | None = None) -> list[Decision]:
    """Every act about a silver table, or only about some of its records; in the order in which they were recorded."""
    import pyarrow as pa

    version = house.version(DECISIONS)
    if version is None:
        return []
    where = text("table") == str(table)
    if records is not None:
        where = where & text("record_id").isin(pa.array(list(records), pa.string()))
    rows = house.snapshot(TableVersion(DECISIONS, version)).arrow(where=where).to_pylist()
    # By the sequence first: a clock that was set back would put an act before an earlier one.
    return sorted(map(_from_row, rows), key=lambda act: (act.sequence, act.decided_at, act.decision_id))


@dataclass(frozen=True, slots=True)
class EffectiveDecisions:
    """The decisions that count for the rows of a silver table.

    For each record it is the latest correction or discard, unless the record was reopened since. Without any, `apply`
    and `mark` join nothing.

    Attributes:
        by_record: Record id to the decision that counts.
        version: The version of the table of decisions that was read; None if no decision counts.
        acts: Decision id to partition, for every act that led to this state, also acts that no longer count.
    """

    by_record: Mapping[str, Decision]
    version: TableVersion | None = None
    acts: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_record)

    @property
    def digest(self) -> str:
        """A digest of all acts, as a part of what the table is computed from; empty without any act.

        Each act changes it, and no later act brings an earlier digest back.
        """
        return _digest(self.acts)

    def digest_of(self, partition: str) -> str:
        """The same digest of the acts about the rows of one partition."""
        return _digest(decision_id for decision_id, at in self.acts.items() if at == partition)

    def state(self, record_id: str) -> State:
        """The state of a rejected row."""
        decision = self.by_record.get(record_id)
        return decision.state if decision else "open"

    def records(self, state: State) -> list[str]:
        """The ids of the records whose decision puts them in a state."""
        return [record_id for record_id, decision in self.by_record.items() if decision.state == state]

    def apply(self, raw: DataFrame) -> DataFrame:
        """Bronze rows with the corrected texts in place of those that arrived, and `_decision` with the act.

        A corrected line that could not be read as a row of its file is no longer marked as malformed. Corrections of
        columns that the rows do not have are left out. Without a decision, the rows are returned as they are.
        """
        from pyspark.sql import functions as F

        if not self:
            return raw
        names = raw.columns
        corrected_columns = sorted({c for decision in self.by_record.values() for c in decision.values if c in names})
        overlay = F.broadcast(raw.sparkSession.createDataFrame(self._overlay(corrected_columns)))
        corrected = F.col(DECISION) == "correct"
        rescued = F.when(corrected & F.col(RESCUED).contains(f'"{MALFORMED}"'), None).otherwise(F.col(RESCUED))
        values = {RESCUED: rescued} | {
            column: F.when(F.col(f"_set_{number}"), F.col(f"_to_{number}")).otherwise(F.col(column))
            for number, column in enumerate(corrected_columns)
        }
        rows = raw.join(overlay, on=RECORD_ID, how="left").withColumns(values)
        return rows.select(*names, DECISION)

    def mark(self, rejected: DataFrame) -> DataFrame:
        """Rejected rows with what was decided about each: `_decision` (the state), `_decided_at`, `_decided_by`."""
        from pyspark.sql import functions as F

        if not self:
            return rejected.withColumns(
                {
                    DECISION: F.lit("open"),
                    DECIDED_AT: F.lit(None).cast("timestamp"),
                    DECIDED_BY: F.lit(None).cast("string"),
                }
            )
        marks = F.broadcast(rejected.sparkSession.createDataFrame(self._marks()))
        rows = rejected.join(marks, on=RECORD_ID, how="left")
        return rows.withColumns({DECISION: F.coalesce(F.col(DECISION), F.lit("open"))})

    def _overlay(self, columns: Sequence[str]) -> pa.Table:
        """One row per decision: the act and, for the column of number n, whether it is set (`_set_n`) and to what."""
        import pyarrow as pa

        decisions = self.by_record.values()
        arrays: dict[str, Any] = {
            RECORD_ID: pa.array([decision.record_id for decision in decisions], pa.string()),
            DECISION: pa.array([decision.act for decision in decisions], pa.string()),
        }
        for number, column in enumerate(columns):
            arrays[f"_set_{number}"] = pa.array([column in decision.values for decision in decisions], pa.bool_())
            arrays[f"_to_{number}"] = pa.array([decision.values.get(column) for decision in decisions], pa.string())
        return pa.table(arrays)

    def _marks(self) -> pa.Table:
        """One row per decision: the state, when and by whom it was decided."""
        import pyarrow as pa

        decisions = self.by_record.values()
        return pa.table(
            {
                RECORD_ID: pa.array([decision.record_id for decision in decisions], pa.string()),
                DECISION: pa.array([decision.state for decision in decisions], pa.string()),
                DECIDED_AT: pa.array([decision.decided_at for decision in decisions], pa.timestamp("us", "UTC")),
                DECIDED_BY: pa.array([decision.decided_by for decision in decisions], pa.string()),
            }
        )


def in_effect(house: Lakehouse, table: TableId) -> EffectiveDecisions:
    """The decisions that count now for a silver table."""
    by_record: dict[str, Decision] = {}
    acts: dict[str, str] = {}
    for decision in recorded(house, table):
        if decision.act == "replay":
            continue
        acts[decision.decision_id] = decision.partition
        if decision.act == "reopen":
            by_record.pop(decision.record_id, None)
        else:
            by_record[decision.record_id] = decision
    return EffectiveDecisions(by_record, house.current(DECISIONS) if by_record else None, acts)


def _digest(decision_ids: Iterable[str]) -> str:
    ids = sorted(decision_ids)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] if ids else ""


@functools.cache
def _schema() -> pa.Schema:
    import pyarrow as pa

    names = ("decision_id", "decided_by", "table", "record_id", "partition", "act", "values", "note", "run_id")
    texts = [pa.field(name, pa.string()) for name in names]
    decided_at, sequence = pa.field("decided_at", pa.timestamp("us", "UTC")), pa.field("sequence", pa.int64())
    return pa.schema([texts[0], decided_at, *texts[1:], sequence])


def _to_row(decision: Decision) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "decided_at": decision.decided_at,
        "decided_by": decision.decided_by,
        "table": str(decision.table),
        "record_id": decision.record_id,
        "partition": decision.partition,
        "act": decision.act,
        "values": json.dumps(dict(decision.values), ensure_ascii=False) if decision.values else None,
        "note": decision.note,
        "run_id": decision.run_id,
        "sequence": decision.sequence,
    }


def _from_row(row: Mapping[str, Any]) -> Decision:
    table, corrected = TableId.parse(row["table"]), json.loads(row["values"] or "{}")
    values: dict[str, Any] = {**row, "table": table, "values": corrected, "sequence": row.get("sequence") or 0}
    return Decision(**values)
