"""A table's rows on their way to a version: shaped, judged, staged, summed up; and what is recorded about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pipelines import tables
from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError, VerdictError
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse.staging import gathered
from pipelines.lineage.events import Dataset, Field
from pipelines.quality import contract_check, recorded
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
from pipelines.verdict import table_rules as table_figures

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pipelines.lakehouse.base import Lakehouse
    from pipelines.lakehouse.staging import Staged
    from pipelines.quarantine.decisions import InEffect

#: Type and meaning of what a quarantined row keeps.
QUARANTINE_FIELDS = {
    RECORD_ID: ("string", "The record, in bronze, here and, once it is mended, in silver."),
    SOURCE_URI: ("string", "The delivery that it came in, below the landing root."),
    SOURCE_ROW: ("bigint", "Its place there, counted from 1."),
    INGEST_ID: ("string", "The batch of bronze that took it."),
    INGESTED_AT: ("timestamp", "When that batch was planned, UTC."),
    PARTITION: ("string", "The interval that the delivery covers."),
    row_rules.REASONS: (
        row_rules.REASON_TYPE,
        "Every rule that it broke: code, column, rule, value, severity.",
    ),
    verdict.ROW: ("string", "The row as it arrived, or as it was corrected, as JSON."),
    tables.DECISION: ("string", "open, corrected or discarded."),
    verdict.DECIDED_AT: ("timestamp", "When that was decided, UTC."),
    verdict.DECIDED_BY: ("string", "Who decided."),
}

Transform = Callable[..., "DataFrame"]


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows that were judged: as a plan that gives reasons in words, as staged files, and as the verdict over them."""

    rows: DataFrame
    staged: Staged
    verdict: verdict.Verdict


def shaped(contract: Contract, rows: DataFrame, also: Sequence[str]) -> DataFrame:
    """The rows with each contract column in the contract's type.

    Raises:
        DefinitionError: if the transform left a column out.
    """
    from pyspark.sql import functions as F

    types = dict(rows.dtypes)
    missing = [c for c in (*(column.name for column in contract.columns), *also) if c not in types]
    if missing:
        raise DefinitionError(
            object=f"transform of {contract.table}",
            observed=f"it returns no column {', '.join(missing)}",
            expected=f"every column of {contract.path.name}" + (f" and {', '.join(also)}" if also else ""),
            next_step="add the column in the transform, or take it out of the contract",
        )
    casts = {c.name: F.col(c.name).cast(c.type) for c in contract.columns if types[c.name] != c.type}
    return rows.withColumns(casts) if casts else rows


def judged(
    run: GovernedRun,
    contract: Contract,
    rows: DataFrame,
    references: Mapping[TableId, DataFrame],
    *,
    columns: Sequence[str],
    partition_by: Sequence[str] = (),
    arrived: verdict.Fingerprint | None = None,
) -> Judged:
    """Judges the rows, stages them with their broken rules as bits, and sums up what was staged.

    Duplicates are rare, and to seek them sorts every row. So they are taken to be absent until the summary of the
    staged rows says that keys repeat; only then is everything judged and staged again.

    Args:
        run: Whose platform computes, and whose clock freshness is measured against.
        contract: Whose rules hold.
        rows: The rows, as `shaped` gives them.
        references: The tables that reference rules point to.
        columns: What is staged beside the verdict.
        partition_by: The partition columns of what is staged.
        arrived: The records that there have to be; None where the transform decides that.
    """
    house = run.platform.lakehouse
    previous = recorded.previous_shares(contract, folder=run.platform.settings.root / "quality")
    kept = dict.fromkeys([*columns, *verdict.broken_columns(contract), verdict.VERDICT])

    def attempt(duplicates: Literal["sought", "excluded"]) -> Judged:
        found = verdict.judge(rows, contract, references, duplicates=duplicates)
        with verdict.sql_errors_named(rows, contract):
            staged = house.stage(contract.table, found.select(*kept), partition_by=partition_by)
        result = verdict.summarize(
            house.read_staged(staged),
            contract,
            rows_in=arrived.rows if arrived else staged.rows,
            record_hash=arrived.hash if arrived else None,
            now=run.platform.now(),
            previous=previous,
        )
        return Judged(found, staged, result)

    first = attempt("excluded")
    return attempt("sought") if first.verdict.keys_repeat else first


