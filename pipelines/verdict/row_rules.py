"""Row rules as columns that are true where a row breaks the rule, and what is kept of them.

Every row keeps which rules it broke as bits (`_broken0`, `_broken1`, …); the reasons in words (`_reasons`) are computed
for the rejected rows alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, assert_never

from pipelines.contracts.model import Contract, RowRule
from pipelines.contracts.patterns import portable
from pipelines.tables import (
    BROKEN,
    DECISION,
    RANK,
    RECORD_ID,
    RESCUED,
    SAME_SPELLING,
    quoted,
)
from pipelines.verdict import keys, masking, winner

if TYPE_CHECKING:
    from pyspark.sql import Column

REASON_TYPE = "array<struct<code:string,column:string,rule:string,value:string,severity:string>>"
#: Bits of one `_broken` column; a contract with more rules has several such columns.
BITS = 62

MALFORMED_ROW = RowRule("malformed_row", "type", RESCUED, "error")
UNKNOWN_COLUMN = RowRule("unknown_column", "type", RESCUED, "error")
DISCARDED = RowRule("discarded", "expression", RECORD_ID, "error", f"{DECISION} <> 'discarded'")


@dataclass(frozen=True, slots=True)
class RowTest:
    """A rule as a column that is true where a row breaks it, and the value to show as its reason."""

    rule: RowRule
    broken: Column
    value: Column

    def reason(self) -> Column:
        """A struct of `REASON_TYPE` where a row breaks the rule, else null."""
        from pyspark.sql import functions as F

        rule = self.rule
        # The `when` makes the field nullable for every rule, so that all structs of the array have one type.
        shown = F.when(self.broken, self.value.cast("string"))
        return F.when(
            self.broken,
            F.struct(
                F.lit(rule.name).alias("code"),
                F.lit(rule.column).alias("column"),
                F.lit(rule.words).alias("rule"),
                shown.alias("value"),
                F.lit(rule.severity).alias("severity"),
            ),
        )


def is_broken(rule: RowRule, contract: Contract) -> Column:
    """True where a row breaks a rule about its own values; a null breaks `required` alone."""
    from pyspark.sql import functions as F

    value, false = F.col(rule.column), F.lit(False)
    match rule.kind:
        case "required":
            return value.isNull()
        case "range":
            return F.coalesce(_is_outside(value, rule, contract.column(rule.column).type), false)
        case "length":
            return F.coalesce(_is_outside(F.char_length(value), rule, "int"), false)
        case "set":
            return F.coalesce(~value.isin(*rule.argument), false)
        case "pattern":
            return F.coalesce(~value.rlike(portable(rule.argument)), false)
        case "expression":
            return ~F.coalesce(F.expr(rule.argument), F.lit(True))
        case "type" | "clock" | "reference" | "variant" | "duplicate":
            raise ValueError(f"rule {rule.name}: its kind {rule.kind} is not about a row's own values")
        case _:
            assert_never(rule.kind)


def count_broken(rule: RowRule, contract: Contract) -> Column:
    """The number of rows that break a rule about their own values."""
    from pyspark.sql import functions as F

    return F.count_if(is_broken(rule, contract))


def _is_outside(value: Column, rule: RowRule, sql_type: str) -> Column:
    from pyspark.sql import functions as F

    def literal(bound: object) -> Column:
        return F.lit(bound).cast(sql_type) if sql_type in ("date", "timestamp") else F.lit(bound)

    bounds = rule.argument
    # NaN is in no range, but a comparison with a lower bound alone would not exclude it.
    tests = [F.isnan(value)] if sql_type in ("double", "float") else []
    tests += [value < literal(bounds.minimum)] if bounds.minimum is not None else []
    tests += [value <= literal(bounds.above)] if bounds.above is not None else []
    tests += [value > literal(bounds.maximum)] if bounds.maximum is not None else []
    tests += [value >= literal(bounds.below)] if bounds.below is not None else []
    return _any(tests)


def is_unreadable(column: str, contract: Contract) -> Column:
    """True where a column's value, or the row as a whole, was rejected when it was read from text.

    No further rule is broken by such a value: its null is a consequence.
    """
    rules = [rule for rule in contract.row_rules if rule.kind in ("type", "clock") and rule.column == column]
    return _breaks_any([*(rule for rule in rules if rule.severity == "error"), MALFORMED_ROW], contract)


def is_rejected(contract: Contract) -> Column:
    """True where a row broke a rule of severity error."""
    return _breaks_any(_errors(contract), contract)


def _breaks_any(broken: Sequence[RowRule], contract: Contract) -> Column:
    """True where the `_broken` columns have the bit of any of these rules."""
    return _any([bits != 0 for bits in _bits_of(broken, contract)])


def _bits_of(broken: Sequence[RowRule], contract: Contract) -> list[Column]:
    """The `_broken` columns with the bits of these rules alone; those in which they have one."""
    from pyspark.sql import functions as F

    bit_of_rule, masks = bit_of(contract), dict.fromkeys(broken_columns(contract), 0)
    for rule in broken:
        name, bit = bit_of_rule[rule.name]
        masks[name] |= bit
    return [F.col(name).bitwiseAND(F.lit(mask).cast("bigint")) for name, mask in masks.items() if mask]


def _errors(contract: Contract) -> list[RowRule]:
    return [rule for rule in rules(contract) if rule.severity == "error"]


def key_is_complete(key: Sequence[str]) -> Column:
    """True where no column of the key is null."""
    from pyspark.sql import functions as F

    return reduce(lambda a, b: a & b, [F.col(quoted(name)).isNotNull() for name in key])


def key_values(rule: RowRule, contract: Contract, within: Sequence[str]) -> list[Column]:
    """The values by which two rows have one key, after those of the columns within whose values keys are compared."""
    from pyspark.sql import functions as F

    return [*map(F.col, within), *map(F.expr, keys.values(contract, rule.argument))]


def key_ranks(contract: Contract, rule: RowRule, known: Collection[str], within: Sequence[str]) -> dict[str, Column]:
    """Each row's rank among those with its key, from 1, and whether it spells the key as the first of them does.

    Rows without errors come first, then the contract's `winner` orders; `known` are the names of the rows' columns.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    errors = reduce(lambda a, b: a + b, map(F.bit_count, _bits_of(_errors(contract), contract)))
    order = [errors.asc(), *winner.order(contract, known)]
    window = Window.partitionBy(*key_values(rule, contract, within)).orderBy(*order)
    spelling = F.xxhash64(*map(quoted, rule.argument))
    return {RANK: F.row_number().over(window), SAME_SPELLING: spelling == F.first(spelling).over(window)}


