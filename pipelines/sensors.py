"""The sensor that notices new deliveries. It is off until somebody switches it on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from pipelines.jobs import reference, refresh
from pipelines.landing import Delivery
from pipelines.resources import Platform
from pipelines.tables import TableId

SECONDS_BETWEEN_LOOKS = 30


def fresh_deliveries(platform: Platform) -> dict[TableId, list[Delivery]]:
    """What has landed and no batch has named yet, by bronze table. Reads file names and the ledger, no table."""
    found = {}
    for table in platform.contracts:
        if table.zone == "bronze":
            batches = platform.ledger(table).batches()
            known = {d.uri for batch in batches for d in batch.deliveries} | {u for b in batches for u in b.duplicates}
            landed = platform.landing.deliveries(table.domain, table.table)
            if fresh := [delivery for delivery in landed if delivery.uri not in known]:
                found[table] = fresh
    return found


def requests(platform: Platform, daily: set[TableId]) -> Iterator[dg.RunRequest]:
    """One run for what is new: over its days where daily tables are among it, else for the reference tables alone.

    The run key names the files, so asking again while they are being taken starts nothing twice.
    """
    fresh = fresh_deliveries(platform)
    names = sorted(delivery.uri for deliveries in fresh.values() for delivery in deliveries)
    if not names:
        return
    key = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    days = sorted({d.interval for table, deliveries in fresh.items() if table in daily for d in deliveries})
    if not days:
        yield dg.RunRequest(run_key=key, job_name=reference.name)
        return
    tags = {ASSET_PARTITION_RANGE_START_TAG: days[0], ASSET_PARTITION_RANGE_END_TAG: days[-1]}
    yield dg.RunRequest(run_key=key, job_name=refresh.name, tags=tags)


@dg.sensor(
    name="new_deliveries",
    jobs=[refresh, reference],
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    description="Looks for landed files that no run has taken, and asks for one run over their days.",
)
def new_deliveries(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    from pipelines.definitions import daily_tables

    asked = list(requests(platform, daily_tables()))
    yield from asked or [dg.SkipReason("nothing has landed that was not taken")]


SENSORS = [new_deliveries]
