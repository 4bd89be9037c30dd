"""Row rules as columns: true where a row breaks the rule, as bits for every row and as words for the rejected ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pipelines.contracts.model import Contract, RowRule
from pipelines.contracts.patterns import portable
from pipelines.tables import DECISION, RECORD_ID, RESCUED
from pipelines.verdict import winner
from pipelines.verdict.text_values import SPACE

if TYPE_CHECKING:
    from pyspark.sql import Column

REASONS = "_reasons"
ERRORS = "_errors"
BROKEN = "_broken"
PLACE = "_place"
SPELLING = "_spelling"
REASON_TYPE = "array<struct<code:string,column:string,rule:string,value:string,severity:string>>"
#: Bits of one `_broken` column; a contract with more rules has several.
BITS = 62

MALFORMED_ROW = RowRule("malformed_row", "type", RESCUED, "error")
UNKNOWN_COLUMN = RowRule("unknown_column", "type", RESCUED, "error")
DISCARDED = RowRule("discarded", "expression", RECORD_ID, "error", f"{DECISION} <> 'discarded'")


@dataclass(frozen=True, slots=True)
class RowTest:
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


def broken(rule: RowRule, contract: Contract) -> Column:
    """True where a row breaks a rule about its own values; a null breaks `required` alone."""
    from pyspark.sql import functions as F

    value, never = F.col(rule.column), F.lit(False)
    match rule.kind:
        case "required":
            return value.isNull()
        case "range":
            return F.coalesce(_outside(value, rule, contract.column(rule.column).type), never)
        case "length":
            return F.coalesce(_outside(F.char_length(value), rule, "int"), never)
        case "set":
            return F.coalesce(~value.isin(*rule.argument), never)
        case "pattern":
            return F.coalesce(~value.rlike(portable(rule.argument)), never)
        case _:
            return ~F.coalesce(F.expr(rule.argument), F.lit(True))


def unreadable(column: str, contract: Contract) -> Column:
    """True where a value was rejected when it was read, or the whole row was: nothing else is said about it."""
    from pyspark.sql import functions as F

    reading = [rule for rule in contract.row_rules if rule.kind in ("type", "clock") and rule.column == column]
    at = bit_of(contract)
    masks = dict.fromkeys(broken_columns(contract), 0)
    for rule in (*[rule for rule in reading if rule.severity == "error"], MALFORMED_ROW):
        name, bit = at[rule.name]
        masks[name] |= bit
    found = [F.col(name).bitwiseAND(F.lit(mask).cast("bigint")) != 0 for name, mask in masks.items() if mask]
    return reduce(lambda a, b: a | b, found)


def count_broken(rule: RowRule, contract: Contract) -> Column:
    """How many rows break a rule about their own values."""
    from pyspark.sql import functions as F

    return F.count_if(broken(rule, contract))


def _outside(value: Column, rule: RowRule, type: str) -> Column:
    from pyspark.sql import functions as F

    def limit(bound: object) -> Column:
        return F.lit(bound).cast(type) if type in ("date", "timestamp") else F.lit(bound)

    bounds = rule.argument
    tests = [F.isnan(value)] if type in ("double", "float") else []  # neither below a bound nor, on its own, above one
    tests += [value < limit(bounds.minimum)] if bounds.minimum is not None else []
    tests += [value <= limit(bounds.above)] if bounds.above is not None else []
    tests += [value > limit(bounds.maximum)] if bounds.maximum is not None else []
    tests += [value >= limit(bounds.below)] if bounds.below is not None else []
    return reduce(lambda a, b: a | b, tests)


def whole(key: Sequence[str]) -> Column:
    """True where no part of the key is null."""
    from pyspark.sql import functions as F

    return reduce(lambda a, b: a & b, [F.col(name).isNotNull() for name in key])


def spellings_apart(rule: RowRule, contract: Contract) -> list[Column]:
    """The columns by which rows have one key: the rule's own, or without case and surrounding space."""
    from pyspark.sql import functions as F

    normalized = any(other.kind == "variant" and other.argument == rule.argument for other in contract.row_rules)
    return [
        F.lower(F.trim(F.col(name), F.lit(SPACE)))
        if normalized and contract.column(name).type == "string"
        else F.col(name)
        for name in rule.argument
    ]


