"""The verdict: a contract judges each row in the pass that computes it, and each version before it is published.

Each row gets its verdict, the rules that it broke as bits, and its reasons in words. The engine computes only the
columns that are selected: the pass that stages all rows selects the bits, a pass over the few rejected rows the words.
Counts and table rules are aggregates over what was staged. A rule is broken where it is false; a null breaks `required`
alone, so three-valued logic rejects no row by accident.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pipelines.contracts.model import Contract, RowRule
from pipelines.errors import VerdictError
from pipelines.tables import (
    BRONZE_COLUMNS,
    DECIDED_AT,
    DECIDED_BY,
    DECISION,
    RANK,
    REASONS,
    RECORD_ID,
    ROW,
    SAME_SPELLING,
    VERDICT,
    TableId,
)
from pipelines.verdict import masking, row_rules
from pipelines.verdict.row_rules import RowTest, broken_columns
from pipelines.verdict.table_rules import TableRuleResult, measure, sql_errors_named
from pipelines.verdict.typed import Words, typed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = [
    "Fingerprint", "RuleResult", "TableRuleResult", "Verdict", "Words", "broken_columns", "fingerprint", "judge",
    "number", "sql_errors_named", "summarize", "typed",
]  # fmt: skip

CLEAN: Literal["clean"] = "clean"
QUARANTINE: Literal["quarantine"] = "quarantine"

#: What a rejected row keeps: where it came from, why it was rejected, and the row as it arrived, as JSON.
JUDGED_COLUMNS = (*BRONZE_COLUMNS, REASONS, ROW)
#: The columns of a quarantine table: those, and what people decided about the row.
QUARANTINE_COLUMNS = (*JUDGED_COLUMNS, DECISION, DECIDED_AT, DECIDED_BY)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """How many rows broke one row rule."""

    rule: RowRule
    rows: int


class Fingerprint(NamedTuple):
    """Tells whether two frames hold the same records, in 16 bytes for any number of rows.

    `hash` is the exclusive or of the records' 64-bit hashes. Two frames with equal fingerprints hold the same records,
    each once, except for one case in 2^64. The hashes of slices combine by `^`. None says that the number is enough.
    """

    rows: int
    hash: int | None


def fingerprint(df: DataFrame) -> Fingerprint:
    """The fingerprint of a frame's `_record_id`s, by one scan of that column."""
    from pyspark.sql import functions as F

    rows, record_hash = df.agg(F.count(F.lit(1)), F.bit_xor(F.xxhash64(RECORD_ID))).collect()[0]
    return Fingerprint(rows, record_hash or 0)