def duplicate_tests(contract: Contract, rule: RowRule) -> list[RowTest]:
    """The tests that reject all rows of a key but the first: as duplicates, or as variants of its spelling.

    They read the columns of `key_ranks`.
    """
    from pyspark.sql import functions as F

    key = F.concat_ws("|", *[masking.shown(name, contract) for name in rule.argument])
    not_first = key_is_complete(rule.argument) & (F.col(RANK) > 1)
    variants = [other for other in contract.row_rules if other.kind == "variant" and other.argument == rule.argument]
    tests = [RowTest(rule, not_first & F.col(SAME_SPELLING) if variants else not_first, key)]
    return tests + [RowTest(variant, not_first & ~F.col(SAME_SPELLING), key) for variant in variants]


def rules(contract: Contract) -> list[RowRule]:
    """Every rule that a row can break: the contract's, and those of every table."""
    return [*contract.row_rules, MALFORMED_ROW, UNKNOWN_COLUMN, DISCARDED]


def broken_columns(contract: Contract) -> list[str]:
    """The names of the columns whose bits say which rules a row broke; the bits are in the order of `rules`."""
    return [f"{BROKEN}{number}" for number in range(-(-len(rules(contract)) // BITS))]


def bit_of(contract: Contract) -> Mapping[str, tuple[str, int]]:
    """Rule name to its `_broken` column, and its bit there as a number with that bit set."""
    names = broken_columns(contract)
    return {rule.name: (names[n // BITS], 1 << n % BITS) for n, rule in enumerate(rules(contract))}


def bits(tests: Sequence[RowTest], contract: Contract) -> dict[str, Column]:
    """The `_broken` columns of these tests alone."""
    from pyspark.sql import functions as F

    bit_of_rule = bit_of(contract)
    columns = {name: F.lit(0).cast("bigint") for name in broken_columns(contract)}
    for test in tests:
        name, bit = bit_of_rule[test.rule.name]
        columns[name] += F.when(test.broken, F.lit(bit).cast("bigint")).otherwise(F.lit(0).cast("bigint"))
    return columns


def reasons(tests: Sequence[RowTest]) -> Column:
    """The `_reasons` of these tests alone, an array of `REASON_TYPE`."""
    from pyspark.sql import functions as F

    array = F.array_compact(F.array(*[test.reason() for test in tests])) if tests else F.array()
    # Two such arrays can be concatenated only if the nullability of their elements is the same.
    return array.cast(REASON_TYPE)


def _any(conditions: Sequence[Column]) -> Column:
    return reduce(lambda a, b: a | b, conditions)
