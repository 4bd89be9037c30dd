"""The rows of a new version of a table: cast to the contract's types, judged, staged, and recorded."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

import dagster as dg

from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse.staging import gathered
from pipelines.lineage.events import Dataset, Field
from pipelines.medallion import staleness
from pipelines.policy.rules import require_column_classes
from pipelines.quality import contract_check, recorded
from pipelines.tables import (
    RECORD_ID,
    TableId,
    TableVersion,
)
from pipelines.verdict import table_rules, verdict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pipelines.lakehouse.staging import Staged
    from pipelines.lineage.column_lineage import ColumnLineage

Transform = Callable[..., "DataFrame"]
#: Takes rows of bronze, and returns those of some records.
Narrowed = Callable[["DataFrame"], "DataFrame"]


class Told(Protocol):
    """Returns the rows of a table, as `in_contract_types` does, with what typing them says in words or without.

    With `narrowed`, rows of records that it leaves out may be missing; the others are the same.
    """

    def __call__(self, words: verdict.Words, narrowed: Narrowed | None = None) -> DataFrame: ...


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows that were judged.

    Attributes:
        told: Returns a plan of the judged rows with their reasons in words; of some records, as `Told` does.
        columns: What its columns are computed from.
        staged: The files of the judged rows, with their broken rules as bits.
        verdict: The counts and table rules over the staged rows.
    """

    told: Callable[[Narrowed | None], DataFrame]
    columns: ColumnLineage
    staged: Staged
    verdict: verdict.Verdict


def in_contract_types(contract: Contract, rows: DataFrame, further_columns: Sequence[str]) -> DataFrame:
    """The rows of a transform with each contract column cast to the contract's type.

    Args:
        contract: The contract of the table.
        rows: What the transform returned.
        further_columns: Columns that the rows must have beside those of the contract.

    Raises:
        DefinitionError: if the transform left a column out, or returned times without a zone as instants.
    """
    from pyspark.sql import functions as F

    types = dict(rows.dtypes)
    missing = [c for c in (*(column.name for column in contract.columns), *further_columns) if c not in types]
    if missing:
        raise DefinitionError(
            object=f"transform of {contract.table}",
            observed=f"it returns no column {', '.join(missing)}",
            expected=f"every column of {contract.path.name}" + "".join(f" and {name}" for name in further_columns),
            next_step="add the column in the transform, or remove it from the contract",
        )
    without_zone = [c.name for c in contract.columns if (types[c.name], c.type) == ("timestamp_ntz", "timestamp")]
    if without_zone:
        raise DefinitionError(
            object=f"transform of {contract.table}",
            observed=f"{', '.join(without_zone)}: type timestamp_ntz, times without a zone",
            expected="instants",
            next_step="F.to_utc_timestamp(column, ZONE) makes instants of the times of a zone",
        )
    casts = {c.name: F.col(c.name).cast(c.type) for c in contract.columns if types[c.name] != c.type}
    return rows.withColumns(casts) if casts else rows


def judge_rows(
    run: GovernedRun,
    contract: Contract,
    told: Told,
    references: Mapping[TableId, DataFrame],
    *,
    columns: Sequence[str],
    partition_by: Sequence[str] = (),
    within: Sequence[str] = (),
    days: Sequence[str] | None = None,
    arrived: Callable[[ColumnLineage], verdict.Fingerprint] | None = None,
) -> Judged:
    """Judges rows, stages them with their broken rules as bits, and summarizes what was staged.

    Duplicates are rare, and finding them sorts all rows. So the rows are first judged as if there were none; only if
    the summary of the staged rows shows that keys repeat, they are judged and staged a second time.

    Args:
        run: The run; its platform computes, and freshness is measured against its clock.
        contract: The contract whose rules apply.
        told: Returns the rows.
        references: The tables that reference rules point to.
        columns: The columns that are staged beside the verdict.
        partition_by: The partition columns of the staged files.
        within: Columns within whose values a key identifies one row.
        days: The days by which table rules are measured, of a table by days.
        arrived: Returns the fingerprint of the records that must come out, given what the columns and `_record_id` are
            computed from; None if the transform decides which rows there are.

    Raises:
        DefinitionError: if a column is less protected than what it is computed from.
        VerdictError: if records were lost or doubled.
    """
    from pyspark.sql.types import LongType, StringType, StructField, StructType

    from pipelines.lineage.column_lineage import column_lineage

    house = run.platform.lakehouse
    previous = recorded.previous_shares(contract, folder=run.platform.settings.root / "quality")
    sources = {str(house.path(at.table)): str(at.table) for at in run.versions.values()}
    names = [column.name for column in contract.columns]
    kept = dict.fromkeys([*columns, *verdict.broken_columns(contract), verdict.VERDICT])
    rows = told("left out")
    types = {field.name: field.dataType for field in rows.schema}
    types |= dict.fromkeys(verdict.broken_columns(contract), LongType()) | {verdict.VERDICT: StringType()}
    schema = StructType([StructField(name, types[name]) for name in kept])

    def attempt(duplicates: Literal["sought", "excluded"]) -> Judged:
        judge = functools.partial(
            verdict.judge, contract=contract, references=references, duplicates=duplicates, within=within
        )
        judged = judge(rows, words="left out")
        read = [*names, RECORD_ID] if arrived else names
        lineage = column_lineage(judged.select(*read), sources, read)
        require_column_classes(contract, lineage, run.input_classes)
        with verdict.sql_errors_named(rows, contract):
            staged = house.stage(contract.table, judged.select(*kept), partition_by=partition_by, schema=schema)
        records = arrived(lineage) if arrived else None
        summary = verdict.summarize(
            house.read_staged(staged),
            contract,
            rows_in=records.rows if records else staged.rows,
            record_hash=records.hash if records else None,
            now=run.platform.now(),
            previous=previous,
            within=within,
            days=days,
        )
        lineage = replace(lineage, columns={name: lineage.columns[name] for name in names})
        return Judged(lambda narrowed: judge(told("told", narrowed), words="told"), lineage, staged, summary)

    first = attempt("excluded")
    return attempt("sought") if first.verdict.keys_repeat else first


