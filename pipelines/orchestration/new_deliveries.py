"""The sensor that requests runs for new deliveries in the landing zone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import dagster as dg

from pipelines.governed.platform import Platform
from pipelines.landing.delivery import Delivery
from pipelines.landing.edge import Edge, fresh
from pipelines.orchestration.jobs import events, reference, refresh
from pipelines.orchestration.runs import range_tags
from pipelines.tables import TableId

INTERVAL_SECONDS = 30


def fresh_deliveries(platform: Platform) -> dict[TableId, list[Delivery]]:
    """The deliveries that have landed completely and were not judged yet, by bronze table; no empty lists.

    Reads file names and the ledger, no table.
    """
    deliveries = {}
    for table, contract in platform.contracts.items():
        if table.zone == "bronze":
            edge = Edge(platform.landing, platform.ledger(table), contract, now=platform.now())
            landed = platform.landing.deliveries(table.domain, table.table)
            if new := [delivery for delivery in fresh(edge.ledger, contract, landed) if edge.complete(delivery)]:
                deliveries[table] = new
    return deliveries


def requests(
    platform: Platform, daily: Mapping[TableId, dg.PartitionsDefinition[str]], pushed: Collection[TableId] = frozenset()
) -> Iterator[dg.RunRequest]:
    """At most one run for new pushed events, and one for all other new deliveries.

    The latter covers the days of new deliveries of daily tables; without any, it is a run of the reference tables. A
    day that is no partition of its table does not count: a run over it could not start. The run key is a digest of the
    files, so that Dagster does not start a second run while they are being taken.

    Args:
        platform: The platform whose landing zone is read.
        daily: The partitions of the tables that are partitioned by day.
        pushed: The bronze tables of pushed events.
    """
    new = fresh_deliveries(platform)
    if pushed_key := _run_key(deliveries for table, deliveries in new.items() if table in pushed):
        yield dg.RunRequest(run_key=pushed_key, job_name=events.name)
    new = {table: _coverable(found, daily.get(table)) for table, found in new.items() if table not in pushed}
    key = _run_key(new.values())
    if key is None:
        return
    days = sorted({d.interval for table, deliveries in new.items() if table in daily for d in deliveries})
    if not days:
        yield dg.RunRequest(run_key=key, job_name=reference.name)
        return
    yield dg.RunRequest(run_key=key, job_name=refresh.name, tags=range_tags(days))


def _coverable(deliveries: list[Delivery], partitions: dg.PartitionsDefinition[str] | None) -> list[Delivery]:
    """The deliveries whose interval is one of these partitions; all of them for a table without partitions."""
    return [d for d in deliveries if partitions is None or partitions.has_partition_key(d.interval)]


def _run_key(new: Iterable[list[Delivery]]) -> str | None:
    """A digest of the deliveries' names, sizes and times; None if there are none."""
    names = sorted(f"{d.uri} {d.bytes} {d.modified_ns}" for deliveries in new for d in deliveries)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] if names else None


def new_deliveries_sensor(
    daily: Callable[[], Mapping[TableId, dg.PartitionsDefinition[str]]], pushed: Callable[[], Collection[TableId]]
) -> dg.SensorDefinition:
    """The sensor of a code location. It is off until a user switches it on.

    Args:
        daily: Returns the partitions of the tables that are partitioned by day.
        pushed: Returns the bronze tables of pushed sources.
    """

    @dg.sensor(
        name="new_deliveries",
        jobs=[refresh, reference, events],
        minimum_interval_seconds=INTERVAL_SECONDS,
        description="Looks for landed files that no run has taken, and requests one run over their days.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        run_requests = list(requests(platform, daily(), pushed()))
        yield from run_requests or [dg.SkipReason("every file that has landed was taken")]

    return sensor
