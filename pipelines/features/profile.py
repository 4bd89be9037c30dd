"""The figures of a feature view by periods of time: what its rows held in the newest period, and in those before it.

A period is as long as the freshness that the view's contract promises, and the newest one ends with the newest row.
The engine counts in one pass over the rows of the periods; quantiles come from a sample that does not depend on the
order of rows, since a row is in it by the hash of its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.contracts.model import RowRule
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureView
from pipelines.features.windowed import declarations
from pipelines.tables import RECORD_ID
from pipelines.verdict import row_rules

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: How many periods are read: the newest, and those that it is compared with.
PERIODS = 15
#: About how many rows of all periods the quantiles are taken from.
SAMPLE = 50_000
#: The shares of values that lie below a period's quantiles.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: The kinds of row rules that look at a row's own values.
OWN_VALUES = ("required", "range", "length", "set", "pattern", "expression")
_PERIOD = "_known_period"
_FLOATING = ("float", "double")


@dataclass(frozen=True, slots=True)
class Figures:
    """One feature in one period.

    Attributes:
        rows: The rows of the view.
        missing: Those without a value; NaN is none.
        minimum: The least value; of a boolean 0 or 1; None for texts, and without values.
        maximum: The greatest value, likewise.
        distinct: About how many values there are (HyperLogLog); None for booleans and floating-point numbers.
        newest: The newest instant with a value, UTC.
        quantiles: Of the numbers, those of `QUANTILES`; empty for texts, and without values.
    """

    rows: int
    missing: int
    minimum: float | None
    maximum: float | None
    distinct: int | None
    newest: datetime | None
    quantiles: tuple[float, ...] = ()

    @property
    def missing_share(self) -> float:
        """The share of rows without a value; 0 without rows."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def skew(self) -> float | None:
        """Kelly's quantile skewness with 5 and 95 %, from -1 (a long tail below) to 1; None where both are equal."""
        if not self.quantiles or self.quantiles[0] == self.quantiles[-1]:
            return None
        low, middle, high = self.quantiles[0], self.quantiles[2], self.quantiles[-1]
        return (low + high - 2 * middle) / (high - low)


@dataclass(frozen=True, slots=True)
class ViewProfile:
    """The figures of a view's rows up to an instant.

    Attributes:
        view: The view.
        as_of: The instant, UTC.
        newest: That of its newest row, UTC; None without rows.
        newest_event: The instant of the newest row that is of an event, and not of one that leaves a window, UTC.
        ahead: The rows, and the last instant of those that are further ahead of the wall clock than `period`; None
            without such rows, and where a row of their record is known already.
        period: The length of a period.
        rows: The number of rows in each period, the newest first.
        features: The figures of each feature in each period that has rows: feature to number of the period, from 0.
        broken: For each row rule that rows of the periods break, the number of these rows.
    """

    view: FeatureView
    as_of: datetime
    newest: datetime | None
    newest_event: datetime | None
    ahead: tuple[int, datetime] | None
    period: timedelta
    rows: tuple[int, ...]
    features: Mapping[str, Mapping[int, Figures]]
    broken: Mapping[RowRule, int]

    @property
    def age(self) -> timedelta | None:
        """The age of the newest event."""
        return self.as_of - self.newest_event if self.newest_event else None