def judged_in_slices(
    run: GovernedRun, contract: Contract, slices: Sequence[Callable[[Contract], Judged]]
) -> tuple[Judged, list[Judged]]:
    """Judges slice after slice, so that memory holds one of them, and sums all of them up.

    Args:
        run: As in `judged`.
        contract: Whose rules hold; a slice is judged by its row rules, and all slices together by its table rules.
        slices: Each judges one slice by the contract that it is given.
    """
    if len(slices) == 1:
        only = slices[0](contract)
        return only, [only]
    from pyspark.sql import functions as F

    house = run.platform.lakehouse
    found = [judge(replace(contract, table_rules=())) for judge in slices]
    staged = gathered([each.staged for each in found])
    clean = house.read_staged(staged).where(F.col(verdict.VERDICT) == verdict.CLEAN)
    rows = sum(each.verdict.rows_clean for each in found)
    previous = recorded.previous_shares(contract, folder=run.platform.settings.root / "quality")
    table_rules = table_figures.measure(clean, contract, rows=rows, now=run.platform.now(), previous=previous)
    whole = verdict.combine([each.verdict for each in found], contract, table_rules)
    return Judged(found[0].rows, staged, whole), found


def rejects(
    house: Lakehouse, table: TableId, parts: Sequence[Judged], effect: InEffect, physical: Sequence[str]
) -> Staged:
    """Stages what quarantine keeps of the rejected rows, which are computed once more, now with their reasons in words.

    Raises:
        VerdictError: if not as many rows are rejected as before.
    """
    from pyspark.sql import functions as F

    staged = []
    for part in [part for part in parts if part.verdict.rows_quarantined] or parts[:1]:
        rows = part.rows.where(F.col(verdict.VERDICT) == verdict.QUARANTINE).select(*verdict.JUDGED_COLUMNS)
        marked = effect.mark(rows if part.verdict.rows_quarantined else rows.limit(0))
        staged.append(house.stage(table, marked.select(*verdict.QUARANTINE_COLUMNS), partition_by=physical))
    found, expected = sum(each.rows for each in staged), sum(part.verdict.rows_quarantined for part in parts)
    if found != expected:
        raise VerdictError(
            object=f"table {table}",
            observed=f"{found} rows rejected where {expected} were before",
            expected="a transform that gives the same rows each time",
            next_step="take what differs from run to run (a random number, the clock) out of the transform",
        )
    return gathered(staged)


def written(run: GovernedRun, contract: Contract, found: Judged) -> Written:
    from pipelines.lineage.column_lineage import column_lineage

    result, staged = found.verdict, found.staged
    fields = tuple(Field(column.name, column.type, column.description) for column in contract.columns)
    names = [column.name for column in contract.columns]
    house = run.platform.lakehouse
    sources = {str(house.path(at.table)): str(at.table) for at in run.versions.values()}
    columns = column_lineage(found.rows.select(*names), sources)
    dataset = Dataset(str(contract.table), None, contract.owner, fields, columns, result.rows_clean, staged.bytes)
    metadata = {
        "rows_in": result.rows_in,
        "rows_clean": result.rows_clean,
        "rows_quarantined": result.rows_quarantined,
    }
    return Written(
        dataset, metadata, contract_check.check_result(result, folder=run.platform.settings.root / "quality")
    )


def quarantined(contract: Contract, at: TableVersion, bad: Staged, figures: dict[str, Any]) -> Written:
    """What is recorded about the quarantine beside a silver table."""
    fields = tuple(Field(name, *words) for name, words in QUARANTINE_FIELDS.items())
    dataset = Dataset(str(at.table), str(at.version), contract.owner, fields, rows=bad.rows, bytes=bad.bytes)
    return Written(dataset, figures, once=dagster_metadata.plot(figures))


def at_version(dataset: Dataset, at: TableVersion, good: Staged) -> Dataset:
    return Dataset(dataset.name, str(at.version), dataset.owner, dataset.fields, dataset.columns, good.rows, good.bytes)


def commit_metadata(run: GovernedRun) -> dict[str, str]:
    inputs = {name: str(at) for name, at in run.versions.items()}
    return {"run_id": run.run_id, "asset": run.declaration.name, "inputs": json.dumps(inputs)}


def unchanged(run: GovernedRun, contract: Contract, table: TableId | None = None) -> Written:
    """What a run leaves behind that found nothing new: the version that is there, and that it was judged before."""
    house, table = run.platform.lakehouse, table or contract.table
    at = house.current(table)
    dataset = Dataset(str(table), str(at.version), contract.owner, rows=0, bytes=0)
    check = contract_check.unchanged_result(contract, at) if table == contract.table else None
    return Written(dataset, {"nothing_new": True, "rows_in": 0, "rows_clean": 0, "rows_quarantined": 0}, check)
