"""Bronze tables: the rows of each source as they arrived."""

from __future__ import annotations

from assets.flights.domain import DAILY, contract
from pipelines.medallion.decorators import bronze_asset

flights = bronze_asset(contract("bronze/flights"), partitions=DAILY)
planes = bronze_asset(contract("bronze/planes"))
airports = bronze_asset(contract("bronze/airports"))
airlines = bronze_asset(contract("bronze/airlines"))
