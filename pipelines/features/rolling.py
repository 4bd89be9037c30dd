"""Rolling aggregates of what was known at an instant.

Events are summed by ticks of 30 minutes. A window covers a tick and the ticks before it: those of some hours, or all.
An event counts from the end of the tick in which it became known, so a value with timestamp t depends only on what was
known at t. There is a tick only where there is an event: between two ticks, the value of the earlier one still holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.tables import RECORD_ID

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, WindowSpec

TICK_SECONDS = 1_800
#: The column with a tick's end, seconds since the epoch.
TICK = "tick"


def ticks(events: DataFrame, *, keys: Sequence[str], known_at: str, sums: Mapping[str, Column]) -> DataFrame:
    """Sums of the events of each tick.

    Args:
        events: One row per event; rows whose `known_at` is null are left out.
        keys: The entity's columns.
        known_at: The column with the instant at which an event became known, UTC.
        sums: What to sum, by the name of the result column.

    Returns:
        One row per entity and tick: the keys, `tick` (its end, seconds since the epoch), the sums, and the record id of
        the tick's latest event.
    """
    from pyspark.sql import functions as F

    seconds = F.unix_timestamp(known_at)
    end = (F.ceil(seconds / F.lit(TICK_SECONDS)) * TICK_SECONDS).cast("bigint")
    summands = [column.alias(name) for name, column in sums.items()]
    known = events.where(F.col(known_at).isNotNull())
    known = known.select(*keys, end.alias(TICK), seconds.alias("_seconds"), RECORD_ID, *summands)
    totals = [F.sum(name).alias(name) for name in sums]
    latest_record = F.max_by(RECORD_ID, F.struct("_seconds", RECORD_ID))
    return known.groupBy(*keys, TICK).agg(*totals, latest_record.alias(RECORD_ID))


def last_hours(keys: Sequence[str], hours: int) -> WindowSpec:
    """The window over an entity's ticks of the last `hours` hours, with the current one."""
    from pyspark.sql import Window

    return Window.partitionBy(*keys).orderBy(TICK).rangeBetween(-(hours * 3_600 - 1), 0)


def all_so_far(keys: Sequence[str]) -> WindowSpec:
    """The window over all of an entity's ticks up to the current one."""
    from pyspark.sql import Window

    return Window.partitionBy(*keys).orderBy(TICK).rangeBetween(Window.unboundedPreceding, 0)


def mean(total: str, count: str, window: WindowSpec) -> Column:
    """The sum of column `total` divided by the sum of column `count` over a window; null where the count is zero."""
    from pyspark.sql import functions as F

    counted = F.sum(count).over(window)
    return F.when(counted > 0, F.sum(total).over(window).cast("double") / counted)


def clipped(column: str, low: int, high: int) -> Column:
    """The values of a column, raised to `low` or lowered to `high` where they are outside; null stays null."""
    from pyspark.sql import functions as F

    value = F.col(column)
    return F.when(value < low, low).when(value > high, high).otherwise(value)


def tick_end() -> Column:
    """The tick's end as a timestamp, UTC."""
    from pyspark.sql import functions as F

    return F.timestamp_seconds(TICK)
