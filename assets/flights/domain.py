"""The flights domain: who answers and pays for it, its contracts, and the local days by which its sources deliver."""

from __future__ import annotations

import dagster as dg

from pipelines.contracts.domain import CostTags, Domain

DAILY = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2014-01-01")
flights = Domain.at(
    __file__,
    owner="flight-data",
    cost=CostTags("cc-1200", "operations", "on-time-performance", "arrival-delay", data_class="public"),
    partitions=DAILY,
    timezone="America/New_York",
)
contract = flights.contract
