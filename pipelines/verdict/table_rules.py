"""Table rules as figures about a version's clean rows: all aggregates in one pass, each complete SELECT in its own.

In a table by days each day is measured by itself, also a day without rows; freshness alone is that of the newest row.
"""

from __future__ import annotations

import contextlib
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.contracts.model import Contract, Distribution, TableRule
from pipelines.errors import ContractError
from pipelines.tables import PARTITION
from pipelines.verdict import row_rules

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: A share of zero has no logarithm; the population stability index (PSI) uses this share in its place.
SMALLEST_SHARE = 1e-4
#: What a distribution counts in addition to its numbered bins: values of no category, and all values.
_OTHERS, _ALL = "others", "all"
#: The name of the number of rows among the figures; no rule has it, since it is no reason code.
_ROWS = "rows in all"
_SHOWN_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class TableRuleResult:
    """What a table rule observed.

    Attributes:
        rule: The rule.
        observed: The figure; None if there is none. In a table by days that of the first day that failed, else of the
            last day.
        shares: Of a distribution, which the next version is compared with.
        day: The day that was observed; None for all rows together.
        failed_days: The days on which the rule fails.
    """

    rule: TableRule
    observed: float | None
    shares: tuple[float, ...] | None = None
    day: str | None = None
    failed_days: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the figure keeps the rule's bounds; without a figure, as of no rows, the rule fails."""
        return self.observed is not None and not math.isnan(self.observed) and self.rule.bounds.hold(self.observed)

    def __str__(self) -> str:
        """The figure in words: `light saw 9000.0 on 2013-01-01 and 2 more`."""
        more = len(self.failed_days) - 1
        day = f" on {self.day}" if self.failed_days else ""
        return f"{self.rule.name} saw {self.observed}{day}" + (f" and {more} more" if more > 0 else "")


def measure(
    clean: DataFrame,
    contract: Contract,
    *,
    now: datetime,
    previous: Mapping[str, Sequence[float]],
    days: Sequence[str] | None = None,
) -> tuple[TableRuleResult, ...]:
    """What each table rule observes.

    Args:
        clean: The rows that are to be published.
        contract: Whose table rules are measured.
        now: The platform's time, UTC, that freshness is measured against.
        previous: The shares of the version that was published before, by rule name.
        days: The days that are measured by themselves, of a table by days; None measures all rows together.

    Raises:
        ContractError: naming the rule and its SQL, if the engine cannot compute it.
    """
    from pyspark.sql import functions as F

    if not contract.table_rules:
        return ()
    measured = _Measured(contract, now, previous, _figures(clean, contract, days))
    if days is None:
        return tuple(measured.result(rule, clean, None) for rule in contract.table_rules)
    results = []
    for rule in contract.table_rules:
        if rule.kind == "freshness":
            results.append(measured.freshness(rule))
            continue
        by_day = [measured.result(rule, clean.where(F.col(PARTITION) == day), day) for day in days]
        failed = [result for result in by_day if not result.passed]
        failed_days = tuple(str(result.day) for result in failed)
        results.append(replace((failed or by_day[-1:])[0], failed_days=failed_days))
    return tuple(results)


def _figures(clean: DataFrame, contract: Contract, days: Sequence[str] | None) -> dict[str | None, dict[str, Any]]:
    """The aggregates of all rules by name, for each day, or under None for all rows together."""
    from pyspark.sql import functions as F

    rules = [(rule, _columns(rule)) for rule in contract.table_rules]
    columns = [column.alias(name) for _, named in rules for name, column in named.items()]
    aggregates = [F.count(F.lit(1)).alias(_ROWS), *columns]
    with _sql_errors_named(clean, rules, contract):
        if days is None:
            return {None: clean.agg(*aggregates).collect()[0].asDict()}
        rows = clean.groupBy(PARTITION).agg(*aggregates).collect()
        by_day: dict[str | None, dict[str, Any]] = {row[PARTITION]: row.asDict() for row in rows}
        if without_rows := [day for day in days if day not in by_day]:
            by_day |= dict.fromkeys(without_rows, clean.limit(0).agg(*aggregates).collect()[0].asDict())
        return by_day


@dataclass(frozen=True, slots=True)
class _Measured:
    """The aggregates of a version, and what its table rules observe by them; `figures` as `_figures` returns them."""

    contract: Contract
    now: datetime
    previous: Mapping[str, Sequence[float]]
    figures: Mapping[str | None, Mapping[str, Any]]

    def result(self, rule: TableRule, rows: DataFrame, day: str | None) -> TableRuleResult:
        """What a rule observes of a day, whose rows these are, or of all rows."""
        figures, shares = self.figures[day], None
        if rule.kind == "query":
            observed = _first_value(rows, rule, self.contract)
        elif rule.kind == "distribution" and rule.argument:
            shares = _shares(rule.argument, rule, figures)
            expected = rule.argument.shares or self.previous.get(rule.name)
            observed = psi(shares, expected or shares) if shares else None
        elif rule.kind == "freshness":
            return self.freshness(rule)
        else:
            observed = float(figures[_ROWS]) if _counts_rows(rule) else figures[rule.name]
        return TableRuleResult(rule, observed, shares, day)

    def freshness(self, rule: TableRule) -> TableRuleResult:
        """The age of the newest row of all days, in seconds."""
        times = [figures[rule.name] for figures in self.figures.values() if figures[rule.name] is not None]
        return TableRuleResult(rule, self.now.timestamp() - max(times) if times else None)


