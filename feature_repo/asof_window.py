"""The as-of join as a plan of windows, which any engine runs and spills to disk, and which column lineage reads.

The spine rows and the instants of the feature rows are put into one table; a window over each entity in the order of
time finds the last feature instant before each spine row; an equi-join adds that row's values. So the engine sorts once
per feature table, and the join multiplies no rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from feature_repo.feature_rows import FeatureRows

_TIME, _ORDER, _LAST, _AT, _CREATED = "_asof_time", "_asof_order", "_asof_last", "_asof_at", "_asof_created"


def window_join(spine: DataFrame, table: FeatureRows, timestamp: str) -> DataFrame:
    """Adds the features of one table to each spine row; see `feature_repo.asof.as_of_join`."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    features = _one_row_each(table)
    bitemporal = table.known_from == "creation"
    version = F.struct(_AT, _CREATED) if bitemporal else F.col(_AT)
    from_ = F.greatest(_AT, _CREATED) if bitemporal else F.col(_AT)
    empty = {f.name: F.lit(None).cast(f.dataType) for f in spine.schema.fields if f.name not in table.keys}
    instants = features.select(
        *[F.col(_key(ours)).alias(ours) for ours in table.keys], from_.alias(_TIME), version.alias(_LAST)
    )
    # Before spine rows of the same instant.
    instants = instants.withColumns(empty | {_ORDER: F.lit(0)})
    none = F.lit(None).cast(instants.schema[_LAST].dataType)
    rows = spine.withColumns({_TIME: F.col(timestamp), _ORDER: F.lit(1), _LAST: none})
    # The last version is the greatest of those before; `last(ignorenulls)` is quadratic on Sail.
    past = (
        Window.partitionBy(*(table.keys or [F.lit(0)])).orderBy(_TIME, _ORDER).rowsBetween(Window.unboundedPreceding, 0)
    )
    rows = rows.unionByName(instants).withColumn(_LAST, F.max(_LAST).over(past)).where(F.col(_ORDER) == 1)
    last = F.col(_LAST)[_AT] if bitemporal else F.col(_LAST)
    if table.ttl_microseconds is not None:
        # Not the struct is made null: Sail finds fields in a null struct.
        last = F.when(F.unix_micros(timestamp) - F.unix_micros(last) <= table.ttl_microseconds, last)
    same_row = last == F.col(_AT)
    if bitemporal:
        same_row = same_row & (F.col(_LAST)[_CREATED] == F.col(_CREATED))
    for key in table.keys:
        same_row = same_row & (F.col(key) == F.col(_key(key)))
    known_at = [F.col(_AT).alias(table.known_at)] if table.known_at else []
    return rows.join(features, same_row, "left").select(*spine.columns, *table.columns.values(), *known_at)


def _one_row_each(table: FeatureRows) -> DataFrame:
    """The feature rows that can count, one for each key, timestamp and, if the join is bitemporal, creation."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F
    from pyspark.sql.types import ArrayType, MapType, StructType

    created = [F.col(table.created).alias(_CREATED)] if table.created else []
    rows = table.rows.select(
        *[F.col(theirs).alias(_key(ours)) for ours, theirs in table.keys.items()],
        F.col(table.timestamp).alias(_AT),
        *created,
        *[F.col(name).alias(result) for name, result in table.columns.items()],
    )
    bitemporal = table.known_from == "creation"
    row = [*(_key(ours) for ours in table.keys), _AT, *([_CREATED] if bitemporal else [])]
    rows = rows.dropna(subset=row)
    nested = (ArrayType, MapType, StructType)
    by = [
        field.name for field in rows.schema.fields if field.name not in row and not isinstance(field.dataType, nested)
    ]
    newest = Window.partitionBy(*row).orderBy(*[F.col(name).desc_nulls_last() for name in by or row])
    return rows.withColumn(_ORDER, F.row_number().over(newest)).where(F.col(_ORDER) == 1).drop(_ORDER)


def _key(name: str) -> str:
    return f"_asof_key_{name}"
