"""The sensor of a domain that requests runs for its new deliveries in the landing zone."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from pipelines.governed.platform import Platform
from pipelines.landing.delivery import Delivery
from pipelines.landing.edge import Edge
from pipelines.landing.fresh import fresh
from pipelines.orchestration.members import Members
from pipelines.orchestration.rollouts import rollout_sensors
from pipelines.orchestration.runs import range_tags
from pipelines.tables import TableId

if TYPE_CHECKING:
    from pipelines.orchestration.jobs import Job

#: Each tick lists what has landed, so it is not the least that Dagster can do.
INTERVAL_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Watched:
    """The bronze tables whose deliveries a sensor looks for, and the job that takes those of each kind.

    Attributes:
        tables: The bronze tables.
        daily: The partitions of the tables by day.
        pushed: The bronze tables of pushed sources.
        jobs: The name of the job for `days`, for `reference` tables and for pushed `events`.
    """

    tables: frozenset[TableId]
    daily: Mapping[TableId, dg.PartitionsDefinition[str]] = field(default_factory=dict)
    pushed: frozenset[TableId] = frozenset()
    jobs: Mapping[str, str] = field(default_factory=dict)


def watched(found: Members, jobs: Collection[Job]) -> Watched:
    """What the sensor of a domain looks for."""
    names = {job.name for job in jobs}
    wanted = {"days": ("refresh", "ingest"), "reference": ("reference", "refresh", "ingest"), "events": ("events",)}
    chosen = {
        kind: next((name for stage in stages if (name := f"{found.domain.name}_{stage}") in names), "")
        for kind, stages in wanted.items()
    }
    tables = frozenset(TableId.parse("/".join(spec.key.path)) for spec in found.specs if spec.key.path[0] == "bronze")
    pushed = frozenset(source.bronze.table for source in found.pushed)
    return Watched(tables, found.daily, pushed, chosen)


def fresh_deliveries(platform: Platform, tables: Collection[TableId]) -> dict[TableId, list[Delivery]]:
    """The deliveries that have landed completely and were not judged yet, by bronze table; no empty lists.

    Reads file names and the ledger, no table.
    """
    deliveries = {}
    for table in sorted(tables):
        contract = platform.contracts[table]
        edge = Edge(platform.landing, platform.ledger(table), contract, now=platform.now())
        landed = platform.landing.deliveries(table.domain, table.table)
        if new := [delivery for delivery in fresh(edge.ledger, contract, landed) if edge.complete(delivery)]:
            deliveries[table] = new
    return deliveries


def requests(platform: Platform, at: Watched) -> Iterator[dg.RunRequest]:
    """At most one run for new pushed events, and one for all other new deliveries.

    The latter covers the days of new deliveries of daily tables; without any, it is a run of the tables without days. A
    day that is no partition of its table does not count: a run over it could not start. The run key is a digest of the
    files, so that Dagster does not start a second run while they are being taken.
    """
    new = fresh_deliveries(platform, at.tables)
    if pushed_key := digest(deliveries for table, deliveries in new.items() if table in at.pushed):
        yield dg.RunRequest(run_key=pushed_key, job_name=at.jobs["events"])
    new = {table: coverable(found, at.daily.get(table)) for table, found in new.items() if table not in at.pushed}
    key = digest(new.values())
    if key is None:
        return
    days = sorted({d.interval for table, deliveries in new.items() if table in at.daily for d in deliveries})
    if days:
        yield dg.RunRequest(run_key=key, job_name=at.jobs["days"], tags=range_tags(days))
    else:
        yield dg.RunRequest(run_key=key, job_name=at.jobs["reference"])


def coverable(deliveries: list[Delivery], partitions: dg.PartitionsDefinition[str] | None) -> list[Delivery]:
    """The deliveries whose interval is one of these partitions; all of them for a table without partitions."""
    return [d for d in deliveries if partitions is None or partitions.has_partition_key(d.interval)]


def digest(new: Iterable[list[Delivery]]) -> str | None:
    """A digest of the deliveries' names, sizes and times; None if there are none."""
    names = sorted(f"{d.uri} {d.bytes} {d.modified_ns}" for deliveries in new for d in deliveries)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] if names else None


def domain_sensors(found: Members, jobs: Collection[Job]) -> list[dg.SensorDefinition]:
    """The sensors for new deliveries and for rollouts of a domain that has such, and those that it declares itself.

    Args:
        found: The domain's members.
        jobs: The domain's jobs.
    """
    at = watched(found, jobs)
    of_deliveries = [new_deliveries_sensor(found.domain.name, at, jobs)] if at.tables else []
    return [*of_deliveries, *rollout_sensors(found, jobs), *found.sensors]


def new_deliveries_sensor(name: str, at: Watched, jobs: Collection[Job]) -> dg.SensorDefinition:
    """The sensor `<name>_new_deliveries` of a domain. It is off until a user switches it on."""

    @dg.sensor(
        name=f"{name}_new_deliveries",
        jobs=[job for job in jobs if job.name in set(at.jobs.values())],
        minimum_interval_seconds=INTERVAL_SECONDS,
        description=f"Looks for landed files of the domain {name} that no run has taken, and requests one run over "
        "their days.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        run_requests = list(requests(platform, at))
        yield from run_requests or [dg.SkipReason("every file that has landed was taken")]

    return sensor