def psi(observed: Sequence[float], expected: Sequence[float]) -> float:
    """The population stability index of two distributions over the same bins: 0 if equal, above 0.2 a shift.

    PSI = sum over bins of (observed - expected) * ln(observed / expected).
    """
    pairs = [(max(a, SMALLEST_SHARE), max(b, SMALLEST_SHARE)) for a, b in zip(observed, expected, strict=True)]
    return sum((a - b) * math.log(a / b) for a, b in pairs)


@contextlib.contextmanager
def sql_errors_named(rows: DataFrame, contract: Contract) -> Iterator[None]:
    """Turns an engine's error in the block into one that names the row rule whose SQL caused it.

    Args:
        rows: The rows that the block judges.
        contract: Whose row rules the block computes.

    Raises:
        ContractError: naming the rule and its SQL. An error that no rule causes is raised as it is.
    """
    rules = [rule for rule in contract.row_rules if rule.kind == "expression"]
    columns = [(rule, {rule.name: row_rules.count_broken(rule, contract)}) for rule in rules]
    with _sql_errors_named(rows, columns, contract):
        yield


@contextlib.contextmanager
def _sql_errors_named(
    rows: DataFrame, rules: Sequence[tuple[Any, Mapping[str, Column]]], contract: Contract
) -> Iterator[None]:
    """If the block fails in the engine, computes the columns of each rule alone, and raises the error of the first."""
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException:
        for rule, columns in rules:
            try:
                if columns:
                    rows.agg(*[column.alias(name) for name, column in columns.items()]).collect()
            except PySparkException as error:
                raise _sql_error(rule.name, getattr(rule, "expression", rule.argument), contract, error) from None
        raise


def _sql_error(name: str, sql: Any, contract: Contract, error: Exception) -> ContractError:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ContractError(
        object=f"contract {contract.path.name}, rule {name}, SQL {sql!r}",
        observed=first if len(first) <= _SHOWN_CHARACTERS else f"{first[: _SHOWN_CHARACTERS - 3]}...",
        expected="SQL that the engine can compute over the table's columns",
        next_step=f"correct the rule in {contract.path}",
    )


def _counts_rows(rule: TableRule) -> bool:
    return rule.expression == "count(1)"


def _columns(rule: TableRule) -> dict[str, Column]:
    """The aggregates that a rule needs, by name."""
    from pyspark.sql import functions as F

    if rule.kind == "query" or _counts_rows(rule):
        return {}
    if rule.kind == "distribution" and rule.argument:
        return {f"{rule.name} {bin}": count for bin, count in _bin_counts(rule.argument).items()}
    return {rule.name: F.expr(rule.expression).cast("double")}


def _bin_counts(distribution: Distribution) -> dict[str, Column]:
    """The number of values in each bin; categories have one more bin, of all other values."""
    from pyspark.sql import functions as F

    value = F.col(distribution.column)
    if distribution.by == "categories":
        text = value.cast("string")
        counts = {str(n): F.count_if(text == F.lit(category)) for n, category in enumerate(distribution.bins)}
        return counts | {_OTHERS: F.count_if(~text.isin(*distribution.bins)), _ALL: F.count(value)}
    lows, highs = [None, *distribution.bins], [*distribution.bins, None]
    counts = {}
    for n, (low, high) in enumerate(zip(lows, highs, strict=True)):
        above = F.lit(True) if low is None else value >= F.lit(low)
        counts[str(n)] = F.count_if(above & (value.isNotNull() if high is None else value < F.lit(high)))
    return counts | {_ALL: F.count(value)}


def _shares(distribution: Distribution, rule: TableRule, figures: Mapping[str, Any]) -> tuple[float, ...] | None:
    """The share of each bin; None if there is no value."""
    total = figures[f"{rule.name} {_ALL}"]
    if not total:
        return None
    return tuple(figures[f"{rule.name} {bin}"] / total for bin in _bin_counts(distribution) if bin != _ALL)


def _first_value(clean: DataFrame, rule: TableRule, contract: Contract) -> float | None:
    """The first value of the rule's SELECT; None if it gives no row, or null."""
    from pyspark.errors import PySparkException

    view, session = f"version_{uuid.uuid4().hex}", clean.sparkSession
    clean.createOrReplaceTempView(view)
    try:
        rows = session.sql(rule.expression.replace("{table}", view)).limit(1).collect()
        return None if not rows or rows[0][0] is None else float(rows[0][0])
    except (PySparkException, TypeError, ValueError) as error:
        raise _sql_error(rule.name, rule.expression, contract, error) from None
    finally:
        session.catalog.dropTempView(view)
