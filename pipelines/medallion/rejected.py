"""The rows of a quarantine table: what was rejected, computed a second time, with its reasons in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines import tables
from pipelines.contracts.model import Contract
from pipelines.errors import VerdictError
from pipelines.governed.declaration import Written
from pipelines.lakehouse.staging import gathered
from pipelines.lineage.events import Dataset, Field
from pipelines.medallion.judging import Judged, Narrowed
from pipelines.quarantine import dagster_metadata
from pipelines.tables import (
    INGEST_ID,
    INGESTED_AT,
    PARTITION,
    RECORD_ID,
    SOURCE_ROW,
    SOURCE_URI,
    TableId,
    TableVersion,
)
from pipelines.verdict import row_rules, verdict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pipelines.lakehouse.base import Lakehouse
    from pipelines.lakehouse.staging import Staged
    from pipelines.quarantine.decisions import EffectiveDecisions

#: The columns of a quarantine table: type and meaning.
QUARANTINE_FIELDS = {
    RECORD_ID: ("string", "The record: the same id in bronze, here and, once the row is clean, in silver."),
    SOURCE_URI: ("string", "The delivery that it came in, relative to the landing root."),
    SOURCE_ROW: ("bigint", "Its row number in the delivery, counted from 1."),
    INGEST_ID: ("string", "The batch of bronze that took it."),
    INGESTED_AT: (
        "timestamp",
        "When that batch was planned, UTC, and a microsecond later for each of its files that landed before.",
    ),
    PARTITION: ("string", "The interval that the delivery covers."),
    tables.REASONS: (
        row_rules.REASON_TYPE,
        "Every rule that it broke: code, column, rule, value, severity.",
    ),
    tables.ROW: ("string", "The row as it arrived, or as it was corrected, as JSON."),
    tables.DECISION: ("string", "open, corrected or discarded."),
    tables.DECIDED_AT: ("timestamp", "When that was decided, UTC."),
    tables.DECIDED_BY: ("string", "Who decided."),
}


def stage_rejected(
    house: Lakehouse,
    table: TableId,
    judged_slices: Sequence[Judged],
    in_effect: EffectiveDecisions,
    partition_by: Sequence[str],
) -> Staged:
    """Stages the rows of a quarantine table; the rejected rows are computed again, now with their reasons in words.

    Only their records are read again, unless that gives another number of rows.

    Args:
        house: The lakehouse.
        table: The quarantine table.
        judged_slices: The judged rows.
        in_effect: The decisions that count for the rows.
        partition_by: The partition columns of the quarantine table.

    Raises:
        VerdictError: if the second computation rejects another number of rows than the first.
    """
    staged = []
    for judged in [part for part in judged_slices if part.verdict.rows_quarantined]:
        narrowed = _rejected_records(house, judged)
        part = _staged_in_words(house, table, judged, narrowed, in_effect, partition_by)
        if narrowed and part.rows != judged.verdict.rows_quarantined:
            part = _staged_in_words(house, table, judged, None, in_effect, partition_by)
        staged.append(part)
    if not staged:
        types = ", ".join(f"{name} {QUARANTINE_FIELDS[name][0]}" for name in verdict.QUARANTINE_COLUMNS)
        schema = house.session.createDataFrame([], types).schema
        staged = [house.stage_nothing(table, schema, partition_by=partition_by)]
    rejected = sum(part.rows for part in staged)
    expected = sum(part.verdict.rows_quarantined for part in judged_slices)
    if rejected != expected:
        raise VerdictError(
            object=f"table {table}",
            observed=f"{rejected} rows rejected the second time, {expected} the first time",
            expected="a transform that returns the same rows each time",
            next_step="remove what differs from run to run (a random number, the clock) from the transform",
        )
    return gathered(staged)[0]


def _staged_in_words(
    house: Lakehouse,
    table: TableId,
    judged: Judged,
    narrowed: Narrowed | None,
    in_effect: EffectiveDecisions,
    partition_by: Sequence[str],
) -> Staged:
    """Stages the rejected rows of a slice, computed from all its records or from some."""
    from pyspark.sql import functions as F

    # No engine moves a condition below a column that it takes for random. There, the condition would hold each
    # column's expression once for each of its rules, which takes far longer to plan than to run.
    told = judged.told(narrowed).withColumn(verdict.VERDICT, F.when(F.rand(0) < 2, F.col(verdict.VERDICT)))
    rows = told.where(F.col(verdict.VERDICT) == verdict.QUARANTINE).select(*verdict.JUDGED_COLUMNS)
    marked = in_effect.mark(rows).select(*verdict.QUARANTINE_COLUMNS)
    return house.stage(table, marked, partition_by=partition_by)


def _rejected_records(house: Lakehouse, judged: Judged) -> Narrowed | None:
    """Narrows rows of bronze to the records that were rejected; None if what others are like decided about one."""
    from pyspark.sql import functions as F

    if any(result.rows for result in judged.verdict.rules if result.rule.kind in ("duplicate", "variant")):
        return None
    rejected = judged.staged.where(verdict.VERDICT, verdict.QUARANTINE)
    records = house.read_staged(rejected).select(RECORD_ID)

    def narrowed(raw: DataFrame) -> DataFrame:
        if PARTITION in rejected.partition_by:  # so that no engine opens the files of other days
            raw = raw.where(F.col(PARTITION).isin(sorted({str(file.partition[PARTITION]) for file in rejected.files})))
        return raw.join(records, RECORD_ID, "left_semi")

    return narrowed


def quarantine_written(contract: Contract, at: TableVersion, rejected: Staged, figures: dict[str, Any]) -> Written:
    """What a run records about the quarantine of a silver table."""
    fields = tuple(Field(name, type, meaning) for name, (type, meaning) in QUARANTINE_FIELDS.items())
    dataset = Dataset(str(at.table), str(at.version), contract.owner, fields, rows=rejected.rows, bytes=rejected.bytes)
    return Written(dataset, figures, large_metadata=dagster_metadata.plot(figures))
