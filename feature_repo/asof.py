"""The as-of join: for each row of a spine, the last row of a feature table that was known at its instant.

This module alone decides what is known at an instant. The spine rows and the instants of the feature rows are put into
one table; a window over each entity in the order of time finds the last feature instant before each spine row; an
equi-join adds that row's values. So the engine sorts once per feature table, and the join multiplies no rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_TIME, _ORDER, _LAST, _KNOWN_AT = "_asof_time", "_asof_order", "_asof_last", "_asof_known_at"


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """One feature table to join.

    Attributes:
        rows: One row per entity and `timestamp`.
        keys: Spine column to the feature table's key column.
        timestamp: When a row became known, UTC.
        columns: Feature column to its name in the result.
        ttl: A row that is older than this at the spine row's instant is not used; None sets no limit.
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

    A feature row counts if its timestamp is not later than the spine row's. Its values are taken as they are: a null is
    not filled with an older value. A spine row without a match, or with a null key, gets nulls. A feature table must
    have one row per key and timestamp, as its contract's key says; a second one would double spine rows.

    Args:
        spine: The rows to complete; all stay, each once.
        tables: The feature tables.
        timestamp: The spine column with the instant up to which features may be known, UTC.
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
    instants = instants.withColumns({_ORDER: F.lit(0), _LAST: F.col(_TIME)})  # before spine rows of the same instant
    rows = spine.withColumns({_TIME: F.col(timestamp), _ORDER: F.lit(1), _LAST: F.lit(None).cast("timestamp")})
    # Time only grows along the window, so its maximum is the last one; `last(ignorenulls)` is quadratic on Sail.
    past = Window.partitionBy(*table.keys).orderBy(_TIME, _ORDER).rowsBetween(Window.unboundedPreceding, 0)
    rows = rows.unionByName(instants).withColumn(_LAST, F.max(_LAST).over(past)).where(F.col(_ORDER) == 1)
    if table.ttl is not None:
        age = F.unix_micros(timestamp) - F.unix_micros(_LAST)
        rows = rows.withColumn(_LAST, F.when(age <= int(table.ttl.total_seconds() * 1_000_000), F.col(_LAST)))
    features = table.rows.select(
        *[F.col(theirs).alias(f"_asof_{ours}") for ours, theirs in table.keys.items()],
        F.col(table.timestamp).alias(_KNOWN_AT),
        *[F.col(name).alias(result) for name, result in table.columns.items()],
    )
    same_row = F.col(_LAST) == F.col(_KNOWN_AT)
    for key in table.keys:
        same_row = same_row & (F.col(key) == F.col(f"_asof_{key}"))
    known_at = [F.col(_KNOWN_AT).alias(table.known_at)] if table.known_at else []
    return rows.join(features, same_row, "left").select(*spine.columns, *table.columns.values(), *known_at)