def number(df: DataFrame) -> Fingerprint:
    """The number of a frame's rows, where it tells whether each of its records came out once."""
    return Fingerprint(df.count(), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict over one run's rows: `rows_clean + rows_quarantined = rows_in`.

    `keys_repeat` says whether a complete key may stand in several rows, judged as duplicates or not; `days` are the
    days that were judged, of a table by days.
    """

    contract: Contract
    rows_in: int
    rows_clean: int
    rows_quarantined: int
    rules: tuple[RuleResult, ...]
    table_rules: tuple[TableRuleResult, ...]
    keys_repeat: bool = False
    days: tuple[str, ...] = ()

    @property
    def broken_frozen_types(self) -> list[RuleResult]:
        """The broken rules about types that the contract freezes; one value that breaks one refuses the version."""
        contract = self.contract
        if contract.table.zone != "silver" or contract.drift["data_type"] != "freeze":
            return []
        broken = [result for result in self.rules if result.rows and result.rule.kind in ("type", "clock")]
        return [result for result in broken if result.rule in contract.row_rules]

    @property
    def passed(self) -> bool:
        """Whether the version may be published: no `error` table rule failed, and no frozen type is broken."""
        table_rules_hold = all(result.passed or result.rule.severity == "warning" for result in self.table_rules)
        return table_rules_hold and not self.broken_frozen_types

    @property
    def publishable_days(self) -> tuple[str, ...]:
        """Of a refused version of a table by days, the days on which every `error` table rule holds."""
        failed = [result for result in self.table_rules if not result.passed and result.rule.severity == "error"]
        if self.broken_frozen_types or not all(result.failed_days for result in failed):
            return ()
        return tuple(day for day in self.days if not any(day in result.failed_days for result in failed))

    def refuse(self) -> VerdictError:
        """The error to raise when the version must not be published."""
        failed = [result for result in self.table_rules if not result.passed and result.rule.severity == "error"]
        frozen = [f"{result.rows} rows break {result.rule.name}" for result in self.broken_frozen_types]
        broken = [result for result in self.rules if result.rows and result.rule.severity == "error"]
        observed = [*map(str, failed), *frozen]
        expected = [f"{result.rule.name} {result.rule.bounds}" for result in failed]
        expected += ["only values of the contract's types, since its data_type is frozen"] if frozen else []
        if not observed:
            observed = [f"{result.rows} rows break {result.rule.name}" for result in broken]
            expected = ["no row that breaks a rule, since this table has no quarantine"]
        table = self.contract.table
        published = "the other days are published" if self.publishable_days else "the version before stays published"
        looked_at = f"`goldpath quarantine list {table.domain}/{table.table}` shows the rejected rows; "
        return VerdictError(
            object=f"table {table}",
            observed="; ".join(observed),
            expected="; ".join(expected),
            next_step=f"{published}; {looked_at if self.rows_quarantined and table.zone == 'silver' else ''}"
            "correct the input or the contract, then "
            f"goldpath materialize {self.contract.table}",
        )


def judge(
    df: DataFrame,
    contract: Contract,
    references: Mapping[TableId, DataFrame],
    *,
    duplicates: Literal["sought", "excluded"] = "sought",
    within: Sequence[str] = (),
    words: Words = "told",
) -> DataFrame:
    """Adds each row's broken rules, its reasons and its verdict; `_row` stays only where the row is rejected.

    Args:
        df: The rows to judge, with the contract's columns.
        contract: Whose row rules are applied.
        references: The tables that reference rules point to.
        duplicates: "sought" sorts all rows by key to find them; "excluded" does not: right if a summary says that no
            key repeats.
        within: Columns, such as the day of a table by days: only rows with equal values in them can be duplicates.
        words: Whether the rows have `_reasons`.
    """
    from pyspark.sql import functions as F

    known = set(df.columns)  # a request to the engine, so only once
    broken_names = {*broken_columns(contract)}
    tests, flags = [], []
    for rule in contract.row_rules:
        if rule.kind == "reference":
            (table, column), flag = rule.argument, f"_known_{rule.name}"
            keys = references[table].select(F.col(column).alias(rule.column)).dropDuplicates()
            df = df.join(F.broadcast(keys.withColumn(flag, F.lit(True))), on=rule.column, how="left")
            unknown = F.col(rule.column).isNotNull() & F.col(flag).isNull()
            tests.append(RowTest(rule, unknown, masking.shown(rule.column, contract)))
            flags.append(flag)
        elif rule.kind not in ("type", "clock", "variant", "duplicate"):
            broken = row_rules.is_broken(rule, contract)
            if rule.kind == "required" and broken_names <= known:
                broken &= ~row_rules.is_unreadable(rule.column, contract)
            tests.append(RowTest(rule, broken, masking.shown(rule.column, contract)))
    df = _add(df, tests, contract, known, words)
    for rule in contract.row_rules:
        if rule.kind == "duplicate" and duplicates == "sought":
            df = df.withColumns(row_rules.key_ranks(contract, rule, known, within))
            tests = row_rules.duplicate_tests(contract, rule)
            df = _add(df, tests, contract, known | broken_names | {REASONS}, words).drop(RANK, SAME_SPELLING)
    verdict = F.when(row_rules.is_rejected(contract), QUARANTINE).otherwise(CLEAN)
    df = df.withColumn(VERDICT, verdict).drop(*flags)
    if ROW in known:
        df = df.withColumn(ROW, F.when(F.col(VERDICT) == QUARANTINE, F.col(ROW)))
    return df


def _add(
    df: DataFrame, tests: Sequence[RowTest], contract: Contract, known: Collection[str], words: Words
) -> DataFrame:
    """Adds what the tests say to what earlier tests said; `known` are the names of the columns of `df`."""
    from pyspark.sql import functions as F

    added = row_rules.bits(tests, contract)
    columns = {name: F.col(name) + bits if name in known else bits for name, bits in added.items()}
    if words == "told":
        reasons = row_rules.reasons(tests)
        columns[REASONS] = F.concat(F.col(REASONS), reasons) if REASONS in known else reasons
    return df.withColumns(columns)


def summarize(
    staged: DataFrame,
    contract: Contract,
    *,
    rows_in: int,
    record_hash: int | None = None,
    now: datetime | None = None,
    previous: Mapping[str, Sequence[float]] | None = None,
    within: Sequence[str] = (),
    days: Sequence[str] | None = None,
) -> Verdict:
    """The verdict over staged rows, by at most three aggregates and one pass for each rule that is a complete SELECT.

    Args:
        staged: The judged rows.
        contract: Whose rules are applied.
        rows_in: The number of rows that were judged.
        record_hash: The hash of their fingerprint, if rows have a `_record_id`; None compares only their number.
        now: The platform's time, UTC, for freshness; None is the wall clock.
        previous: The shares of the version that was published before, by rule name, for distributions.
        within: As in `judge`.
        days: The days by which table rules are measured, of a table by days; None measures all rows together.

    Raises:
        VerdictError: if the clean and the quarantined rows are not the rows that were judged, each once.
        ContractError: naming a table rule whose SQL the engine cannot compute.
    """
    from pyspark.sql import functions as F

    clean = F.col(VERDICT) == CLEAN
    aggregates = [F.count_if(clean).alias("clean"), F.count_if(~clean).alias("quarantined")]
    aggregates += [F.bit_or(name).alias(name) for name in broken_columns(contract)]
    if record_hash is not None:
        aggregates.append(F.bit_xor(F.xxhash64(RECORD_ID)).alias("records"))
    keys = [rule for rule in contract.row_rules if rule.kind == "duplicate"]
    for number, rule in enumerate(keys):
        complete = row_rules.key_is_complete(rule.argument)
        key_hash = F.xxhash64(*row_rules.key_values(rule, contract, within))
        aggregates.append(F.count_if(complete).alias(f"rows of key {number}"))
        aggregates.append(F.count_distinct(F.when(complete, key_hash)).alias(f"values of key {number}"))
    counts = staged.agg(*aggregates).collect()[0].asDict()
    _require_all_rows(counts, contract, rows_in, record_hash)
    rows_by_rule = _rows_by_rule(staged, contract, {name: counts[name] or 0 for name in broken_columns(contract)})
    results = [RuleResult(rule, rows_by_rule.get(rule.name, 0)) for rule in row_rules.rules(contract)]
    # The rules of every table, which no contract has, are listed only where they are broken.
    listed = [result for result in results if result.rows or result.rule in contract.row_rules]
    table_rules = measure(
        staged.where(clean), contract, now=now or datetime.now(UTC), previous=previous or {}, days=days
    )
    keys_repeat = any(counts[f"values of key {n}"] < counts[f"rows of key {n}"] for n in range(len(keys)))
    rows = (rows_in, counts["clean"], counts["quarantined"])
    return Verdict(contract, *rows, tuple(listed), table_rules, keys_repeat, tuple(days or ()))


def _require_all_rows(counts: Mapping[str, Any], contract: Contract, rows_in: int, record_hash: int | None) -> None:
    """Raises VerdictError unless the counted rows are those that were judged."""
    same_records = record_hash is None or (counts["records"] or 0) == record_hash
    if counts["clean"] + counts["quarantined"] != rows_in or not same_records:
        raise VerdictError(
            object=f"table {contract.table}",
            observed=f"{rows_in} rows in, {counts['clean']} clean and {counts['quarantined']} quarantined"
            + ("" if same_records else ", of other records"),
            expected="clean + quarantined = in: no row may vanish or double",
            next_step="look for a filter, an inner join or a join on a key that repeats in the table's transform",
        )


def _rows_by_rule(staged: DataFrame, contract: Contract, any_row: Mapping[str, int]) -> dict[str, int]:
    """How many rows broke each rule that any row broke.

    Args:
        staged: The judged rows.
        contract: Whose rules are applied.
        any_row: The bits that any row has, by `_broken` column.
    """
    from pyspark.sql import functions as F

    bit_of_rule = row_rules.bit_of(contract)
    broken = {rule: (name, bit) for rule, (name, bit) in bit_of_rule.items() if any_row[name] & bit}
    if not broken:
        return {}
    counts = [F.count_if(F.col(name).bitwiseAND(F.lit(bit)) != 0).alias(rule) for rule, (name, bit) in broken.items()]
    return staged.agg(*counts).collect()[0].asDict()


def combine(parts: Sequence[Verdict], contract: Contract, table_rules: Sequence[TableRuleResult]) -> Verdict:
    """The verdict over slices that were judged one by one, with the results of table rules measured on all of them."""
    rules = {result.rule.name: result.rule for part in parts for result in part.rules}
    rows = {name: sum(r.rows for part in parts for r in part.rules if r.rule.name == name) for name in rules}
    return Verdict(
        contract,
        sum(part.rows_in for part in parts),
        sum(part.rows_clean for part in parts),
        sum(part.rows_quarantined for part in parts),
        tuple(RuleResult(rule, rows[name]) for name, rule in rules.items()),
        tuple(table_rules),
        any(part.keys_repeat for part in parts),
        tuple(day for part in parts for day in part.days),
    )
