"""Near-real-time tables: a sensor that requests a small run whenever a source has records that have not landed.

    orders = micro_batch_sensor("shop_orders", job, feeds={TableId.parse("bronze/shop/orders"): source},
                                   every_seconds=10)

At most one run of the job is in progress: records that arrive meanwhile make the next batch larger, within the limits
of the source (`rows_per_file`, `files_per_run`), and no queue of runs grows. Each tick logs how far the tables are
behind, and marks those that are later than their contract's freshness allows.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import dagster as dg

from pipelines.errors import DefinitionError, LandingError
from pipelines.governed.platform import Platform
from pipelines.landing.delivery import Delivery
from pipelines.landing.fresh import fresh
from pipelines.landing.zone import Landing
from pipelines.orchestration.runs import FINISHED, range_tags
from pipelines.retrying import Backoff
from pipelines.sources.base import Source, day
from pipelines.tables import TableId

if TYPE_CHECKING:
    # Dagster exports no name for what `define_asset_job` returns.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

UNFINISHED = [status for status in dg.DagsterRunStatus if status not in FINISHED]
LONGEST_PAUSE_SECONDS = 3_600
BACKLOG_TAG, LAG_TAG = "goldpath/backlog", "goldpath/lag_seconds"


class WatchedSource(Source, Protocol):
    """A source that can cheaply count the records after a position."""

    def pending(self, position: Mapping[str, Any] | None, connection: str | None) -> int:
        """The approximate number of records after the position; 0 only if there are none."""
        ...


@dataclass(frozen=True, slots=True)
class SourceLag:
    """How far one bronze table is behind its source.

    Attributes:
        table: The bronze table.
        sequence: The number of the last extraction that landed; 0 before the first.
        position: The position in the source after that extraction; None before the first.
        backlog: The approximate number of records that have not landed.
        untaken: The landed files that bronze has not judged.
        lag_seconds: The age of the newest landed record, if there are records or files to take; None if there are none,
            or the age is not known.
        late: Whether the lag is more than the contract's freshness allows.
    """

    table: str
    sequence: int
    position: Mapping[str, Any] | None
    backlog: int
    untaken: tuple[Delivery, ...]
    lag_seconds: int | None
    late: bool

    @property
    def has_work(self) -> bool:
        """Whether there are records or files that a run can take."""
        return self.backlog > 0 or bool(self.untaken)

    @property
    def cursor_entry(self) -> dict[str, Any]:
        """The part of it that the sensor's cursor shows."""
        return {"sequence": self.sequence, "position": self.position, "backlog": self.backlog}

    def __str__(self) -> str:
        lag = "" if self.lag_seconds is None else f", {self.lag_seconds} s behind{' (LATE)' if self.late else ''}"
        return f"{self.table}: {self.backlog} records and {len(self.untaken)} files to take{lag}"


def source_lag(
    platform: Platform,
    table: TableId,
    source: WatchedSource,
    partitions: dg.PartitionsDefinition[str] | None = None,
) -> SourceLag:
    """How far the table is behind the source, by the source's answer, file names, manifests and the ledger.

    Files of days outside the partitions, if there are any, are no files to take.
    """
    contract, landing = platform.contracts[table], platform.landing
    landed = landing.deliveries(table.domain, table.table)
    sequence, position = landing.position(table.domain, table.table) or (0, None)
    connection = platform.settings.source(source.connection) if source.connection else str(platform.settings.root)
    backlog = source.pending(position, connection)
    landed = [d for d in landed if partitions is None or partitions.has_partition_key(d.interval)]
    untaken = tuple(fresh(platform.ledger(table), contract, landed))
    newest = _newest(landing, landed[-1]) if landed and (backlog or untaken) else None
    lag = None if newest is None else int((platform.now() - newest).total_seconds())
    late = lag is not None and lag > contract.freshness_seconds
    return SourceLag(str(table), sequence, position, backlog, untaken, lag, late)


def _newest(landing: Landing, delivery: Delivery) -> datetime | None:
    """The instant of the newest record of a delivery, as its manifest says; None if that says nothing readable."""
    try:
        manifest = landing.manifest(delivery)
        newest = datetime.fromisoformat(manifest.attributes["newest"]) if manifest else None
    except (LandingError, OSError, KeyError, TypeError, ValueError):
        return None
    return newest if newest and newest.tzinfo else None


@dataclass(frozen=True, slots=True)
class LastRequest:
    """The last run that a sensor requested, as its cursor keeps it.

    Attributes:
        standing: A digest of the sequences and untaken files of all feeds at that time.
        times: The number of runs requested for this standing, one after the other.
        at: When the last one was requested, in seconds since the epoch.
    """

    standing: str = ""
    times: int = 0
    at: float = 0.0

    @classmethod
    def of(cls, cursor: str | None) -> LastRequest:
        """The last request that a cursor has; no request for a cursor that is empty."""
        return cls(**json.loads(cursor)["asked"]) if cursor else cls()

    def pause_seconds(self, every_seconds: int) -> float:
        """How long to wait before the next run for this standing is requested; doubles with each run."""
        backoff = Backoff(first_seconds=2 * every_seconds, longest_seconds=LONGEST_PAUSE_SECONDS)
        return self.at + (backoff.highest(self.times) if self.times else 0) - time.time()


