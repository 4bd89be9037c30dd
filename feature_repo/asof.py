"""The as-of join: for each row of a spine, the last row of a feature table that was known at its instant.

This module alone decides what is known at an instant. It has two operators that give the same: an index of the feature
tables past which the spine streams, in the embedded engine, and a plan of windows for any engine, in `asof_window`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING

from feature_repo.asof_window import window_join
from feature_repo.feature_rows import FeatureRows
from pipelines.engine.arrow_rows import in_this_process, on_all_threads, rows_up_to
from pipelines.errors import DefinitionError
from pipelines.lineage.declared_plan import declared_as

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from feature_repo.asof_index import Index, Lookups

#: Up to this size the feature tables of a join are held in memory. Larger ones are joined by the plan of windows, which
#: spills to disk.
INDEX_BYTES = 1 << 30


def as_of_join(
    spine: DataFrame, tables: Sequence[FeatureRows], *, timestamp: str, index_bytes: int = INDEX_BYTES
) -> DataFrame:
    """Adds the features of every table to each spine row, as they were known at its `timestamp`.

    A feature row counts if its timestamp is not later than the spine row's. Its values are taken as they are: a null is
    not filled with an older value. A spine row without a match, or with a null key, gets nulls. All spine rows stay,
    each once, whatever the feature tables hold.

    In the embedded engine the feature tables are read by this call; the spine is read when the plan runs. Column
    lineage reads the plan of windows in any case.

    Args:
        spine: The rows to complete.
        tables: The feature tables.
        timestamp: The spine column with the instant up to which features may be known, UTC.
        index_bytes: The rows of the feature tables are held in memory up to so many bytes.

    Raises:
        DefinitionError: where a timestamp is none, or has no time zone.
    """
    _require_instant("spine", spine, timestamp)
    for table in tables:
        for name in (table.timestamp, *([table.created] if table.created else [])):
            _require_instant(f"feature table with {', '.join(table.columns) or 'no features'}", table.rows, name)

    def by_windows() -> DataFrame:
        return reduce(partial(window_join, timestamp=timestamp), tables, spine)

    indexed = _indexed_join(spine, tables, timestamp, index_bytes) if in_this_process(spine) else None
    return by_windows() if indexed is None else declared_as(by_windows, *indexed)


def _require_instant(what: str, rows: DataFrame, column: str) -> None:
    """Raises DefinitionError where a column is not of instants: a clock's time does not say when it was."""
    if (found := dict(rows.dtypes).get(column, "no such column")) != "timestamp":
        raise DefinitionError(
            object=f"{what}, column {column}",
            observed=found,
            expected="timestamp: instants, which do not depend on a time zone",
            next_step=f"F.to_utc_timestamp({column!r}, ZONE) makes instants of the times of a zone",
        )


