"""The table of windowed features, computed by the engine in one pass over the events of each entity.

Sums of floating-point numbers are never subtracted from: an engine that moves a window by subtracting what leaves keeps
the rounding errors, infinities and NaN of events long gone. A window is the end of one block of its length and the
beginning of the next (van Herk, Gil and Werman), and both are sums that only grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.features.aggregates import INTEGERS, Aggregate
from pipelines.features.declaration import EVENT_TIMESTAMP
from pipelines.features.windowed import Windowed
from pipelines.tables import RECORD_ID

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: From when an event counts, seconds since 1970; its own instant, microseconds; 1 for an event, null for a leaving.
COUNTS, INSTANT, EVENT = "_known_counts", "_known_instant", "_known_event"
MICROS = 1_000_000


def windowed_rows(declared: Windowed, events: DataFrame) -> DataFrame:
    """The table's rows: the keys, `event_timestamp`, the features, and the record id of the row's latest event.

    A row at which events leave a window has the record id of the latest one that leaves.

    Args:
        declared: The features.
        events: One row per event, with the record id; those without key or instant are left out.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    keys, identity = list(declared.keys), [f"_known_id_{name}" for name in declared.events.key_columns]
    steps = _steps(declared, events)
    order = [COUNTS, INSTANT, *identity, RECORD_ID]
    for aggregate in dict.fromkeys(declared.features.values()):
        if aggregate.events:
            past = Window.partitionBy(*keys).orderBy(*order).rowsBetween(Window.unboundedPreceding, 0)
            steps = steps.withColumn(_position(aggregate), F.count(_value(aggregate)).over(past))
    results = {}
    for name, aggregate in declared.features.items():
        steps, results[name] = _feature(declared, steps, name, aggregate)
    newest = Window.partitionBy(*keys, COUNTS).orderBy(*[F.desc(name) for name in order[1:]])
    steps = steps.withColumns({**results, "_known_newest": F.row_number().over(newest)})
    return steps.where("_known_newest = 1").select(
        *keys, F.timestamp_seconds(COUNTS).alias(EVENT_TIMESTAMP), *declared.features, RECORD_ID
    )


def _steps(declared: Windowed, events: DataFrame) -> DataFrame:
    """The events, and a row without values for each tick at which events leave a window."""
    from pyspark.sql import functions as F

    tick = declared.tick_seconds * MICROS
    types = {column.name: column.type for column in declared.events.columns}
    casts = {name: "decimal(20,0)" if types[name] in INTEGERS else "double" for name in declared.columns}
    summed = {a.column for a in declared.features.values() if a.kind in ("total", "mean")}
    numbers = [
        F.col(name).cast("int" if types[name] == "boolean" else types[name]).cast(casts[name]).alias(_summed(name))
        for name in declared.columns
        if name in summed
    ]
    known = events.select(
        *declared.keys,
        F.unix_micros(F.col(declared.at).cast("timestamp")).alias(INSTANT),
        *[F.col(name).alias(f"_known_id_{name}") for name in declared.events.key_columns],
        *[F.col(name).alias(f"_known_value_{name}") for name in declared.columns],
        *numbers,
        RECORD_ID,
    ).dropna(subset=[*declared.keys, INSTANT])
    past_tick = F.pmod(F.col(INSTANT), F.lit(tick))
    next_tick = F.col(INSTANT) - past_tick + tick
    if declared.counts == "at_once":
        next_tick = F.when(past_tick == 0, F.col(INSTANT)).otherwise(next_tick)
    known = known.withColumns({COUNTS: (next_tick / MICROS).cast("bigint"), EVENT: F.lit(1)})
    latest = F.max_by(RECORD_ID, F.struct(INSTANT, *[f"_known_id_{n}" for n in declared.events.key_columns], RECORD_ID))
    by_tick = known.groupBy(*declared.keys, COUNTS).agg(latest.alias(RECORD_ID))
    steps = known
    for seconds in declared.leaving_seconds:
        leaving = by_tick.select(*declared.keys, (F.col(COUNTS) + seconds).alias(COUNTS), RECORD_ID)
        steps = steps.unionByName(leaving, allowMissingColumns=True)
    return steps


def _feature(declared: Windowed, steps: DataFrame, name: str, aggregate: Aggregate) -> tuple[DataFrame, Column]:
    """One feature at each step, and the steps with what it needs."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    order = _position(aggregate) if aggregate.events else COUNTS
    length = aggregate.events or aggregate.seconds
    entity = Window.partitionBy(*declared.keys).orderBy(order)
    window = entity.rangeBetween(Window.unboundedPreceding if length is None else 1 - length, 0)
    if aggregate.kind == "last":
        there = entity.rangeBetween(1 - aggregate.place, 1 - aggregate.place)
        value = F.max(_value(aggregate)).over(there)
        if aggregate.seconds:
            since = F.max(F.when(_value(aggregate).isNotNull(), F.col(COUNTS))).over(there)
            value = F.when(since > F.col(COUNTS) - aggregate.seconds, value)
        return steps, value
    events = F.count(_value(aggregate)).over(window)
    if aggregate.kind == "count":
        return steps, events
    number = F.col(_summed(str(aggregate.column)))
    if length is None or declared.events.column(str(aggregate.column)).type in INTEGERS:
        added = F.sum(number).over(window)
    else:
        block, ending = f"_known_block_{name}", f"_known_ending_{name}"
        steps = steps.withColumn(block, F.col(order) - F.pmod(F.col(order), F.lit(length)))
        of_block = Window.partitionBy(*declared.keys, block)
        steps = steps.withColumn(ending, F.sum(number).over(of_block.orderBy(F.desc(order))))
        beginning = F.coalesce(F.sum(number).over(of_block.orderBy(order)), F.lit(0.0))
        before = F.when(F.first(block).over(window) < F.col(block), F.first(ending).over(window))
        added = beginning + F.coalesce(before, F.lit(0.0))
    if aggregate.kind == "mean":
        return steps, F.when(events > 0, added.cast("double") / events)
    kind = declared.table.column(name).type
    return steps, F.when(events > 0, added).otherwise(0).cast(kind)


def _value(aggregate: Aggregate) -> Column:
    from pyspark.sql import functions as F

    return F.col(EVENT if aggregate.column is None else f"_known_value_{aggregate.column}")


def _summed(column: str) -> str:
    """The column with the events' values as they are added."""
    return f"_known_sum_{column}"


def _position(aggregate: Aggregate) -> str:
    """The column with the number of the entity's events so far in which the aggregate's column is not null."""
    return f"_known_position_{aggregate.column or ''}"
