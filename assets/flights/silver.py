"""Silver: typed, deduplicated, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.flights.tables import contract
from pipelines.table_assets import silver_asset

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@silver_asset(contract("silver/airlines"))
def airlines(airlines: DataFrame) -> DataFrame:
    """The carriers that fly from New York."""
    return airlines
