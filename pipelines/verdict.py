"""The verdict: each row judged by its contract in the pass that computes it, and the whole version before it is seen.

Each row gets its verdict, the rules that it broke as bits, and its reasons in words; a plan computes only what is asked
of it, so the pass that writes all rows takes bits, and words are for the few that are rejected. Table rules and counts
are two aggregates over what was staged. A rule is broken when it is false; where a value is null only `required` is
broken, so no row is judged by accident of three-valued logic.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Literal

from pipelines.contracts import Contract, RowRule, TableRule
from pipelines.errors import VerdictError
from pipelines.ingestion import MALFORMED, RESCUED
from pipelines.tables import BRONZE_COLUMNS, RECORD_ID, TableId

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

REASONS = "_reasons"
ROW = "_row"
VERDICT = "_verdict"
CLEAN: Literal["clean"] = "clean"
QUARANTINE: Literal["quarantine"] = "quarantine"
REASON_TYPE = "array<struct<code:string,column:string,rule:string,value:string,severity:string>>"
ERRORS = "_errors"
BROKEN = "_broken"
PLACE = "_place"

MALFORMED_ROW = RowRule("malformed_row", "type", RESCUED, "error")
UNKNOWN_COLUMN = RowRule("unknown_column", "type", RESCUED, "error")
#: Bits of one `_broken` column; a contract with more rules has several.
BITS = 62

#: What a quarantined row keeps: where it came from, why it is here, and the row as it arrived, as JSON.
QUARANTINE_COLUMNS = (*BRONZE_COLUMNS, REASONS, ROW)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """How many rows broke one row rule."""

    rule: RowRule
    rows: int


@dataclass(frozen=True, slots=True)
class TableRuleResult:
    """What a table rule observed."""

    rule: TableRule
    observed: float | None

    @property
    def passed(self) -> bool:
        low, high = self.rule.minimum, self.rule.maximum
        return self.observed is not None and not (
            (low is not None and self.observed < low) or (high is not None and self.observed > high)
        )


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
    def passed(self) -> bool:
        return all(result.passed or result.rule.severity == "warning" for result in self.table_rules)

    def refuse(self) -> VerdictError:
        """The error to raise when the version must not be published."""
        failed = [result for result in self.table_rules if not result.passed and result.rule.severity == "error"]
        broken = [result for result in self.rules if result.rows and result.rule.severity == "error"]
        if failed:
            observed = "; ".join(f"{result.rule.name} saw {result.observed}" for result in failed)
            expected = "; ".join(f"{r.rule.name} within [{r.rule.minimum}, {r.rule.maximum}]" for r in failed)
        else:
            observed = "; ".join(f"{result.rows} rows break {result.rule.name}" for result in broken)
            expected = "no row that breaks a rule, since this table has no quarantine"
        return VerdictError(
            object=f"table {self.contract.table}",
            observed=observed,
            expected=expected,
            next_step="the version before stays published; correct the input or the contract, then materialize again",
        )


def typed(raw: DataFrame, contract: Contract) -> DataFrame:
    """Bronze text as the contract's types, with what did not fit as reasons, and the row as it arrived.

    A text among the contract's null tokens is no value. A text that its type cannot hold becomes null and a reason.
    A bronze column that the contract does not publish comes along as text, for computed columns and rules.
    """
    from pyspark.sql import functions as F

    def arrived_text(name: str) -> Column:
        return F.when(~F.col(name).isin(*contract.null_tokens), F.col(name)) if contract.null_tokens else F.col(name)

    arrived = [name for name in raw.columns if name not in BRONZE_COLUMNS and name != RESCUED]
    texts = {column.name: arrived_text(column.source) for column in contract.columns if column.source in arrived}
    values = {
        column.name: texts[column.name].try_cast(column.type) if column.type != "string" else texts[column.name]
        for column in contract.columns
        if column.name in texts
    }
    rescued = F.col(RESCUED)
    tests = [_Test(MALFORMED_ROW, rescued.contains(f'"{MALFORMED}"'), rescued)]
    if contract.drift["columns"] == "discard_row":
        tests.append(_Test(UNKNOWN_COLUMN, ~rescued.contains(f'"{MALFORMED}"'), rescued))
    for rule in contract.row_rules:
        if rule.kind == "type" and rule.column in texts:
            text = texts[rule.column]
            tests.append(_Test(rule, text.isNotNull() & values[rule.column].isNull(), text))
    return raw.select(
        *[value.alias(name) for name, value in values.items()],
        *[arrived_text(name).alias(name) for name in arrived if name not in values],
        *[F.col(name) for name in BRONZE_COLUMNS],
        _reasons(tests).alias(REASONS),
        _errors(tests).alias(ERRORS),
        *[bits.alias(name) for name, bits in _bits(tests, contract).items()],
        F.to_json(F.struct(*[F.col(name) for name in arrived], rescued)).alias(ROW),
    )


def broken_columns(contract: Contract) -> list[str]:
    """The columns whose bits say which rules a row broke, in the order of `_rules`."""
    return [f"{BROKEN}{number}" for number in range(-(-len(_rules(contract)) // BITS))]


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
            tests.append(_Test(rule, F.col(rule.column).isNotNull() & F.col(flag).isNull(), F.col(rule.column)))
            flags.append(flag)
        elif rule.kind not in ("type", "duplicate"):
            tests.append(_Test(rule, _broken(rule), F.col(rule.column)))
    df = _add(df, tests, contract, known)
    for rule in contract.row_rules:
        if rule.kind == "duplicate" and duplicates == "sought":
            df = df.withColumn(PLACE, _place(contract, rule, known))
            df = _add(df, [_loser(rule)], contract, known | {REASONS}).drop(PLACE)
    df = df.withColumn(VERDICT, F.when(_rejected(contract), QUARANTINE).otherwise(CLEAN)).drop(ERRORS, *flags)
    if ROW in known:
        df = df.withColumn(ROW, F.when(F.col(VERDICT) == QUARANTINE, F.col(ROW)))
    return df


def summarize(staged: DataFrame, contract: Contract, *, rows_in: int) -> Verdict:
    """Reads the judgement off the staged rows: two aggregates, none per rule.

    Raises:
        VerdictError: if clean and quarantined rows are not the rows that went in, each once.
    """
    from pyspark.sql import functions as F

    clean = F.col(VERDICT) == CLEAN
    places = _places(contract)
    aggregates = [F.count_if(clean).alias("clean"), F.count_if(~clean).alias("quarantined")]
    if contract.table.zone == "silver":  # rows of bronze, where a record id names one row
        aggregates.append(F.count_distinct(RECORD_ID).alias("records"))
    aggregates += [
        F.count_if(F.col(name).bitwiseAND(F.lit(bit)) != 0).alias(f"{BROKEN} {rule}")
        for rule, (name, bit) in places.items()
    ]
    keys = [rule.argument for rule in contract.row_rules if rule.kind == "duplicate"]
    for place, key in enumerate(keys):
        whole = _whole(key)
        aggregates += [F.count_if(whole).alias(f"{PLACE}{place} rows")]
        aggregates += [F.count_distinct(F.when(whole, F.xxhash64(*key))).alias(f"{PLACE}{place} keys")]
    counts = staged.agg(*aggregates).collect()[0].asDict()
    observed = {}
    if contract.table_rules:
        columns = [F.expr(rule.expression).cast("double").alias(rule.name) for rule in contract.table_rules]
        observed = staged.where(clean).agg(*columns).collect()[0].asDict()
    judged = counts["clean"] + counts["quarantined"]
    if {judged, counts.get("records", judged)} != {rows_in}:
        records = f", of {counts['records']} records" if "records" in counts else ""
        raise VerdictError(
            object=f"table {contract.table}",
            observed=f"{rows_in} rows in, {counts['clean']} clean and {counts['quarantined']} quarantined{records}",
            expected="clean + quarantined = in: no row may vanish or double on its way",
            next_step="look for a filter, an inner join or a join on a key that repeats in the table's transform",
        )
    found = [RuleResult(rule, counts[f"{BROKEN} {rule.name}"]) for rule in _rules(contract)]
    # The rules of every bronze row are no contract's: they show where they were broken.
    rules = [result for result in found if result.rows or result.rule in contract.row_rules]
    table_rules = tuple(TableRuleResult(rule, observed.get(rule.name)) for rule in contract.table_rules)
    repeat = any(counts[f"{PLACE}{place} keys"] < counts[f"{PLACE}{place} rows"] for place in range(len(keys)))
    return Verdict(contract, rows_in, counts["clean"], counts["quarantined"], tuple(rules), table_rules, repeat)


def _rules(contract: Contract) -> list[RowRule]:
    """Every rule that a row can break."""
    return [*contract.row_rules, MALFORMED_ROW, UNKNOWN_COLUMN]


def _places(contract: Contract) -> dict[str, tuple[str, int]]:
    """Rule name to its `_broken` column, and its bit there."""
    names = broken_columns(contract)
    return {rule.name: (names[n // BITS], 1 << n % BITS) for n, rule in enumerate(_rules(contract))}


def _broken(rule: RowRule) -> Column:
    from pyspark.sql import functions as F

    value = F.col(rule.column)
    match rule.kind:
        case "required":
            return value.isNull()
        case "range":
            low, high = rule.argument
            tests = ([value < F.lit(low)] if low is not None else []) + (
                [value > F.lit(high)] if high is not None else []
            )
            return F.coalesce(reduce(lambda a, b: a | b, tests), F.lit(False))
        case "set":
            return F.coalesce(~value.isin(*rule.argument), F.lit(False))
        case "pattern":
            return F.coalesce(~value.rlike(rule.argument), F.lit(False))
        case _:
            return ~F.coalesce(F.expr(rule.argument), F.lit(True))


@dataclass(frozen=True, slots=True)
class _Test:
    """A rule as a column that is true where a row breaks it, and the value to show."""

    rule: RowRule
    broken: Column
    value: Column

    def reason(self) -> Column:
        from pyspark.sql import functions as F

        rule = self.rule
        shown = F.when(self.broken, self.value.cast("string"))  # nullable whatever the value: one array, one type
        return F.when(
            self.broken,
            F.struct(
                F.lit(rule.name).alias("code"),
                F.lit(rule.column).alias("column"),
                F.lit(f"{rule.kind} {'' if rule.argument is None else rule.argument}".strip()).alias("rule"),
                shown.alias("value"),
                F.lit(rule.severity).alias("severity"),
            ),
        )


def _reasons(tests: Sequence[_Test]) -> Column:
    from pyspark.sql import functions as F

    found = F.array_compact(F.array(*[test.reason() for test in tests])) if tests else F.array()
    return found.cast(REASON_TYPE)  # one nullability, or two such arrays do not concatenate


def _errors(tests: Sequence[_Test]) -> Column:
    from pyspark.sql import functions as F

    counted = [F.when(test.broken, 1).otherwise(0) for test in tests if test.rule.severity == "error"]
    return reduce(lambda a, b: a + b, counted, F.lit(0))


def _bits(tests: Sequence[_Test], contract: Contract) -> dict[str, Column]:
    """The `_broken` columns of these tests alone."""
    from pyspark.sql import functions as F

    places, bits = _places(contract), {name: F.lit(0).cast("bigint") for name in broken_columns(contract)}
    for test in tests:
        name, bit = places[test.rule.name]
        bits[name] = bits[name] + F.when(test.broken, F.lit(bit).cast("bigint")).otherwise(F.lit(0).cast("bigint"))
    return bits


def _rejected(contract: Contract) -> Column:
    """Whether a row broke a rule of severity error, by its bits."""
    from pyspark.sql import functions as F

    errors = dict.fromkeys(broken_columns(contract), 0)
    for rule in _rules(contract):
        name, bit = _places(contract)[rule.name]
        errors[name] |= bit if rule.severity == "error" else 0
    found = [F.col(name).bitwiseAND(F.lit(bits).cast("bigint")) != 0 for name, bits in errors.items() if bits]
    return reduce(lambda a, b: a | b, found)


def _add(df: DataFrame, tests: Sequence[_Test], contract: Contract, known: Collection[str]) -> DataFrame:
    """Adds what the tests find to what was found before; `known` are the columns of `df`."""
    from pyspark.sql import functions as F

    bits = _bits(tests, contract)
    if REASONS not in known:
        return df.withColumns({REASONS: _reasons(tests), ERRORS: _errors(tests), **bits})
    return df.withColumns(
        {
            REASONS: F.concat(F.col(REASONS), _reasons(tests)),
            ERRORS: F.col(ERRORS) + _errors(tests),
            **{name: F.col(name) + found for name, found in bits.items()},
        }
    )


def _place(contract: Contract, rule: RowRule, known: Collection[str]) -> Column:
    """A row's place among those with its key: rows without errors first, then as the contract's `winner` orders."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    order = [F.col(ERRORS).asc()]
    for part in filter(None, (contract.winner or "").split(",")):
        column, _, direction = part.strip().partition(" ")
        descending = direction.strip().lower() == "desc"
        order.append(F.col(column).desc_nulls_last() if descending else F.col(column).asc_nulls_last())
    if RECORD_ID in known:
        order.append(F.col(RECORD_ID).asc())
    return F.row_number().over(Window.partitionBy(*rule.argument).orderBy(*order))


def _loser(rule: RowRule) -> _Test:
    from pyspark.sql import functions as F

    key = F.concat_ws("|", *[F.col(name).cast("string") for name in rule.argument])
    return _Test(rule, _whole(rule.argument) & (F.col(PLACE) > 1), key)


def _whole(key: Sequence[str]) -> Column:
    from pyspark.sql import functions as F

    return reduce(lambda a, b: a & b, [F.col(name).isNotNull() for name in key])
