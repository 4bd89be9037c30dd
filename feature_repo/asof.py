"""The as-of join: for each row of a spine, the last row of a feature table that was known by then.

It is the one place where point-in-time is decided. The spine and the feature rows are laid end to end in time, by
entity, and one window carries the last feature row forward; the engine sorts once for each feature table and never
multiplies rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_TIME, _ORDER = "_asof_time", "_asof_order"


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """One feature table to join.

    Attributes:
        rows: One row per entity and `timestamp`.
        keys: Spine column to the feature table's key column.
        timestamp: When a row became known, UTC.
        columns: Feature column to its name in the result.
        ttl: A row older than this, seen from the spine row, is not used; None keeps it for ever.
        known_at: Name of a result column for the used row's timestamp; None leaves it out.
    """

    rows: DataFrame
    keys: Mapping[str, str]
    timestamp: str
    columns: Mapping[str, str]
    ttl: timedelta | None = None
    known_at: str | None = None


def as_of_join(spine: DataFrame, tables: Sequence[FeatureRows], *, timestamp: str) -> DataFrame:
    """Adds the features of every table to each spine row, as they were known at its `timestamp`.

    A feature row counts if its timestamp is no later than the spine row's. Its values are taken as they are, nulls
    included: an older value does not shine through a newer null. A spine row without a match, or with a null key, gets
    nulls. Of several feature rows with one key and timestamp, which is used is not defined: their table's key forbids it.

    Args:
        spine: The rows to complete; none is dropped, none is doubled.
        tables: The feature tables.
        timestamp: The spine column that says up to when something may be known, UTC.
    """
    for table in tables:
        spine = _join(spine, table, timestamp)
    return spine


def _join(spine: DataFrame, table: FeatureRows, timestamp: str) -> DataFrame:
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    carried = [*table.columns, table.timestamp]
    hidden = {name: f"_asof_{position}" for position, name in enumerate(carried)}
    types = {field.name: field.dataType for field in table.rows.schema.fields}
    features = table.rows.select(
        *[F.col(theirs).alias(ours) for ours, theirs in table.keys.items()],
        F.col(table.timestamp).alias(_TIME),
        F.lit(0).alias(_ORDER),  # before the spine rows of the same instant
        *[F.col(name).alias(hidden[name]) for name in carried],
    )
    asked = spine.withColumns(
        {_TIME: F.col(timestamp), _ORDER: F.lit(1)} | {hidden[n]: F.lit(None).cast(types[n]) for n in carried}
    )
    past = Window.partitionBy(*table.keys).orderBy(_TIME, _ORDER).rowsBetween(Window.unboundedPreceding, 0)
    is_feature = F.col(_ORDER) == 0
    found: dict[str, Column] = {f"{hidden[table.timestamp]}_at": F.last(hidden[table.timestamp], True).over(past)}
    for name in table.columns:
        # `last` skips nulls, so whether the last feature row itself holds a null is carried beside its value.
        found[f"{hidden[name]}_value"] = F.last(hidden[name], True).over(past)
        found[f"{hidden[name]}_null"] = F.last(F.when(is_feature, F.col(hidden[name]).isNull()), True).over(past)
    joined = asked.unionByName(features, allowMissingColumns=True).withColumns(found).where(~is_feature)
    at = F.col(f"{hidden[table.timestamp]}_at")
    usable = at.isNotNull()
    for key in table.keys:
        usable = usable & F.col(key).isNotNull()
    if table.ttl is not None:
        oldest = F.unix_micros(timestamp) - F.lit(int(table.ttl.total_seconds() * 1_000_000))
        usable = usable & (F.unix_micros(at) >= oldest)
    results = {
        result: F.when(usable & ~F.col(f"{hidden[name]}_null"), F.col(f"{hidden[name]}_value"))
        for name, result in table.columns.items()
    }
    if table.known_at:
        results[table.known_at] = F.when(usable, at)
    return joined.select(*spine.columns, *[column.alias(name) for name, column in results.items()])