def places(contract: Contract, rule: RowRule, known: Collection[str]) -> dict[str, Column]:
    """A row's place among those with its key, and whether it spells the key as the first of them does.

    Rows without errors come first, then as the contract's `winner` orders.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    order = [F.col(ERRORS).asc(), *winner.order(contract, known)]
    window = Window.partitionBy(*spellings_apart(rule, contract)).orderBy(*order)
    spelling = F.xxhash64(*rule.argument)
    return {PLACE: F.row_number().over(window), SPELLING: spelling == F.first(spelling).over(window)}


def losers(contract: Contract, rule: RowRule) -> list[RowTest]:
    """Who loses against the first row with its key: as a duplicate of it, or as a variant of its spelling."""
    from pyspark.sql import functions as F

    key = F.concat_ws("|", *[F.col(name).cast("string") for name in rule.argument])
    lost = whole(rule.argument) & (F.col(PLACE) > 1)
    variants = [other for other in contract.row_rules if other.kind == "variant" and other.argument == rule.argument]
    tests = [RowTest(rule, lost & F.col(SPELLING) if variants else lost, key)]
    return tests + [RowTest(variant, lost & ~F.col(SPELLING), key) for variant in variants]


def rules(contract: Contract) -> list[RowRule]:
    """Every rule that a row can break."""
    return [*contract.row_rules, MALFORMED_ROW, UNKNOWN_COLUMN, DISCARDED]


def broken_columns(contract: Contract) -> list[str]:
    """The columns whose bits say which rules a row broke, in the order of `rules`."""
    return [f"{BROKEN}{number}" for number in range(-(-len(rules(contract)) // BITS))]


def bit_of(contract: Contract) -> dict[str, tuple[str, int]]:
    """Rule name to its `_broken` column, and its bit there."""
    names = broken_columns(contract)
    return {rule.name: (names[n // BITS], 1 << n % BITS) for n, rule in enumerate(rules(contract))}


def bits(tests: Sequence[RowTest], contract: Contract) -> dict[str, Column]:
    """The `_broken` columns of these tests alone."""
    from pyspark.sql import functions as F

    at, found = bit_of(contract), {name: F.lit(0).cast("bigint") for name in broken_columns(contract)}
    for test in tests:
        name, bit = at[test.rule.name]
        found[name] = found[name] + F.when(test.broken, F.lit(bit).cast("bigint")).otherwise(F.lit(0).cast("bigint"))
    return found


def reasons(tests: Sequence[RowTest]) -> Column:
    from pyspark.sql import functions as F

    found = F.array_compact(F.array(*[test.reason() for test in tests])) if tests else F.array()
    return found.cast(REASON_TYPE)  # one nullability, or two such arrays do not concatenate


def errors(tests: Sequence[RowTest]) -> Column:
    """How many of the tests that reject a row it fails."""
    from pyspark.sql import functions as F

    counted = [F.when(test.broken, 1).otherwise(0) for test in tests if test.rule.severity == "error"]
    return reduce(lambda a, b: a + b, counted, F.lit(0))


def rejected(contract: Contract) -> Column:
    """True where a row broke a rule of severity error."""
    from pyspark.sql import functions as F

    at, fatal = bit_of(contract), dict.fromkeys(broken_columns(contract), 0)
    for rule in rules(contract):
        name, bit = at[rule.name]
        fatal[name] |= bit if rule.severity == "error" else 0
    found = [F.col(name).bitwiseAND(F.lit(mask).cast("bigint")) != 0 for name, mask in fatal.items() if mask]
    return reduce(lambda a, b: a | b, found)
