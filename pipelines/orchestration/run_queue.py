"""Dagster's queue of runs, with the team and the priority of what a run materializes as its tags.

Dagster's own coordinator launches the queued runs: those of a higher `dagster/priority` first, and of a team no more
at once than the setting GOLDPATH_TEAM_RUNS says. An asset's owner and its tag `goldpath/priority` tell both, however
the run was asked for: by a job, a schedule, a sensor, a backfill or a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

# Dagster documents a coordinator of one's own as a subclass of this one; it exports no name for it.
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator, RunQueueConfig

from pipelines import settings
from pipelines.errors import SettingsError
from pipelines.governed.declaration import PRIORITY

if TYPE_CHECKING:
    import dagster as dg

#: The tag of a run that names the team of its assets, and the tag by which Dagster's queue is ordered.
TEAM_TAG, PRIORITY_TAG = "goldpath/team", "dagster/priority"
_OWNER = "team:"


class TeamRunCoordinator(QueuedRunCoordinator):
    """Queues runs as Dagster does, with the tags of their team and priority; a tag that a run has stays."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        run = context.dagster_run
        tags = {name: value for name, value in run_tags(_nodes(context)).items() if name not in run.tags}
        if tags:
            self._instance.add_run_tags(run.run_id, tags)
        return super().submit_run(context)

    def get_run_queue_config(self) -> RunQueueConfig:
        """The queue's limits, those of the teams among them.

        Raises:
            SettingsError: if `dagster.yaml` has limits in the place where Dagster would read them alone.
        """
        config, team_runs = super().get_run_queue_config(), settings.get().team_runs
        runs = self._instance.get_settings("concurrency").get("runs", {}) if self.has_instance else {}
        if team_runs and "tag_concurrency_limits" in runs:
            raise SettingsError(
                object="environment variable GOLDPATH_TEAM_RUNS",
                observed="no effect, since dagster.yaml has tag_concurrency_limits under concurrency: runs",
                expected="limits of both",
                next_step="move those of dagster.yaml to run_coordinator: config, or unset the variable",
            )
        teams = [{"key": TEAM_TAG, "value": team, "limit": limit} for team, limit in team_runs.items()]
        return config._replace(tag_concurrency_limits=[*config.tag_concurrency_limits, *teams])


def run_tags(assets: Iterable[tuple[Iterable[str], Mapping[str, str]]]) -> dict[str, str]:
    """The tags of a run by the owners and the tags of its assets.

    A run of several teams is that of the team with the most assets; its priority is the highest of its assets.
    """
    teams: Counter[str] = Counter()
    priorities: list[int] = []
    for owners, tags in assets:
        teams.update(owner.removeprefix(_OWNER) for owner in owners if owner.startswith(_OWNER))
        priorities.append(int(tags.get(PRIORITY, 0)))
    found = {TEAM_TAG: max(sorted(teams), key=teams.__getitem__)} if teams else {}
    priority = max(priorities, default=0)
    return found | ({PRIORITY_TAG: str(priority)} if priority else {})


def _nodes(context: SubmitRunContext) -> Iterator[tuple[Iterable[str], Mapping[str, str]]]:
    """Owners and tags of the assets that a run materializes: those that were selected, or those of its job."""
    run, graph = context.dagster_run, context.workspace.asset_graph
    for node in graph.asset_nodes:
        snap = node.resolve_to_singular_repo_scoped_node().asset_node_snap
        if node.key in run.asset_selection if run.asset_selection else run.job_name in snap.job_names:
            yield node.owners, node.tags