def judge_slices(
    run: GovernedRun, contract: Contract, slices: Sequence[Callable[[Contract], Judged]]
) -> tuple[Judged, list[Judged]]:
    """Judges one slice after another, so that memory holds one of them at a time.

    Two at a time would be faster by a few percent. But they share the engine's session, in which a transform may make
    a view by name.

    Args:
        run: As in `judge_rows`.
        contract: The contract whose rules apply: row rules to each slice, table rules to all slices together.
        slices: Functions that judge one slice each, by the contract that they receive.

    Returns:
        All rows together, and each slice by itself.
    """
    if len(slices) == 1:
        judged = slices[0](contract)
        return judged, [judged]
    from pyspark.sql import functions as F

    house = run.platform.lakehouse
    judged_slices = [judge(replace(contract, table_rules=())) for judge in slices]
    staged, parts = gathered([part.staged for part in judged_slices])
    clean = house.read_staged(staged).where(F.col(verdict.VERDICT) == verdict.CLEAN)
    days = [day for part in judged_slices for day in part.verdict.days] or None
    previous = recorded.previous_shares(contract, folder=run.platform.settings.root / "quality")
    table_results = table_rules.measure(clean, contract, now=run.platform.now(), previous=previous, days=days)
    combined = verdict.combine([part.verdict for part in judged_slices], contract, table_results)
    first = judged_slices[0]
    judged_slices = [replace(part, staged=moved) for part, moved in zip(judged_slices, parts, strict=True)]
    return Judged(first.told, first.columns, staged, combined), judged_slices


def table_written(run: GovernedRun, contract: Contract, judged: Judged, words: Sequence[str] = ()) -> Written:
    """What a run records about the clean rows of a table: dataset, column lineage, counts and the contract's check.

    The dataset has no version yet; `with_version` adds it after the commit. The check's description has the `words`.
    """
    result, staged = judged.verdict, judged.staged
    fields = tuple(Field(column.name, column.type, column.description) for column in contract.columns)
    dataset = Dataset(
        str(contract.table), None, contract.owner, fields, judged.columns, result.rows_clean, staged.bytes
    )
    counts = {
        "rows_in": result.rows_in,
        "rows_clean": result.rows_clean,
        "rows_quarantined": result.rows_quarantined,
    }
    folder = run.platform.settings.root / "quality"
    return Written(dataset, counts, (contract_check.check_result(result, folder=folder, words=words),))


def warned(written: Written, warning: str) -> Written:
    """What a run records, with a warning added to its checks; as it is without one."""
    if warning:
        written.checks = tuple(
            check._replace(
                passed=False,
                severity=dg.AssetCheckSeverity.WARN if check.passed else check.severity,
                description=f"{check.description}; {warning}",
            )
            for check in written.checks
        )
    return written


def with_version(dataset: Dataset, at: TableVersion, staged: Staged) -> Dataset:
    """The dataset with the version of its commit, and the rows and bytes of what was committed."""
    return replace(dataset, version=str(at.version), rows=staged.rows, bytes=staged.bytes)


def commit_metadata(run: GovernedRun) -> dict[str, str]:
    """What a commit of a table's rows records: the run, the asset, and the input versions by parameter name."""
    inputs = {name: str(at) for name, at in run.versions.items()}
    return {"run_id": run.run_id, "asset": run.declaration.name, "inputs": json.dumps(inputs)}


def unchanged(run: GovernedRun, contract: Contract, table: TableId | None = None) -> Written:
    """What a run records if it had nothing to derive: the current version, which was judged when it was published.

    Args:
        run: The run.
        contract: The contract of the asset's table.
        table: The table; None is the contract's own, which alone gets a check result.
    """
    house, table = run.platform.lakehouse, table or contract.table
    at = house.current(table)
    dataset = Dataset(str(table), str(at.version), contract.owner, rows=0, bytes=0)
    checks: tuple[dg.AssetCheckResult, ...] = ()
    if table == contract.table:
        checks = (contract_check.unchanged_result(contract, at, list(staleness.findings(run.platform, contract))),)
    return Written(dataset, {"nothing_new": True, "rows_in": 0, "rows_clean": 0, "rows_quarantined": 0}, checks)