def _indexed_join(
    spine: DataFrame, tables: Sequence[FeatureRows], timestamp: str, index_bytes: int
) -> tuple[DataFrame, Lookups] | None:
    """The join by indexes, and what has to live as long as its plan; None where only the plan of windows does it."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructField, StructType

    from feature_repo.asof_index import AT, HASH, Lookup, Lookups, complete, held

    hashed = [each for table in tables if (each := _hashes(spine, table)) is not None]
    indexes = _indexes(tables, hashed, index_bytes) if len(hashed) == len(tables) else None
    if indexes is None:
        return None
    columns, lookups, fields = {AT: F.unix_micros(timestamp)}, [], list(spine.schema.fields)
    for place, (table, by, index) in enumerate(zip(tables, hashed, indexes, strict=True)):
        name = f"{HASH}_{place}"
        columns[name] = F.when(_all_known(timestamp, *table.keys), by.of_spine)
        lookups.append(Lookup(index, name))
        values = table.rows.select(*_values(table)).schema.fields
        fields += [StructField(field.name, field.dataType) for field in values]
    completing = Lookups(spine.columns, lookups)
    asked = on_all_threads(spine.withColumns(columns))
    return asked.mapInArrow(partial(complete, held(completing)), StructType(fields)), completing


@dataclass(frozen=True, slots=True)
class _Hashes:
    """The hash of a key on both sides, and the columns that are compared besides it, as both sides cast them."""

    of_spine: Column
    of_rows: Column
    compared: Mapping[str, Column]


def _hashes(spine: DataFrame, table: FeatureRows) -> _Hashes | None:
    """How a key is hashed: one integer is its own hash. None where its two types are not compared by their bytes."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import BooleanType, DateType, IntegralType, StringType

    if not table.keys:
        return _Hashes(F.lit(0).cast("bigint"), F.lit(0).cast("bigint"), {})
    ours, theirs = {}, {}
    for our_name, their_name in table.keys.items():
        types = spine.schema[our_name].dataType, table.rows.schema[their_name].dataType
        if all(isinstance(type_, IntegralType) for type_ in types):
            ours[our_name], theirs[our_name] = F.col(our_name).cast("bigint"), F.col(their_name).cast("bigint")
        elif types[0] == types[1] and isinstance(types[0], BooleanType | DateType | StringType):
            ours[our_name], theirs[our_name] = F.col(our_name), F.col(their_name)
        else:
            return None
    if len(ours) == 1 and isinstance(spine.schema[next(iter(ours))].dataType, IntegralType):
        return _Hashes(*ours.values(), *theirs.values(), {})
    return _Hashes(F.xxhash64(*ours.values()), F.xxhash64(*theirs.values()), theirs)


def _indexes(tables: Sequence[FeatureRows], hashed: Sequence[_Hashes], room: float) -> list[Index] | None:
    """The indexes of tables; None if they have no room in memory, or two keys of one have one hash.

    While the engine reads a table, the index of the one before is made.
    """
    from feature_repo.asof_index import AT, CREATED, HASH, HashCollision, Index

    with ThreadPoolExecutor(thread_name_prefix="as-of index") as pool:
        made = []
        for table, by in zip(tables, hashed, strict=True):
            compared = {ours: f"_asof_key_{ours}" for ours in by.compared}
            rows = rows_up_to(_rows(table, by, compared), room)
            if rows is None:
                return None
            room -= rows.nbytes
            values = [name for name in rows.column_names if name not in (HASH, AT, CREATED, *compared.values())]
            by_creation, ttl = table.known_from == "creation", table.ttl_microseconds
            made.append(pool.submit(Index.of, rows, compared, values, by_creation=by_creation, ttl=ttl))
        try:
            return [each.result() for each in made]
        except HashCollision:
            return None


def _rows(table: FeatureRows, by: _Hashes, compared: Mapping[str, str]) -> DataFrame:
    """The rows of a table that may count, as `Index.of` takes them.

    Args:
        table: The feature table.
        by: How its key is hashed.
        compared: The names of the key columns that are compared besides the hash, by their names in the spine.
    """
    from pyspark.sql import functions as F

    from feature_repo.asof_index import AT, CREATED, HASH

    by_creation = [table.created] if table.created and table.known_from == "creation" else []
    return table.rows.where(_all_known(*table.keys.values(), table.timestamp, *by_creation)).select(
        by.of_rows.alias(HASH),
        F.unix_micros(table.timestamp).alias(AT),
        *([F.unix_micros(table.created).alias(CREATED)] if table.created else []),
        *[by.compared[ours].alias(name) for ours, name in compared.items()],
        *_values(table),
    )


def _values(table: FeatureRows) -> list[Column]:
    """The columns that a table adds to the spine."""
    from pyspark.sql import functions as F

    known_at = [F.col(table.timestamp).alias(table.known_at)] if table.known_at else []
    return [*[F.col(name).alias(result) for name, result in table.columns.items()], *known_at]


def _all_known(*names: str) -> Column:
    """Whether none of the columns is null."""
    from pyspark.sql import functions as F

    return reduce(operator.and_, [F.col(name).isNotNull() for name in names])