def profile(view: FeatureView, rows: DataFrame, as_of: datetime, now: datetime) -> ViewProfile:
    """The figures of a view's rows up to `as_of`, UTC.

    Args:
        view: The view.
        rows: All rows of its table.
        as_of: The instant.
        now: The wall clock, UTC.
    """
    from pyspark.sql import functions as F

    period = timedelta(seconds=view.contract.freshness_seconds)
    at, limit = F.col(EVENT_TIMESTAMP), now + period
    [(micros, any_ahead)] = rows.agg(
        F.unix_micros(F.max(F.when(at <= F.lit(as_of), at))), F.count(F.when(at > F.lit(limit), at))
    ).collect()
    ahead = _ahead(rows, limit) if any_ahead else None
    if micros is None:
        nothing: dict[str, dict[int, Figures]] = {name: {} for name in view.fields}
        return ViewProfile(view, as_of, None, None, ahead, period, (0,) * PERIODS, nothing, {})
    newest = _from_micros(micros)
    behind = F.lit(_micros(newest)) - F.unix_micros(EVENT_TIMESTAMP)
    first = newest - PERIODS * period
    recent = rows.where((F.col(EVENT_TIMESTAMP) > F.lit(first)) & (F.col(EVENT_TIMESTAMP) <= F.lit(newest)))
    recent = recent.withColumn(_PERIOD, F.floor(behind / F.lit(period // timedelta(microseconds=1))).cast("int"))
    rules = [rule for rule in view.contract.row_rules if rule.kind in OWN_VALUES]
    counts = {f"broken {place}": row_rules.count_broken(rule, view.contract) for place, rule in enumerate(rules)}
    aggregates = {name: column for field in view.fields for name, column in _aggregates(view, field).items()} | counts
    columns = [column.alias(name) for name, column in aggregates.items()]
    found = recent.groupBy(_PERIOD).agg(F.count(F.lit(1)).alias("rows"), *columns).collect()
    by_period = {row[_PERIOD]: row.asDict() for row in found}
    quantiles = _quantiles(view, recent, sum(row["rows"] for row in found))
    return ViewProfile(
        view,
        as_of,
        newest,
        _newest_event(view, rows, newest),
        ahead,
        period,
        tuple(by_period[n]["rows"] if n in by_period else 0 for n in range(PERIODS)),
        {
            field: {n: _figures(field, row, quantiles.get((field, n), ())) for n, row in sorted(by_period.items())}
            for field in view.fields
        },
        {
            rule: rows_broken
            for place, rule in enumerate(rules)
            if (rows_broken := sum(row[f"broken {place}"] for row in by_period.values()))
        },
    )


def _newest_event(view: FeatureView, rows: DataFrame, newest: datetime) -> datetime:
    """The instant of the newest event in a table up to its newest row.

    A row at which an event leaves a window has the record of the event, and so has the event's own row, which is the
    first of them. The event of the newest row lies at most the longest window before it.
    """
    from pyspark.sql import functions as F

    declared = declarations.get(view.table)
    if declared is None or not declared.leaving_seconds or RECORD_ID not in rows.columns:
        return newest
    first = newest - timedelta(seconds=2 * max(declared.leaving_seconds))
    recent = rows.where((F.col(EVENT_TIMESTAMP) >= F.lit(first)) & (F.col(EVENT_TIMESTAMP) <= F.lit(newest)))
    events = recent.groupBy(RECORD_ID).agg(F.min(EVENT_TIMESTAMP).alias(EVENT_TIMESTAMP))
    return _from_micros(events.agg(F.unix_micros(F.max(EVENT_TIMESTAMP))).collect()[0][0])


def _ahead(rows: DataFrame, limit: datetime) -> tuple[int, datetime] | None:
    """The rows after an instant whose record has no row up to there, and their last instant; None without any.

    A row at which an event leaves a window may lie ahead: its record has a row that is known already.
    """
    from pyspark.sql import functions as F

    is_ahead = F.col(EVENT_TIMESTAMP) > F.lit(limit)
    future = rows.where(is_ahead)
    if RECORD_ID in rows.columns:
        future = future.join(rows.where(~is_ahead).select(RECORD_ID), RECORD_ID, "left_anti")
    number, last = future.agg(F.count(F.lit(1)), F.unix_micros(F.max(EVENT_TIMESTAMP))).collect()[0]
    return (number, _from_micros(last)) if number else None


def number(name: str, type: str) -> Column:
    """A feature as a double, 0 or 1 for a boolean; null where it is missing, as NaN is."""
    from pyspark.sql import functions as F

    value = F.col(name).cast("int") if type == "boolean" else F.col(name)
    return F.when(~F.isnan(value), value.cast("double")) if type in _FLOATING else value.cast("double")


def sampled(rows: DataFrame, view_keys: tuple[str, ...], share_of: int, wanted: int) -> DataFrame:
    """About `wanted` of the `share_of` rows, the same in any order: those whose keys have certain hashes."""
    from pyspark.sql import functions as F

    if share_of <= wanted:
        return rows
    return rows.where(F.pmod(F.xxhash64(*view_keys), F.lit(-(-share_of // wanted))) == 0)


def _aggregates(view: FeatureView, field: str) -> dict[str, Column]:
    from pyspark.sql import functions as F

    type = view.contract.column(field).type
    value = F.col(field) if type == "string" else number(field, type)
    found = {
        f"{field} values": F.count(value),
        f"{field} newest": F.unix_micros(F.max(F.when(value.isNotNull(), F.col(EVENT_TIMESTAMP)))),
    }
    if type != "string":
        found |= {f"{field} minimum": F.min(value), f"{field} maximum": F.max(value)}
    if type in ("string", "int", "bigint"):
        found |= {f"{field} distinct": F.approx_count_distinct(F.col(field))}
    return found


def _figures(field: str, row: Mapping[str, Any], quantiles: tuple[float, ...]) -> Figures:
    newest = row[f"{field} newest"]
    return Figures(
        rows=row["rows"],
        missing=row["rows"] - row[f"{field} values"],
        minimum=row.get(f"{field} minimum"),
        maximum=row.get(f"{field} maximum"),
        distinct=row.get(f"{field} distinct"),
        newest=None if newest is None else _from_micros(newest),
        quantiles=quantiles,
    )


def _quantiles(view: FeatureView, recent: DataFrame, rows: int) -> dict[tuple[str, int], tuple[float, ...]]:
    """The quantiles of each number in each period, of sampled rows."""
    import numpy as np

    types = {field: view.contract.column(field).type for field in view.fields}
    numbers = [number(field, type).alias(field) for field, type in types.items() if type != "string"]
    if not numbers:
        return {}
    sample = sampled(recent, (*view.keys, EVENT_TIMESTAMP), rows, SAMPLE).select(_PERIOD, *numbers).toArrow()
    periods = sample[_PERIOD].to_numpy()
    found = {}
    for field in sample.column_names[1:]:
        values = sample[field].to_numpy()
        for period in np.unique(periods):
            own = values[(periods == period) & ~np.isnan(values)]
            if own.size:
                found[field, int(period)] = tuple(np.quantile(own, QUANTILES).tolist())
    return found


def _micros(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _from_micros(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
