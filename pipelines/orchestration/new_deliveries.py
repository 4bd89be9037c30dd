"""The sensor that notices new deliveries. It is off until somebody switches it on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator

import dagster as dg

from pipelines.governed.platform import Platform
from pipelines.landing.delivery import Delivery
from pipelines.landing.edge import Edge, fresh
from pipelines.orchestration.jobs import events, reference, refresh
from pipelines.orchestration.runs import range_tags
from pipelines.tables import TableId

SECONDS_BETWEEN_LOOKS = 30


def fresh_deliveries(platform: Platform) -> dict[TableId, list[Delivery]]:
    """What has landed complete and was not judged yet, by bronze table. Reads file names and the ledger, no table."""
    found = {}
    for table, contract in platform.contracts.items():
        if table.zone == "bronze":
            edge = Edge(platform.landing, platform.ledger(table), contract)
            landed = platform.landing.deliveries(table.domain, table.table)
            if new := [delivery for delivery in fresh(edge.ledger, contract, landed) if edge.complete(delivery)]:
                found[table] = new
    return found


def requests(
    platform: Platform, daily: set[TableId], pushed: Collection[TableId] = frozenset()
) -> Iterator[dg.RunRequest]:
    """One run for what is new: over its days where daily tables are among it, else for the reference tables alone.

    Pushed events get a run of their own. The run key names the files, so asking again while they are being taken starts
    nothing twice.
    """
    new = fresh_deliveries(platform)
    if pushed_key := _run_key(found for table, found in new.items() if table in pushed):
        yield dg.RunRequest(run_key=pushed_key, job_name=events.name)
    new = {table: found for table, found in new.items() if table not in pushed}
    key = _run_key(new.values())
    if key is None:
        return
    days = sorted({d.interval for table, deliveries in new.items() if table in daily for d in deliveries})
    if not days:
        yield dg.RunRequest(run_key=key, job_name=reference.name)
        return
    yield dg.RunRequest(run_key=key, job_name=refresh.name, tags=range_tags(days))


def _run_key(new: Iterable[list[Delivery]]) -> str | None:
    names = sorted(f"{d.uri} {d.bytes} {d.modified_ns}" for deliveries in new for d in deliveries)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] if names else None


def new_deliveries_sensor(
    daily: Callable[[], set[TableId]], pushed: Callable[[], Collection[TableId]]
) -> dg.SensorDefinition:
    """The sensor of a code location; off until it is switched on.

    Args:
        daily: Returns the tables that are partitioned by day.
        pushed: Returns the bronze tables of pushed sources.
    """

    @dg.sensor(
        name="new_deliveries",
        jobs=[refresh, reference, events],
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        description="Looks for landed files that no run has taken, and asks for one run over their days.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        wanted = list(requests(platform, daily(), pushed()))
        yield from wanted or [dg.SkipReason("nothing has landed that was not taken")]

    return sensor
