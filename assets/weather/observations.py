"""The observations: as they arrived, and typed, deduplicated and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.weather.domain import DAILY, contract
from pipelines.medallion.decorators import bronze_asset, silver_asset

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

bronze_observations = bronze_asset(contract("bronze/observations"), partitions=DAILY)


@silver_asset(contract("silver/observations"), partitions=DAILY)
def silver_observations(observations: DataFrame) -> DataFrame:
    """The weather at the three New York airports, hour by hour."""
    return observations
