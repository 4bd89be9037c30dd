"""A table's contract: an Open Data Contract Standard (ODCS v3) file, read into what the platform acts on.

Everything about a table is derived from its contract: how bronze is read, each row's verdict, the Great Expectations
suite, Dagster's owners, tags, column schema and freshness policy. `docs/contracts.md` shows every property and rule,
the standard's and the custom ones that extend it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import NotFoundError
from pipelines.tables import TableId

Severity = Literal["error", "warning"]
Drift = Literal["evolve", "discard_value", "discard_row", "freeze"]
Format = Literal["csv", "jsonl", "parquet", "log", "document"]
#: Whether each interval holds the whole table anew, or what came to it.
Delivery = Literal["snapshot", "increment"]
NonFinite = Literal["refused", "allowed"]
KeyMatch = Literal["normalized", "exact"]
RuleKind = Literal[
    "required", "type", "clock", "range", "length", "set", "pattern", "expression", "reference", "variant", "duplicate"
]
TableRuleKind = Literal["aggregate", "query", "freshness", "distribution"]

#: The tags that every asset carries; `environment` is added from the profile.
COST_TAGS = ("cost_centre", "business_unit", "project", "application", "workload_class", "data_class")
#: What a proposal writes where a person has to say something; no contract loads with it.
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its SQL type, meaning, unit, and the bronze column that it is read from; None for a computed one."""

    name: str
    type: str
    description: str
    source: str | None = None
    key_position: int = 0
    partition: bool = False
    classification: str = "public"
    unit: str | None = None
    timezone: str | None = None
    non_finite: NonFinite = "refused"

    @property
    def variant(self) -> str:
        """The column beside this one that keeps a text which the type cannot hold (drift `evolve`)."""
        return f"{self.name}__v_string"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a value has to keep: each limit is None where there is none; `inside=False` asks for a value out of them."""

    minimum: Any = None
    maximum: Any = None
    above: Any = None
    below: Any = None
    inside: bool = True

    def hold(self, value: float) -> bool:
        within = not (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )
        return within is self.inside

    def __str__(self) -> str:
        limits = {">=": self.minimum, ">": self.above, "<=": self.maximum, "<": self.below}
        words = " and ".join(f"{sign} {limit}" for sign, limit in limits.items() if limit is not None)
        return words if self.inside else f"not {words}"


@dataclass(frozen=True, slots=True)
class Distribution:
    """How a column's values are spread over bins, and how far from the expected shares they may move.

    Args:
        column: Whose values; nulls belong to no bin.
        bins: Categories, or inner edges in rising order: n edges make n + 1 bins, each without its upper edge.
        by: Which of the two `bins` are.
        shares: Expected share of each bin, and for categories of all others at the end; None compares with the
            version that was published before.
    """

    column: str
    bins: tuple[Any, ...]
    by: Literal["categories", "edges"]
    shares: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class RowRule:
    """What each row must hold. A row that breaks an `error` goes to quarantine; a `warning` is counted.

    `argument` is what the kind needs: `Bounds` for a range or a length, the allowed values for a set, the regular
    expression for a pattern, SQL text for an expression, (table, column) for a reference, the columns for a duplicate
    and for a variant (a key that differs from another by case or surrounding space), the time zone for a clock.
    """

    name: str
    kind: RuleKind
    column: str
    severity: Severity
    argument: Any = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TableRule:
    """What a new version must hold to be published: a figure about its clean rows, compared with bounds.

    `expression` is a SQL aggregate, or a whole SELECT over `{table}` for a query. Freshness observes seconds since the
    latest time; a distribution observes its population stability index (PSI), by what `argument` says.
    """

    name: str
    expression: str
    bounds: Bounds
    severity: Severity
    reason: str = ""
    kind: TableRuleKind = "aggregate"
    argument: Distribution | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """One table's contract; `grain` says what one row is."""

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
    winner: str | None = None
    cluster: tuple[str, ...] = ()
    format: Format | None = None
    delimiter: str = ","
    encoding: str = "utf-8"
    line_pattern: str | None = None
    manifest: Literal["required", "optional"] = "optional"
    settle_seconds: int = 0
    delivery: Delivery = "increment"
    digest: str = ""
    key_match: KeyMatch = "normalized"

    @property
    def key_columns(self) -> list[str]:
        return [column.name for column in sorted(self.columns, key=lambda c: c.key_position) if column.key_position]

    @property
    def variant_columns(self) -> list[str]:
        """The columns that keep, as text, what a type cannot hold: of silver under `data_type: evolve`, else none."""
        evolves = self.table.zone == "silver" and self.drift["data_type"] == "evolve"
        return [c.variant for c in self.columns if evolves and c.source and c.type != "string"]

    @property
    def published_columns(self) -> list[str]:
        """What the table has: the contract's columns, then their variants."""
        return [*(column.name for column in self.columns), *self.variant_columns]

    @property
    def partition_columns(self) -> list[str]:
        return [column.name for column in self.columns if column.partition]

    def column(self, name: str) -> Column:
        """The column of that name; raises NotFoundError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise NotFoundError(
            object=f"column {name!r} of {self.table}",
            observed="the contract has no such column",
            expected=f"one of {', '.join(column.name for column in self.columns)}",
            next_step=f"correct the name, or add the column to {self.path.name}",
        )
