"""Upkeep of the lakehouse and of the platform's own records, a step each; in the order in which one helps the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import dagster as dg

from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import GovernedRun, Work, Written
from pipelines.orchestration import event_pruning
from pipelines.provenance import pins
from pipelines.upkeep import maintenance, records
from pipelines.upkeep.asset import told, written

TAGS = {
    "cost_centre": "cc-1000",
    "business_unit": "platform",
    "project": "goldpath",
    "application": "upkeep",
    "workload_class": "upkeep",
    "data_class": "internal",
}


def _step(name: str, *, after: str | None = None) -> Callable[[Work], dg.AssetsDefinition]:
    deps = [("ops", "platform", after)] if after else []
    key = ("ops", "platform", name)
    return governed_asset(key=key, kind="ops", owner="platform", tags=TAGS, kinds=("deltalake",), deps=deps)


@_step("retention")
def retention(run: GovernedRun) -> Iterator[Written]:
    """Rows past their contract's retention are deleted from bronze, silver and quarantine, by the platform's clock.

    Grain: one figure row per table that lost rows.
    """
    yield written(run, maintenance.retain(run.platform, told=told(run)))


@_step("compaction", after="retention")
def compaction(run: GovernedRun) -> Iterator[Written]:
    """The small files of tables that have many are merged, ordered by the contract's cluster columns if it names any.

    Grain: one figure row per table that was compacted.
    """
    yield written(run, maintenance.compact(run.platform, told=told(run)))


@_step("vacuum", after="compaction")
def vacuum(run: GovernedRun) -> Iterator[Written]:
    """Files that no version of the last 30 days and none that a registered model's record names needs are removed.

    Grain: one figure row per table that lost files.
    """
    yield written(run, maintenance.vacuum(run.platform, pins.pinned(run.platform), told=told(run)))


@_step("pruning", after="vacuum")
def pruning_of_records(run: GovernedRun) -> Iterator[Written]:
    """Entries of tables' logs, quality results and events of runs, each older than 30 days, are removed.

    Logs get their checkpoint, and keep whatever a registered model's record names; costs and lineage stay whole.

    Grain: one figure row per table or folder that lost files.
    """
    done = records.checkpoint_and_clean(run.platform, pins.pinned(run.platform))
    done += filter(None, (records.quality_results(run.platform), event_pruning.run_events(run.context.instance)))
    yield written(run, done)
