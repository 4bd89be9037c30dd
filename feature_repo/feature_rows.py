"""A feature table as the as-of join reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """One feature table to join.

    Attributes:
        rows: The rows. Of several with one key and timestamp, the one with the latest `created` counts; of several that
            are equal in that too, the greatest by `columns` in their order, where null is the smallest.
        keys: Spine column to the feature table's key column; none where all spine rows are asked about one entity.
        timestamp: The instant that a row is about, UTC.
        columns: Feature column to its name in the result.
        ttl: A row that is older than this at the spine row's instant is not used; None sets no limit.
        known_at: Name of a result column for the used row's timestamp; None leaves it out.
        created: When a row was written, UTC; None if no column says it.
        known_from: From when a row counts: from its timestamp, or, bitemporal, from the later of that and `created`.
    """

    rows: DataFrame
    keys: Mapping[str, str]
    timestamp: str
    columns: Mapping[str, str]
    ttl: timedelta | None = None
    known_at: str | None = None
    created: str | None = None
    known_from: Literal["timestamp", "creation"] = "timestamp"

    @property
    def ttl_microseconds(self) -> int | None:
        """The ttl in microseconds."""
        return None if self.ttl is None else self.ttl // timedelta(microseconds=1)
