"""Rows of bronze, whose columns are text, read as the types of a contract, with the rules that reading them broke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pipelines.contracts.model import Contract
from pipelines.engine.session import Kind
from pipelines.tables import BRONZE_COLUMNS, DECISION, MALFORMED, READ, REASONS, RECORD_ID, RESCUED, ROW
from pipelines.verdict import masking, row_rules, text_values
from pipelines.verdict.row_rules import DISCARDED, MALFORMED_ROW, UNKNOWN_COLUMN, RowTest

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Whether rows get their reasons in words, and are kept as they arrived, which makes a large plan.
Words = Literal["told", "left out"]


def typed(raw: DataFrame, contract: Contract, engine: Kind | None = None, *, words: Words = "told") -> DataFrame:
    """Reads rows of bronze, whose columns are text, as the contract's types.

    A null token becomes null. A text that its type cannot hold becomes null and a reason. A bronze column that the
    contract does not publish stays as text, for computed columns and rules.

    Args:
        raw: Rows of bronze, some perhaps corrected or discarded by a person.
        contract: Of the silver table.
        engine: The engine that computes the rows, if known: the result is the same, and takes less time.
        words: Whether the rows have `_reasons` and `_row`.

    Returns:
        The rows with the typed columns and their variants, the other bronze columns, the `_broken` columns, `_reasons`,
        and the row as it arrived as JSON in `_row`.
    """
    from pyspark.sql import functions as F

    def arrived_text(name: str, more_tokens: Sequence[str] = ()) -> Column:
        tokens = (*contract.null_tokens, *more_tokens)
        return F.when(~F.col(name).isin(*tokens), F.col(name)) if tokens else F.col(name)

    names = raw.columns  # a request to the engine, so only once
    arrived = [name for name in names if name not in (*BRONZE_COLUMNS, RESCUED, DECISION)]
    texts = {c.name: arrived_text(c.source, c.null_tokens) for c in contract.columns if c.source in arrived}
    # Named in a projection of their own, values are computed once, and the plan has the expression of each once.
    raw, readings = _named(raw, [text_values.read(text, contract.column(name), engine) for name, text in texts.items()])
    by_name = dict(zip(texts, readings, strict=True))
    tests = _reading_tests(contract, texts, by_name, decided=DECISION in names)
    values = {
        name: reading.value if reading.nonexistent is None else F.when(~reading.nonexistent, reading.value)
        for name, reading in by_name.items()
    }
    variants = {
        column.variant: F.when(values[column.name].isNull(), texts[column.name])
        if column.name in texts
        else F.lit(None).cast("string")
        for column in contract.columns
        if column.variant in contract.variant_columns
    }
    # Engines take names that differ by case alone for one; such a column stays in the row as it arrived.
    typed_names = {name.lower() for name in (*values, *variants)}
    as_it_arrived = F.to_json(F.struct(*[masking.shown(name, contract) for name in (*arrived, RESCUED)]))
    return raw.select(
        *[value.alias(name) for name, value in values.items()],
        *[variant.alias(name) for name, variant in variants.items()],
        *[arrived_text(name).alias(name) for name in arrived if name.lower() not in typed_names],
        *[F.col(name) for name in BRONZE_COLUMNS],
        *[bits.alias(name) for name, bits in row_rules.bits(tests, contract).items()],
        *([row_rules.reasons(tests).alias(REASONS), as_it_arrived.alias(ROW)] if words == "told" else ()),
    )


def _named(raw: DataFrame, readings: Sequence[text_values.Reading]) -> tuple[DataFrame, list[text_values.Reading]]:
    """The rows with the readings as further columns, and readings that refer to these columns."""
    from pyspark.sql import functions as F

    columns: dict[str, Column] = {}

    def named(column: Column) -> Column:
        columns[name := f"{READ}{len(columns)}"] = column
        return F.col(name)

    referring = [
        text_values.Reading(named(reading.value), None if reading.nonexistent is None else named(reading.nonexistent))
        for reading in readings
    ]
    return raw.select("*", *[column.alias(name) for name, column in columns.items()]), referring


def _reading_tests(
    contract: Contract, texts: Mapping[str, Column], readings: Mapping[str, text_values.Reading], *, decided: bool
) -> list[RowTest]:
    """The tests that a row fails while it is read: its line, its columns, a person's decision, its types.

    Args:
        contract: Of the silver table.
        texts: The arrived text of each column, by the name that the contract gives it.
        readings: These texts read as values.
        decided: Whether the rows have a decision.
    """
    from pyspark.sql import functions as F

    rescued = masking.shown(RESCUED, contract)
    is_malformed = F.col(RESCUED).contains(f'"{MALFORMED}"')
    tests = [RowTest(MALFORMED_ROW, is_malformed, rescued)]
    if contract.drift["columns"] == "discard_row":
        tests.append(RowTest(UNKNOWN_COLUMN, ~is_malformed, rescued))
    if decided:
        tests.append(RowTest(DISCARDED, F.col(DECISION) == "discard", F.col(RECORD_ID)))
    for rule in contract.row_rules:
        if rule.kind in ("type", "clock") and rule.column in texts:
            text, reading = texts[rule.column], readings[rule.column]
            broken = text.isNotNull() & reading.value.isNull() if rule.kind == "type" else reading.nonexistent
            if broken is not None:
                tests.append(RowTest(rule, broken, masking.masked(text, masking.kinds(contract))))
    return tests
