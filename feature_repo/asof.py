"""The as-of join: for each row of a spine, the last row of a feature table that was known by then.

It is the one place where point-in-time is decided. The spine and the instants of the feature rows are laid end to end
in time, by entity, and one window finds for each spine row the last instant; an equi-join then brings that row's
values. The engine sorts once for each feature table, and no row is multiplied and filtered later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_TIME, _ORDER, _FOUND, _MATCH = "_asof_time", "_asof_order", "_asof_found", "_asof_match"


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
    nulls. A feature table has one row per key and timestamp, as its contract's key says; a second would double rows.

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

    empty = {f.name: F.lit(None).cast(f.dataType) for f in spine.schema.fields if f.name not in table.keys}
    instants = table.rows.select(*[F.col(theirs).alias(ours) for ours, theirs in table.keys.items()], table.timestamp)
    instants = instants.withColumnRenamed(table.timestamp, _TIME).withColumns(empty)
    instants = instants.withColumns({_ORDER: F.lit(0), _FOUND: F.col(_TIME)})  # before spine rows of the same instant
    asked = spine.withColumns({_TIME: F.col(timestamp), _ORDER: F.lit(1), _FOUND: F.lit(None).cast("timestamp")})
    # Time only grows along the window, so its maximum is the last one; `last(ignorenulls)` is quadratic on Sail.
    past = Window.partitionBy(*table.keys).orderBy(_TIME, _ORDER).rowsBetween(Window.unboundedPreceding, 0)
    found = asked.unionByName(instants).withColumn(_FOUND, F.max(_FOUND).over(past)).where(F.col(_ORDER) == 1)
    if table.ttl is not None:
        age = F.unix_micros(timestamp) - F.unix_micros(_FOUND)
        found = found.withColumn(_FOUND, F.when(age <= int(table.ttl.total_seconds() * 1_000_000), F.col(_FOUND)))
    features = table.rows.select(
        *[F.col(theirs).alias(f"_asof_{ours}") for ours, theirs in table.keys.items()],
        F.col(table.timestamp).alias(_MATCH),
        *[F.col(name).alias(result) for name, result in table.columns.items()],
    )
    same = F.col(_FOUND) == F.col(_MATCH)
    for key in table.keys:
        same = same & (F.col(key) == F.col(f"_asof_{key}"))
    joined = found.join(features, same, "left")
    known_at = [F.col(_MATCH).alias(table.known_at)] if table.known_at else []
    return joined.select(*spine.columns, *table.columns.values(), *known_at)
