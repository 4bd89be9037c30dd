"""Upkeep of the lakehouse and of the platform's own records: one asset per step, each after the step that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import dagster as dg

from assets.platform.domain import platform
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import GovernedRun, Work, Written
from pipelines.orchestration import event_pruning
from pipelines.provenance import pins
from pipelines.upkeep import maintenance, records, trainings
from pipelines.upkeep.asset import commit_metadata, written


def _step(name: str, *, after: str | None = None) -> Callable[[Work], dg.AssetsDefinition]:
    deps = [("ops", "platform", after)] if after else []
    key = ("ops", "platform", name)
    return governed_asset(
        key=key, kind="ops", owner=platform.owner, tags=platform.cost.of("upkeep"), kinds=("deltalake",), deps=deps
    )


@_step("retention")
def retention(run: GovernedRun) -> Iterator[Written]:
    """Deletes rows from bronze, silver and quarantine whose contract's retention has passed by the platform's clock.

    Grain: one figure row per table that lost rows.
    """
    yield written(run, maintenance.retain(run.platform, commit_metadata=commit_metadata(run)))


@_step("compaction", after="retention")
def compaction(run: GovernedRun) -> Iterator[Written]:
    """Merges small files of tables that have many, in the order of the contract's cluster columns if it names any.

    Grain: one figure row per table that was compacted.
    """
    yield written(run, maintenance.compact(run.platform, commit_metadata=commit_metadata(run)))


@_step("vacuum", after="compaction")
def vacuum(run: GovernedRun) -> Iterator[Written]:
    """Removes files that no version of the last 30 days needs and no version that a registered model's record names.

    Grain: one figure row per table that lost files.
    """
    yield written(
        run, maintenance.vacuum(run.platform, pins.pinned(run.platform), commit_metadata=commit_metadata(run))
    )


@_step("pruning", after="vacuum")
def pruning_of_records(run: GovernedRun) -> Iterator[Written]:
    """Removes entries of tables' logs, quality results, events of runs and folders of trainings older than 30 days.

    It writes a checkpoint of each log and keeps what a registered model's record names. All costs and lineage stay, and
    so do models: what is removed of a training are its working files.

    Grain: one figure row per table or folder that lost files.
    """
    pruned = records.checkpoint_and_clean(run.platform, pins.pinned(run.platform))
    pruned += filter(None, (records.quality_results(run.platform), event_pruning.run_events(run.context.instance)))
    pruned += trainings.old_trainings(run.platform)
    yield written(run, pruned)


upkeep = dg.define_asset_job(
    "platform_upkeep",
    selection=[retention, compaction, vacuum, pruning_of_records],
    description="Removes old rows, unneeded files and old records, and merges small files; keeps what models name.",
)
upkeep_every_week = dg.ScheduleDefinition(
    name="platform_upkeep_every_week",
    job=upkeep,
    cron_schedule="0 3 * * 0",
    execution_timezone="UTC",
    description="Compacts tables and removes what is no longer needed, at the quietest hour of the week.",
)
