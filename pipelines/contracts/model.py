"""A table's contract: an Open Data Contract Standard (ODCS) v3 file, read into the values that the platform acts on.

Everything about a table is derived from its contract: how bronze is read, each row's verdict, the Great Expectations
suite, Dagster's owners, tags, column schema and freshness policy. `docs/contracts.md` shows every property and rule,
the standard's and the custom ones that extend it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import NotFoundError
from pipelines.tables import VARIANT_SUFFIX, TableId

Severity = Literal["error", "warning"]
Drift = Literal["evolve", "discard_value", "discard_row", "freeze"]
Format = Literal["csv", "jsonl", "parquet", "log", "document"]
#: What one delivery holds: all rows of the source as they are, or the rows that were added or changed since the last.
DeliveryContent = Literal["snapshot", "increment"]
ManifestUse = Literal["required", "optional"]
NonFinite = Literal["refused", "allowed"]
KeyMatch = Literal["normalized", "exact"]
#: Kinds of personal data that a column of silver can mask.
MaskKind = Literal["email"]
RuleKind = Literal[
    "required", "type", "clock", "range", "length", "set", "pattern", "expression", "reference", "variant", "duplicate"
]
TableRuleKind = Literal["aggregate", "query", "freshness", "distribution"]

#: The tags that every asset carries; `environment` is added from the profile.
COST_TAGS = ("cost_centre", "business_unit", "project", "application", "workload_class", "data_class")
#: What a proposed contract holds where a person has to decide; a contract that still holds it does not load.
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name in the table.
        type: Its SQL type on both engines; `string` for every column of bronze.
        description: What it means.
        source: The column that it is read from, in silver of bronze, in bronze of the delivered file; None if the
            transform computes it.
        key_position: Its position in the primary key, from 1; 0 outside the key.
        classification: How sensitive it is, in the standard's words; None: as its table's `data_class` says.
        declassified: Why it is less protected than what it is computed from; None if it is not.
        unit: Unit of measure.
        timezone: IANA name of the time zone of texts that are local clock time; None for UTC or texts with an offset.
        non_finite: Whether NaN and the infinities are values of a floating-point column.
        null_tokens: Texts that stand for null in this column, in addition to those of the table.
        mask: The kinds of personal data that are replaced in its values.
    """

    name: str
    type: str
    description: str
    source: str | None = None
    key_position: int = 0
    classification: str | None = None
    declassified: str | None = None
    unit: str | None = None
    timezone: str | None = None
    non_finite: NonFinite = "refused"
    null_tokens: tuple[str, ...] = ()
    mask: tuple[MaskKind, ...] = ()

    @property
    def delivered_name(self) -> str:
        """Its name in the files that are delivered, for a column of bronze."""
        return self.name if self.source is None else self.source

    @property
    def variant(self) -> str:
        """The name of the additional column that keeps a text which the type cannot hold (drift `evolve`)."""
        return self.name + VARIANT_SUFFIX


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a value, None where there is none: `minimum <= value <= maximum` and `above < value < below`.

    With `inside=False` the value has to lie outside of them.
    """

    minimum: Any = None
    maximum: Any = None
    above: Any = None
    below: Any = None
    inside: bool = True

    def hold(self, value: float) -> bool:
        """Whether the value keeps the limits."""
        within = not (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )
        return within is self.inside

    def __str__(self) -> str:
        limits = {">=": self.minimum, ">": self.above, "<=": self.maximum, "<": self.below}
        comparisons = " and ".join(f"{sign} {limit}" for sign, limit in limits.items() if limit is not None)
        return comparisons if self.inside else f"not {comparisons}"


@dataclass(frozen=True, slots=True)
class Distribution:
    """The shares of a column's values in bins, and the shares that they are compared with.

    Attributes:
        column: The column whose values are counted; nulls belong to no bin.
        bins: Categories, or inner edges in rising order: n edges make n + 1 bins, each without its upper edge.
        by: Which of the two `bins` holds.
        shares: The expected share of each bin, and for categories that of all other values at the end; None compares
            with the version that was published before.
    """

    column: str
    bins: tuple[Any, ...]
    by: Literal["categories", "edges"]
    shares: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class RowRule:
    """What must be true of each row. A row that breaks an `error` goes to quarantine; a `warning` is counted.

    Attributes:
        name: The reason code in quarantine.
        kind: What is tested.
        column: The column that the rule is about.
        severity: `error` or `warning`.
        argument: What the kind needs: the SQL type for a type, the time zone for a clock, `Bounds` for a range or a
            length, the allowed values for a set, the regular expression for a pattern, SQL text for an expression,
            (table, column) for a reference, the columns for a duplicate, and for a variant (a key that differs from
            another one by case or surrounding space alone).
        reason: Why the rule exists, for people.
    """

    name: str
    kind: RuleKind
    column: str
    severity: Severity
    argument: Any = None
    reason: str = ""

    @property
    def words(self) -> str:
        """Its kind and what it needs, as people read it: `set red, blue`, `reference silver/toys/shops.name`."""
        parts = self.argument if isinstance(self.argument, tuple) else (self.argument,)
        between = "." if self.kind == "reference" else ", "
        return f"{self.kind} {between.join(str(part) for part in parts if part is not None)}".strip()


@dataclass(frozen=True, slots=True)
class TableRule:
    """What must be true of a new version before it is published: a figure about its clean rows, compared with bounds.

    `expression` is a SQL aggregate, or for a query a complete SELECT over `{table}`. A freshness rule observes the
    seconds since the latest time; a distribution rule observes the population stability index (PSI) of `argument`.
    """

    name: str
    expression: str
    bounds: Bounds
    severity: Severity
    reason: str = ""
    kind: TableRuleKind = "aggregate"
    argument: Distribution | None = None


@dataclass(frozen=True, slots=True)
class SortColumn:
    """One column of an order of rows; nulls come last."""

    column: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Contract:
    """The contract of one table.

    Attributes:
        table: The table.
        path: The file.
        version: The contract's own version.
        purpose: What the table is for.
        grain: What one row is.
        owner: The owning team.
        columns: In the order of the file.
        row_rules: What must be true of each row.
        table_rules: What must be true of each new version.
        tags: The cost tags.
        freshness_seconds: Age of the newest data above which the table counts as late.
        retention_seconds: Age above which rows of bronze, silver and quarantine are deleted.
        drift: How the table reacts to unforeseen `tables`, `columns` and values of a `data_type`.
        null_tokens: Texts of bronze that stand for null.
        winner: Which row of a key stays: the first in this order.
        cluster: Columns that the table's files are ordered by.
        format: Format of the landed files.
        file_pattern: The names of deliveries, as fnmatch matches them; files of other names are left in landing.
        delimiter: Between the fields of a csv file.
        encoding: Text encoding of the landed files, by Python's name.
        line_pattern: Regular expression of a line of a log file, with a named group for each column.
        manifest: Whether a landed file waits for its manifest.
        settle_seconds: How long a landed file without a manifest has to be left unchanged before it is ingested.
        delivery: What one delivery holds.
        digest: SHA-256 of the file's bytes, in hexadecimal.
    """

    table: TableId
    path: Path
    version: str
    purpose: str
    grain: str
    owner: str
    columns: tuple[Column, ...]
    row_rules: tuple[RowRule, ...]
    table_rules: tuple[TableRule, ...]
    tags: Mapping[str, str]
    freshness_seconds: int
    retention_seconds: int
    drift: Mapping[str, Drift]
    null_tokens: tuple[str, ...] = ()
    winner: tuple[SortColumn, ...] = ()
    cluster: tuple[str, ...] = ()
    format: Format | None = None
    file_pattern: str = "*"
    delimiter: str = ","
    encoding: str = "utf-8"
    line_pattern: str | None = None
    manifest: ManifestUse = "optional"
    settle_seconds: int = 0
    delivery: DeliveryContent = "increment"
    digest: str = ""

    @property
    def reading(self) -> str:
        """The options by which landed files are read, as one text."""
        options = (self.format, self.delimiter, self.encoding, self.line_pattern)
        return f"reading {json.dumps(options)}"

    @property
    def key_columns(self) -> list[str]:
        """The columns of the primary key, in the key's order."""
        return key_columns(self.columns)

    @property
    def delivered(self) -> Contract:
        """The contract of bronze with the names that the columns have in the delivered files."""
        if all(column.delivered_name == column.name for column in self.columns):
            return self
        return replace(self, columns=tuple(replace(column, name=column.delivered_name) for column in self.columns))

    @property
    def variant_columns(self) -> list[str]:
        """The columns that keep texts which a type cannot hold: in silver with drift `data_type: evolve`, else none."""
        evolves = self.table.zone == "silver" and self.drift["data_type"] == "evolve"
        return [c.variant for c in self.columns if evolves and c.source and c.type != "string"]

    @property
    def published_columns(self) -> list[str]:
        """The table's columns: those of the contract, then their variants."""
        return [*(column.name for column in self.columns), *self.variant_columns]

    def data_class(self, name: str) -> str:
        """How protected a column is: its own `classification`, else the `data_class` of the table."""
        own = {column.name: column.classification for column in self.columns}
        return own.get(name) or self.tags["data_class"]

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            NotFoundError: if the contract has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise NotFoundError(
            object=f"column {name!r} of {self.table}",
            observed="the contract has no such column",
            expected=f"one of {', '.join(column.name for column in self.columns)}",
            next_step=f"correct the name, or add the column to {self.path.name}",
        )


def key_columns(columns: Iterable[Column]) -> list[str]:
    """The names of the columns that have a key position, in its order."""
    return [column.name for column in sorted(columns, key=lambda c: c.key_position) if column.key_position]
