"""The sensor of a domain that requests a run for each rollout that has moved, or that nobody looks at any longer."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from pipelines.governed.platform import Platform
from pipelines.models.service import ServiceSpec
from pipelines.orchestration.members import Members
from pipelines.rollout import report
from pipelines.rollout.rollout_asset import newest
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.orchestration.jobs import Job

INTERVAL_SECONDS = 10
#: A rollout that nobody looks at, although a run was to change that, gets another run after so many seconds.
AGAIN_SECONDS = 300


def rollout_sensors(found: Members, jobs: Collection[Job]) -> list[dg.SensorDefinition]:
    """The sensor `<domain>_rollouts` of a domain with services whose models declare plans; else none."""
    job = next((job for job in jobs if job.name == f"{found.domain.name}_rollouts"), None)
    keys = {spec.key for spec in found.specs}
    watched = [spec for spec in found.model_services if dg.AssetKey(spec.model.key("rollouts")) in keys]
    return [_sensor(found.domain.name, watched, job)] if job is not None and watched else []


def standing(settings: Settings, services: Sequence[ServiceSpec], *, now: float) -> dict[str, str]:
    """Where the newest rollout of each service stands, in words that change when it moves or nobody looks.

    Args:
        settings: Of the home folder.
        services: The services.
        now: Seconds since 1970, UTC.
    """
    found = {}
    for spec in services:
        if (present := newest(settings, spec.name)) is not None:
            unwatched = report.unwatched_seconds(present, now=now) is not None
            again = f" unwatched {now // AGAIN_SECONDS:.0f}" if unwatched else ""
            found[spec.name] = f"{present.rollout} {present.status} {present.stage}{again}"
    return found


def requests(
    before: Mapping[str, str], stands: Mapping[str, str], services: Sequence[ServiceSpec]
) -> Iterator[dg.RunRequest]:
    """One run of the assets of the services whose rollouts stand elsewhere than before; no run if there are none."""
    moved = [spec for spec in services if _has_moved(before.get(spec.name, ""), stands.get(spec.name, ""))]
    if moved:
        yield dg.RunRequest(
            run_key="; ".join(f"{spec.name} {stands[spec.name]}" for spec in moved),
            asset_selection=[dg.AssetKey(spec.model.key("rollouts")) for spec in moved],
        )


def _has_moved(before: str, now: str) -> bool:
    """Whether there is something to record or to mend; not when somebody has begun to look again."""
    return bool(now) and now != before and before.partition(" unwatched")[0] != now


def _sensor(name: str, services: Sequence[ServiceSpec], job: Job) -> dg.SensorDefinition:
    """The sensor of a domain. It is off until a user switches it on."""

    @dg.sensor(
        name=f"{name}_rollouts",
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        description=f"Requests a run for each rollout of the domain {name} whose stage or status changed, and for one "
        "that nobody looks at any longer, as after a restart of the machine: the run lets it go on.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        stands = standing(platform.settings, services, now=time.time())
        run_requests = list(requests(json.loads(context.cursor or "{}"), stands, services))
        context.update_cursor(json.dumps(stands))
        yield from run_requests or [dg.SkipReason("no rollout has moved, and somebody looks at each")]

    return sensor
