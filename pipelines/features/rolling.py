"""Rolling aggregates of what was known: events fall into ticks of 30 minutes, windows look back from each tick's end.

An event counts from the end of the tick in which it became known, so a value with timestamp t holds nothing that was
not known at t. Only ticks with an event exist: between two of them the older value is still the newest known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.tables import RECORD_ID

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, WindowSpec

TICK_SECONDS = 1_800
TICK = "tick"


def ticks(events: DataFrame, *, keys: Sequence[str], known_at: str, sums: Mapping[str, Column]) -> DataFrame:
    """Sums of the events of each tick.

    Args:
        events: One row per event; rows whose `known_at` is null are left out.
        keys: The entity's columns.
        known_at: The column that says when an event became known, UTC.
        sums: What to sum, by the name of the result.

    Returns:
        One row per key and tick: `tick` (its end, seconds since the epoch), the sums, and the record id of the tick's
        latest event.
    """
    from pyspark.sql import functions as F

    seconds = F.unix_timestamp(known_at)
    end = (F.ceil(seconds / F.lit(TICK_SECONDS)) * TICK_SECONDS).cast("bigint")
    known = events.where(F.col(known_at).isNotNull())
    known = known.select(*keys, end.alias(TICK), seconds.alias("_seconds"), RECORD_ID, *_named(sums))
    totals = [F.sum(name).alias(name) for name in sums]
    return known.groupBy(*keys, TICK).agg(
        *totals, F.max_by(RECORD_ID, F.struct("_seconds", RECORD_ID)).alias(RECORD_ID)
    )


def back(keys: Sequence[str], hours: int) -> WindowSpec:
    """The ticks of the last `hours` hours, the current one included."""
    from pyspark.sql import Window

    return Window.partitionBy(*keys).orderBy(TICK).rangeBetween(-(hours * 3_600 - 1), 0)


def since_ever(keys: Sequence[str]) -> WindowSpec:
    """All ticks up to the current one."""
    from pyspark.sql import Window

    return Window.partitionBy(*keys).orderBy(TICK).rangeBetween(Window.unboundedPreceding, 0)


def mean(total: str, count: str, window: WindowSpec) -> Column:
    """Sum of `total` over sum of `count`; null where nothing is counted."""
    from pyspark.sql import functions as F

    counted = F.sum(count).over(window)
    return F.when(counted > 0, F.sum(total).over(window).cast("double") / counted)


def clipped(column: str, low: int, high: int) -> Column:
    """The value, no less than `low` and no more than `high`; null stays null."""
    from pyspark.sql import functions as F

    value = F.col(column)
    return F.when(value < low, low).when(value > high, high).otherwise(value)


def tick_end() -> Column:
    """The tick's end as a timestamp, UTC."""
    from pyspark.sql import functions as F

    return F.timestamp_seconds(TICK)


def _named(columns: Mapping[str, Column]) -> list[Column]:
    return [column.alias(name) for name, column in columns.items()]
