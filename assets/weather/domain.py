"""The weather domain: who answers and pays for it, its contracts, and the local days by which its source delivers."""

from __future__ import annotations

import dagster as dg

from pipelines.contracts.domain import CostTags, Domain

DAILY = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2014-01-01")
weather = Domain.at(
    __file__,
    owner="weather-data",
    cost=CostTags("cc-1300", "observations", "station-weather", "temperature", data_class="public"),
    partitions=DAILY,
    timezone="America/New_York",
)
contract = weather.contract
