"""The verdict: each row judged by its contract in the pass that computes it, and the whole version before it is seen.

Each row gets its verdict, the rules that it broke as bits, and its reasons in words; a plan computes only what is asked
of it, so the pass that writes all rows takes bits, and words are for the few that are rejected. Table rules and counts
are two aggregates over what was staged. A rule is broken when it is false; where a value is null only `required` is
broken, so no row is judged by accident of three-valued logic.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from pipelines.contracts.model import Contract, RowRule
from pipelines.engine.session import Kind
from pipelines.errors import VerdictError
from pipelines.tables import BRONZE_COLUMNS, DECISION, MALFORMED, RECORD_ID, RESCUED, TableId
from pipelines.verdict import row_rules, text_values
from pipelines.verdict.row_rules import (
    DISCARDED,
    ERRORS,
    MALFORMED_ROW,
    PLACE,
    REASONS,
    SPELLING,
    UNKNOWN_COLUMN,
    RowTest,
    broken_columns,
)
from pipelines.verdict.table_rules import TableRuleResult, measure, sql_errors_named

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

__all__ = [
    "Fingerprint", "RuleResult", "TableRuleResult", "Verdict", "broken_columns", "fingerprint", "judge",
    "sql_errors_named", "summarize", "typed",
]  # fmt: skip

ROW = "_row"
VERDICT = "_verdict"
CLEAN: Literal["clean"] = "clean"
QUARANTINE: Literal["quarantine"] = "quarantine"
DECIDED_AT = "_decided_at"
DECIDED_BY = "_decided_by"

#: What a quarantined row keeps: where it came from, why it is here, and the row as it arrived, as JSON.
JUDGED_COLUMNS = (*BRONZE_COLUMNS, REASONS, ROW)
#: And what people decided about it.
QUARANTINE_COLUMNS = (*JUDGED_COLUMNS, DECISION, DECIDED_AT, DECIDED_BY)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """How many rows broke one row rule."""

    rule: RowRule
    rows: int


class Fingerprint(NamedTuple):
    """What tells whether two frames hold the same records, in 16 bytes whatever their number.

    `hash` is the exclusive or of the records' 64-bit hashes. With as many rows, it is the same only where each record
    is there once, but for one case in 2^64; those of slices combine by `^`.
    """

    rows: int
    hash: int


def fingerprint(df: DataFrame) -> Fingerprint:
    """The fingerprint of a frame's `_record_id`s, by one scan of that column."""
    from pyspark.sql import functions as F

    rows, found = df.agg(F.count(F.lit(1)), F.bit_xor(F.xxhash64(RECORD_ID))).collect()[0]
    return Fingerprint(rows, found or 0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one run's rows: `rows_clean + rows_quarantined = rows_in`.

    `keys_repeat` says whether a whole key may stand in several rows, judged as duplicates or not.
    """

    contract: Contract
    rows_in: int
    rows_clean: int
    rows_quarantined: int
    rules: tuple[RuleResult, ...]
    table_rules: tuple[TableRuleResult, ...]
    keys_repeat: bool = False

    @property
    def frozen_breaks(self) -> list[RuleResult]:
        """The types that did not hold where the contract freezes them: one such value refuses the version."""
        contract = self.contract
        if contract.table.zone != "silver" or contract.drift["data_type"] != "freeze":
            return []
        broken = [r for r in self.rules if r.rows and r.rule.kind in ("type", "clock")]
        return [result for result in broken if result.rule in contract.row_rules]

    @property
    def passed(self) -> bool:
        held = all(result.passed or result.rule.severity == "warning" for result in self.table_rules)
        return held and not self.frozen_breaks

    def refuse(self) -> VerdictError:
        """The error to raise when the version must not be published."""
        failed = [result for result in self.table_rules if not result.passed and result.rule.severity == "error"]
        frozen = [f"{result.rows} rows break {result.rule.name}" for result in self.frozen_breaks]
        broken = [result for result in self.rules if result.rows and result.rule.severity == "error"]
        observed = [f"{result.rule.name} saw {result.observed}" for result in failed] + frozen
        expected = [f"{result.rule.name} {result.rule.bounds}" for result in failed]
        expected += ["only values of the contract's types, since its data_type is frozen"] if frozen else []
        if not observed:
            observed = [f"{result.rows} rows break {result.rule.name}" for result in broken]
            expected = ["no row that breaks a rule, since this table has no quarantine"]
        return VerdictError(
            object=f"table {self.contract.table}",
            observed="; ".join(observed),
            expected="; ".join(expected),
            next_step="the version before stays published; correct the input or the contract, then materialize again",
        )


def typed(raw: DataFrame, contract: Contract, engine: Kind | None = None) -> DataFrame:
    """Bronze text as the contract's types, with what did not fit as reasons, and the row as it arrived.

    A text among the contract's null tokens is no value. A text that its type cannot hold becomes null and a reason.
    A bronze column that the contract does not publish comes along as text, for computed columns and rules. Naming the
    engine is faster, and gives the same.
    """
    from pyspark.sql import functions as F

    def arrived_text(name: str) -> Column:
        return F.when(~F.col(name).isin(*contract.null_tokens), F.col(name)) if contract.null_tokens else F.col(name)

    names = raw.columns  # asks the engine, so once
    arrived = [name for name in names if name not in (*BRONZE_COLUMNS, RESCUED, DECISION)]
    texts = {column.name: arrived_text(column.source) for column in contract.columns if column.source in arrived}
    readings = {name: text_values.read(text, contract.column(name), engine) for name, text in texts.items()}
    rescued = F.col(RESCUED)
    tests = [RowTest(MALFORMED_ROW, rescued.contains(f'"{MALFORMED}"'), rescued)]
    if contract.drift["columns"] == "discard_row":
        tests.append(RowTest(UNKNOWN_COLUMN, ~rescued.contains(f'"{MALFORMED}"'), rescued))
    if DECISION in names:
        tests.append(RowTest(DISCARDED, F.col(DECISION) == "discard", F.col(RECORD_ID)))
    for rule in contract.row_rules:
        if rule.kind in ("type", "clock") and rule.column in texts:
            reading = readings[rule.column]
            wrong = reading.wrong if rule.kind == "type" else reading.skipped
            if wrong is not None:
                tests.append(RowTest(rule, wrong, texts[rule.column]))
    variants = {
        column.variant: F.when(readings[column.name].value.isNull(), texts[column.name])
        if column.name in texts
        else F.lit(None).cast("string")
        for column in contract.columns
        if column.variant in contract.variant_columns
    }
    return raw.select(
        *[reading.value.alias(name) for name, reading in readings.items()],
        *[variant.alias(name) for name, variant in variants.items()],
        *[arrived_text(name).alias(name) for name in arrived if name not in readings],
        *[F.col(name) for name in BRONZE_COLUMNS],
        row_rules.reasons(tests).alias(REASONS),
        row_rules.errors(tests).alias(ERRORS),
        *[bits.alias(name) for name, bits in row_rules.bits(tests, contract).items()],
        F.to_json(F.struct(*[F.col(name) for name in arrived], rescued)).alias(ROW),
    )


def judge(
    df: DataFrame,
    contract: Contract,
    references: Mapping[TableId, DataFrame],
    *,
    duplicates: Literal["sought", "excluded"] = "sought",
) -> DataFrame:
    """Adds each row's broken rules, its reasons and its verdict; the row as it arrived stays only where it is rejected.

    Args:
        df: The rows to judge, with the contract's columns.
        contract: Whose row rules hold.
        references: The tables that reference rules point to.
        duplicates: Seeking them sorts all rows by key; "excluded" until a summary says that keys repeat.
    """
    from pyspark.sql import functions as F

    known = set(df.columns)  # asks the engine, so once
    tests, flags = [], []
    for rule in contract.row_rules:
        if rule.kind == "reference":
            (table, column), flag = rule.argument, f"_known_{rule.name}"
            keys = references[table].select(F.col(column).alias(rule.column)).dropDuplicates()
            df = df.join(F.broadcast(keys.withColumn(flag, F.lit(True))), on=rule.column, how="left")
            tests.append(RowTest(rule, F.col(rule.column).isNotNull() & F.col(flag).isNull(), F.col(rule.column)))
            flags.append(flag)
        elif rule.kind not in ("type", "clock", "variant", "duplicate"):
            broken = row_rules.broken(rule, contract)
            if rule.kind == "required" and REASONS in known:
                broken &= ~row_rules.unreadable(rule.column, contract)
            tests.append(RowTest(rule, broken, F.col(rule.column)))
    df = _add(df, tests, contract, known)
    for rule in contract.row_rules:
        if rule.kind == "duplicate" and duplicates == "sought":
            df = df.withColumns(row_rules.places(contract, rule, known))
            df = _add(df, row_rules.losers(contract, rule), contract, known | {REASONS}).drop(PLACE, SPELLING)
    df = df.withColumn(VERDICT, F.when(row_rules.rejected(contract), QUARANTINE).otherwise(CLEAN)).drop(ERRORS, *flags)
    if ROW in known:
        df = df.withColumn(ROW, F.when(F.col(VERDICT) == QUARANTINE, F.col(ROW)))
    return df


def summarize(
    staged: DataFrame,
    contract: Contract,
    *,
    rows_in: int,
    record_hash: int | None = None,
    now: datetime | None = None,
    previous: Mapping[str, Sequence[float]] | None = None,
) -> Verdict:
    """Reads the judgement off the staged rows: at most three aggregates, whatever the rules.

    Args:
        staged: The judged rows.
        contract: Whose rules hold.
        rows_in: How many rows went in.
        record_hash: Of their fingerprint, where rows carry a `_record_id`; else only their number is compared.
        now: The platform's time, UTC, for freshness; None is the wall clock.
        previous: Shares by rule name, of the version before, for distributions that are compared with it.

    Raises:
        VerdictError: if clean and quarantined rows are not the rows that went in, each once.
        ContractError: naming a table rule whose SQL the engine cannot compute.
    """
    from pyspark.sql import functions as F

    clean = F.col(VERDICT) == CLEAN
    aggregates = [F.count_if(clean).alias("clean"), F.count_if(~clean).alias("quarantined")]
    aggregates += [F.bit_or(name).alias(name) for name in broken_columns(contract)]
    if record_hash is not None:
        aggregates.append(F.bit_xor(F.xxhash64(RECORD_ID)).alias("records"))
    keys = [rule for rule in contract.row_rules if rule.kind == "duplicate"]
    for place, rule in enumerate(keys):
        whole = row_rules.whole(rule.argument)
        spelled = F.xxhash64(*row_rules.spellings_apart(rule, contract))
        aggregates += [F.count_if(whole).alias(f"{PLACE}{place} rows")]
        aggregates += [F.count_distinct(F.when(whole, spelled)).alias(f"{PLACE}{place} keys")]
    counts = staged.agg(*aggregates).collect()[0].asDict()
    same = record_hash is None or (counts["records"] or 0) == record_hash
    if counts["clean"] + counts["quarantined"] != rows_in or not same:
        raise VerdictError(
            object=f"table {contract.table}",
            observed=f"{rows_in} rows in, {counts['clean']} clean and {counts['quarantined']} quarantined"
            + ("" if same else ", of other records"),
            expected="clean + quarantined = in: no row may vanish or double on its way",
            next_step="look for a filter, an inner join or a join on a key that repeats in the table's transform",
        )
    broken = _rows_by_rule(staged, contract, {name: counts[name] or 0 for name in broken_columns(contract)})
    found = [RuleResult(rule, broken.get(rule.name, 0)) for rule in row_rules.rules(contract)]
    # The rules of every bronze row are no contract's: they show where they were broken.
    rules = [result for result in found if result.rows or result.rule in contract.row_rules]
    table_rules = measure(
        staged.where(clean), contract, rows=counts["clean"], now=now or datetime.now(UTC), previous=previous or {}
    )
    repeat = any(counts[f"{PLACE}{place} keys"] < counts[f"{PLACE}{place} rows"] for place in range(len(keys)))
    return Verdict(contract, rows_in, counts["clean"], counts["quarantined"], tuple(rules), table_rules, repeat)


def _rows_by_rule(staged: DataFrame, contract: Contract, seen: Mapping[str, int]) -> dict[str, int]:
    """How many rows broke each rule that any row broke; `seen` are the bits that stand in any row, by column."""
    from pyspark.sql import functions as F

    at = {rule: (name, bit) for rule, (name, bit) in row_rules.bit_of(contract).items() if seen[name] & bit}
    if not at:
        return {}
    counts = [F.count_if(F.col(name).bitwiseAND(F.lit(bit)) != 0).alias(rule) for rule, (name, bit) in at.items()]
    return staged.agg(*counts).collect()[0].asDict()


def combine(parts: Sequence[Verdict], contract: Contract, table_rules: Sequence[TableRuleResult]) -> Verdict:
    """The verdict over slices that were judged one by one, with the table rules that hold for all of them."""
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
    )


def _add(df: DataFrame, tests: Sequence[RowTest], contract: Contract, known: Collection[str]) -> DataFrame:
    """Adds what the tests find to what was found before; `known` are the columns of `df`."""
    from pyspark.sql import functions as F

    bits = row_rules.bits(tests, contract)
    if REASONS not in known:
        return df.withColumns({REASONS: row_rules.reasons(tests), ERRORS: row_rules.errors(tests), **bits})
    return df.withColumns(
        {
            REASONS: F.concat(F.col(REASONS), row_rules.reasons(tests)),
            ERRORS: F.col(ERRORS) + row_rules.errors(tests),
            **{name: F.col(name) + found for name, found in bits.items()},
        }
    )
