"""Near-real-time tables: a sensor that asks for a small run whenever a source has something that has not landed.

    movements = micro_batch_sensor("movements", job, feeds={TableId.parse("bronze/flights/movements"): source},
                                   every_seconds=10)

At most one run of the job is under way, so what arrives meanwhile makes the next batch larger, and no queue longer; how
large is bounded by the source (`rows_per_file`, `files_per_run`). The tick says how far behind the tables are, and
marks what is later than the contract's freshness allows.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import dagster as dg

from pipelines.errors import DefinitionError
from pipelines.governed.platform import Platform
from pipelines.landing.delivery import INTERVAL
from pipelines.landing.edge import fresh
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
    """A source that can be asked cheaply how much it has behind a position."""

    def pending(self, position: Mapping[str, Any] | None, connection: str | None) -> int:
        """About how many records there are; 0 only where there are none."""
        ...


@dataclass(frozen=True, slots=True)
class SourceLag:
    """How far one bronze table is behind its source.

    Attributes:
        sequence: Number of the last extraction that landed; 0 before the first.
        position: Where it left off.
        backlog: Records that have not landed, about.
        untaken: Landed files that bronze has not judged.
        lag_seconds: Age of the newest landed record while there are newer ones; None where nothing is known or new.
        late: Whether that is more than the contract's freshness allows.
    """

    table: str
    sequence: int
    position: Mapping[str, Any] | None
    backlog: int
    untaken: tuple[str, ...]
    lag_seconds: int | None
    late: bool

    @property
    def waits(self) -> bool:
        return self.backlog > 0 or bool(self.untaken)

    @property
    def noted(self) -> dict[str, Any]:
        """What the cursor shows of it."""
        return {"sequence": self.sequence, "position": self.position, "backlog": self.backlog}

    def __str__(self) -> str:
        lag = "" if self.lag_seconds is None else f", {self.lag_seconds} s behind{' (LATE)' if self.late else ''}"
        return f"{self.table}: {self.backlog} records and {len(self.untaken)} files to take{lag}"


def source_lag(platform: Platform, table: TableId, source: WatchedSource) -> SourceLag:
    """Asks the source what lies behind the landed position; reads file names, manifests and the ledger, no table."""
    contract, landing = platform.contracts[table], platform.landing
    landed = landing.deliveries(table.domain, table.table)
    sequence, position = landing.position(table.domain, table.table) or (0, None)
    connection = platform.settings.source(source.connection) if source.connection else str(platform.settings.root)
    backlog = source.pending(position, connection)
    untaken = tuple(delivery.uri for delivery in fresh(platform.ledger(table), contract, landed))
    manifest = landing.manifest(landed[-1]) if landed and (backlog or untaken) else None
    newest = manifest.attributes.get("newest") if manifest else None
    lag = None if newest is None else int((platform.now() - datetime.fromisoformat(newest)).total_seconds())
    late = lag is not None and lag > contract.freshness_seconds
    return SourceLag(str(table), sequence, position, backlog, untaken, lag, late)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a sensor remembers: the standing it last asked a run for, how often in a row, and when (epoch seconds)."""

    standing: str = ""
    times: int = 0
    at: float = 0.0

    def pause(self, every_seconds: int) -> float:
        """Seconds until it may be asked for again."""
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
    """A sensor that keeps one run of the job going while there is something to take; off until it is switched on.

    A run that did not get further is asked for again after pauses that double, up to an hour.

    Args:
        name: The sensor's name.
        job: What a run does: landing, bronze, silver and what hangs on them.
        feeds: The source of each bronze table that the job lands.
        every_seconds: How often to look.
        partitions: The days of the job's tables, where they have any; today must be one (`end_offset=1`). A run covers
            the days of files to take, and today.

    Raises:
        DefinitionError: for a source that cannot be asked.
    """
    for table, source in feeds.items():
        if not hasattr(source, "pending"):
            raise DefinitionError(
                object=f"sensor {name}",
                observed=f"the source of {table} ({source.kind}) cannot tell whether it has anything new",
                expected="a source with a `pending` verb, such as KafkaTopic or RedisStream",
                next_step="give its landing asset a schedule instead",
            )

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=every_seconds,
        description=f"Looks every {every_seconds} s whether {', '.join(map(str, feeds))} can get further.",
    )
    def sensor(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
        found = [source_lag(platform, table, source) for table, source in feeds.items()]
        asked = Asked(**json.loads(context.cursor)["asked"]) if context.cursor else Asked()
        under_way = context.instance.get_runs(dg.RunsFilter(job_name=job.name, statuses=UNFINISHED), limit=1)
        last = context.instance.get_runs(dg.RunsFilter(job_name=job.name), limit=1)
        now = hashlib.sha256(repr([(each.sequence, each.untaken) for each in found]).encode()).hexdigest()[:16]
        if now != asked.standing:
            asked = Asked(now, 0, asked.at)
        reason = None
        if under_way:
            reason = f"run {under_way[0].run_id} is under way"
        elif not any(each.waits for each in found) and not (last and last[0].status == dg.DagsterRunStatus.FAILURE):
            reason = "nothing new"
        elif (left := asked.pause(every_seconds)) > 0:
            reason = f"{asked.times} run(s) got no further, the next in {left:.0f} s"
        else:
            asked = Asked(now, asked.times + 1, time.time())
        said = "; ".join(map(str, found))
        context.log.info(said)
        return dg.SensorResult(
            skip_reason=reason and f"{reason}. {said}",
            run_requests=None if reason else [_request(job, found, _days(name, platform, partitions, found))],
            cursor=json.dumps({"asked": asdict(asked), "feeds": {each.table: each.noted for each in found}}),
        )

    return sensor


def _request(
    job: dg.JobDefinition | UnresolvedAssetJobDefinition, found: list[SourceLag], days: Mapping[str, str]
) -> dg.RunRequest:
    tags = {BACKLOG_TAG: str(sum(each.backlog for each in found)), **days}
    if lags := [each.lag_seconds for each in found if each.lag_seconds is not None]:
        tags[LAG_TAG] = str(max(lags))
    return dg.RunRequest(job_name=job.name, tags=tags)


def _days(
    name: str, platform: Platform, partitions: dg.PartitionsDefinition[str] | None, found: list[SourceLag]
) -> dict[str, str]:
    """The range of days that a run covers: those of files to take, and today for what it lands itself."""
    if partitions is None:
        return {}
    days = {uri.split(f"/{INTERVAL}")[1].split("/")[0] for each in found for uri in each.untaken} | {
        day(platform.now())
    }
    if outside := sorted(each for each in days if not partitions.has_partition_key(each)):
        raise DefinitionError(
            object=f"sensor {name}",
            observed=f"day(s) {', '.join(outside)} are none of its partitions",
            expected="every day on which something lands",
            next_step="begin the partitions earlier, or give them end_offset=1 so that today is one",
        )
    return range_tags(days)
