"""The last row of each entity of a feature table between two instants, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureView

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

#: The bytes of a batch: SQLite writes few large batches faster than many small ones, as it keeps keys in their order.
TOGETHER = 32 * 2**20


def latest_rows(
    view: FeatureView, rows: DataFrame, since: datetime, as_of: datetime, part: tuple[int, int] = (0, 1)
) -> DataFrame:
    """The last row of each entity from `since` to `as_of`, both included, UTC: keys, features, `event_timestamp`.

    The engine holds the entities and their last instants in memory, not their features: those pass through the join.

    Args:
        view: The view.
        rows: Its table.
        since: The first instant.
        as_of: The last instant.
        part: A number, and how many parts there are: only entities whose keys' hash falls to that part.
    """
    from pyspark.sql import functions as F

    at = F.col(EVENT_TIMESTAMP)
    known = rows.where((at >= F.lit(since)) & (at <= F.lit(as_of))).select(*view.keys, *view.fields, EVENT_TIMESTAMP)
    number, count = part
    if count > 1:
        known = known.where(F.pmod(F.xxhash64(*view.keys), F.lit(count)) == number)
    last = known.groupBy(*view.keys).agg(F.max(EVENT_TIMESTAMP).alias(EVENT_TIMESTAMP))
    return last.join(known, [*view.keys, EVENT_TIMESTAMP]).select(*known.columns)


def batches(frame: DataFrame) -> Iterator[pa.RecordBatch]:
    """The rows of a plan as the engine sends them, some together, without the whole result in memory."""
    import pyarrow as pa

    plan: Any = frame
    client = plan.sparkSession.client
    held: list[pa.RecordBatch] = []
    # PySpark's own `toLocalIterator` is the same, with each row made into Python objects.
    for answer in client.to_table_as_iterator(plan._plan.to_proto(client), {}):
        if isinstance(answer, pa.Table):
            held += answer.to_batches()
            if sum(batch.nbytes for batch in held) >= TOGETHER:
                yield pa.concat_batches(held)
                held = []
    if held:
        yield pa.concat_batches(held)
