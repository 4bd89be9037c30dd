"""Runs of two teams in a real Dagster instance: the queue launches them by priority, and of each team its share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from pipelines import settings
from pipelines.errors import SettingsError
from pipelines.orchestration import dagster_home
from pipelines.orchestration.run_queue import PRIORITY_TAG, TEAM_TAG, TeamRunCoordinator, run_tags
from pipelines.settings import Settings
from tests.pipelines.orchestration.two_teams import UNTIL

START_SECONDS = 120


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceProcessContext]:
    """The instance of a new home, where one run of toys and three of all may be in progress, with a code location."""
    monkeypatch.setenv("GOLDPATH_TEAM_RUNS", '{"toys": 1}')
    monkeypatch.setenv(UNTIL, str(tmp_path / "until"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    settings.get.cache_clear()
    folder = dagster_home.prepare(Settings(home=tmp_path))
    instance_file = folder / "dagster.yaml"
    instance_file.write_text(
        instance_file.read_text("utf-8").replace("max_concurrent_runs: 2", "max_concurrent_runs: 3")
    )
    target = ModuleTarget("tests.pipelines.orchestration.two_teams", None, str(Path.cwd()), "teams")
    with dg.DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as context:
        try:
            yield context
        finally:
            (tmp_path / "until").touch()
            _wait(lambda: not instance.get_runs(dg.RunsFilter(statuses=[*IN_PROGRESS_RUN_STATUSES])))
    settings.get.cache_clear()


def _wait(until: Callable[[], object]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _submit(workspace: WorkspaceProcessContext, *assets: str, job: str = "__ASSET_JOB") -> str:
    """Asks for a run as Dagster's pages do; returns its id."""
    keys = [dg.AssetKey(name) for name in assets]
    request = workspace.create_request_context()
    location = request.get_code_location("teams")
    [repository] = location.get_repositories().values()
    remote = repository.get_full_job(job)
    plan = location.get_execution_plan(remote, {}, None, None, workspace.instance)
    run = workspace.instance.create_run(
        job_name=job, run_id=None, run_config={}, status=None, tags={}, root_run_id=None, parent_run_id=None,
        step_keys_to_execute=None, execution_plan_snapshot=plan.execution_plan_snapshot,
        job_snapshot=remote.job_snapshot, parent_job_snapshot=remote.parent_job_snapshot,
        asset_selection=frozenset(keys) or None, asset_check_selection=None, resolved_op_selection=None,
        op_selection=None, remote_job_origin=remote.get_remote_origin(), job_code_origin=remote.get_python_origin(),
        asset_graph=request.asset_graph,
    )  # fmt: skip
    workspace.instance.submit_run(run.run_id, request)
    return run.run_id


def test_the_queue_launches_by_priority_and_of_a_team_no_more_than_its_share(
    workspace: WorkspaceProcessContext, tmp_path: Path
) -> None:
    instance = workspace.instance
    assert isinstance(instance.run_coordinator, TeamRunCoordinator)
    boxes, rain = _submit(workspace, "boxes"), _submit(workspace, "rain")
    urgent = _submit(workspace, "urgent")
    whole = _submit(workspace, job="all_toys")
    tags = {run.run_id: {name: run.tags.get(name) for name in (TEAM_TAG, PRIORITY_TAG)} for run in instance.get_runs()}
    assert tags == {
        boxes: {TEAM_TAG: "toys", PRIORITY_TAG: None},
        rain: {TEAM_TAG: "weather", PRIORITY_TAG: None},
        urgent: {TEAM_TAG: "toys", PRIORITY_TAG: "5"},
        whole: {TEAM_TAG: "toys", PRIORITY_TAG: "5"},
    }

    def in_progress() -> set[str]:
        return {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[*IN_PROGRESS_RUN_STATUSES]))}

    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
    list(daemon.run_iteration(workspace))
    # Three may run: the share of toys goes to the most urgent of its runs, and weather waits for nobody.
    assert in_progress() == {urgent, rain}
    list(daemon.run_iteration(workspace))
    assert in_progress() == {urgent, rain}
    (tmp_path / "until").touch()
    _wait(lambda: not in_progress())
    list(daemon.run_iteration(workspace))
    _wait(lambda: not in_progress())
    finished = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
    assert {run.run_id for run in finished} == {urgent, rain, whole}


def test_a_run_of_several_teams_is_that_of_the_team_with_the_most_assets() -> None:
    assets = [(["team:toys"], {}), (["team:weather"], {"goldpath/priority": "2"}), (["team:toys"], {})]
    assert run_tags(assets) == {TEAM_TAG: "toys", PRIORITY_TAG: "2"}
    assert run_tags([(["ada@example.org"], {})]) == run_tags([]) == {}


@pytest.mark.parametrize("place", ["run_coordinator", "concurrency"])
def test_limits_in_the_instance_file_hold_beside_those_of_the_teams_or_are_refused(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDPATH_TEAM_RUNS", '{"toys": 2}')
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    settings.get.cache_clear()
    backfills = {"key": "dagster/backfill", "limit": 8}
    file = yaml.safe_load(dagster_home.INSTANCE)
    part = file[place].setdefault("config" if place == "run_coordinator" else "runs", {})
    part["tag_concurrency_limits"] = [backfills]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        if place == "concurrency":
            with pytest.raises(SettingsError, match="move those of dagster.yaml to run_coordinator"):
                instance.get_concurrency_config()
        else:
            config = instance.get_concurrency_config().run_queue_config
            assert config is not None
            assert config.max_concurrent_runs == 2
            assert config.tag_concurrency_limits == [backfills, {"key": TEAM_TAG, "value": "toys", "limit": 2}]
    settings.get.cache_clear()


@pytest.mark.parametrize("value", ['{"toys": 0}', '{"toys": "many"}', "toys"])
def test_a_share_that_is_no_number_of_runs_is_refused_with_the_setting(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDPATH_TEAM_RUNS", value)
    settings.get.cache_clear()
    with pytest.raises(SettingsError, match="environment variable GOLDPATH_TEAM_RUNS"):
        settings.get()
    settings.get.cache_clear()