def micro_batch_sensor(
    name: str,
    job: dg.JobDefinition | UnresolvedAssetJobDefinition,
    *,
    feeds: Mapping[TableId, WatchedSource],
    every_seconds: int,
    partitions: dg.PartitionsDefinition[str] | None = None,
) -> dg.SensorDefinition:
    """A sensor that requests a run of the job while there are records or files to take, one at a time.

    It is off until a user switches it on. A run that made no progress is requested again after a pause that doubles
    each time, up to an hour.

    Args:
        name: The sensor's name.
        job: The job that takes them: landing, bronze, silver and what is derived from them.
        feeds: The source of each bronze table that the job lands.
        every_seconds: The seconds between two ticks.
        partitions: The days of the job's tables; None for tables without partitions. Today must be one of them
            (`end_offset=1`). A run covers the days of the files to take, and today.

    Raises:
        DefinitionError: for a source without a `pending` method.
    """
    for table, source in feeds.items():
        if not hasattr(source, "pending"):
            raise DefinitionError(
                object=f"sensor {name}",
                observed=f"the source of {table} ({source.kind}) cannot tell whether it has anything new",
                expected="a source with a `pending` method, such as KafkaTopic or RedisStream",
                next_step="give its landing asset a schedule instead",
            )

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=every_seconds,
        description=f"Looks every {every_seconds} s for new records of {', '.join(map(str, feeds))}.",
    )
    def sensor(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
        lags = [source_lag(platform, table, source, partitions) for table, source in feeds.items()]
        standing = hashlib.sha256(
            repr([(lag.sequence, [d.uri for d in lag.untaken]) for lag in lags]).encode()
        ).hexdigest()[:16]
        request = LastRequest.of(context.cursor)
        if standing != request.standing:
            request = LastRequest(standing, 0, request.at)
        reason = _skip_reason(context.instance, job.name, lags, request, every_seconds)
        if reason is None:
            request = LastRequest(standing, request.times + 1, time.time())
        summary = "; ".join(map(str, lags))
        context.log.info(summary)
        return dg.SensorResult(
            skip_reason=reason and f"{reason}. {summary}",
            run_requests=None if reason else [_run_request(job, lags, _range(name, platform, partitions, lags))],
            cursor=json.dumps({"asked": asdict(request), "feeds": {lag.table: lag.cursor_entry for lag in lags}}),
        )

    return sensor


def _skip_reason(
    instance: dg.DagsterInstance, job: str, lags: Sequence[SourceLag], request: LastRequest, every_seconds: int
) -> str | None:
    """Why no run of the job is requested now; None if one is. A run that failed is repeated without new records."""
    unfinished = instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=1)
    if unfinished:
        return f"run {unfinished[0].run_id} is in progress"
    last = instance.get_runs(dg.RunsFilter(job_name=job), limit=1)
    failed = bool(last) and last[0].status == dg.DagsterRunStatus.FAILURE
    if not failed and not any(lag.has_work for lag in lags):
        return "nothing new"
    seconds = request.pause_seconds(every_seconds)
    return f"{request.times} run(s) made no progress, the next in {seconds:.0f} s" if seconds > 0 else None


def _run_request(
    job: dg.JobDefinition | UnresolvedAssetJobDefinition, lags: Sequence[SourceLag], days: Mapping[str, str]
) -> dg.RunRequest:
    """The request of one run, tagged with the range of its days, the backlog and the longest known lag."""
    tags = {BACKLOG_TAG: str(sum(lag.backlog for lag in lags)), **days}
    if seconds := [lag.lag_seconds for lag in lags if lag.lag_seconds is not None]:
        tags[LAG_TAG] = str(max(seconds))
    return dg.RunRequest(job_name=job.name, tags=tags)


def _range(
    name: str, platform: Platform, partitions: dg.PartitionsDefinition[str] | None, lags: Sequence[SourceLag]
) -> dict[str, str]:
    """The tags for the range of days of a run: the days of files to take, and today, when the run lands new files."""
    if partitions is None:
        return {}
    today = day(platform.now())
    if not partitions.has_partition_key(today):
        raise DefinitionError(
            object=f"sensor {name}",
            observed=f"its partitions lack {today}",
            expected="a partition for every day on which files land",
            next_step="begin the partitions earlier, or give them end_offset=1 so that they include today",
        )
    return range_tags({today} | {delivery.interval for lag in lags for delivery in lag.untaken})
