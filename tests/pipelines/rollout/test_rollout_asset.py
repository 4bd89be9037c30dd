"""A service's rollouts in Dagster: which domains have what, what a materialization records, and what a sensor asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any, cast

import dagster as dg
import pytest

from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import PLATFORM, GovernedRun, Written
from pipelines.governed.platform import Platform
from pipelines.orchestration.location import misfits, parts
from pipelines.orchestration.members import Members, members
from pipelines.orchestration.rollouts import AGAIN_SECONDS, requests, standing
from pipelines.rollout import control, state
from pipelines.rollout.assets import service_asset
from pipelines.rollout.rollout_asset import rollout_asset
from tests.conftest import Materialize
from tests.pipelines.rollout import arms
from tests.pipelines.rollout.toy_service import ToyRollout, toy_service
from tests.pipelines.toy_contracts import TAGS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")

KEY = dg.AssetKey(["rollouts", "toys", "bricks"])


def domain(toy: ToyRollout) -> Members:
    """The members of a domain that declares the service."""

    def work(run: GovernedRun) -> Iterator[Written]:
        """The model. Grain: one version."""
        yield from ()

    model = governed_asset(
        key=toy.spec.model.key("models"), kind="model", owner="toy-data", tags=TAGS, kinds=("mlflow",)
    )(work)
    module = ModuleType("assets.toys.made_by_hand")
    own = {"domain": toy.spec.model.domain, "bricks": toy.spec, "served": service_asset(toy.spec), "model": model}
    vars(module).update(own)
    return members("toys", [module])


def materialized(toy: ToyRollout, materialize: Materialize) -> dg.ExecuteInProcessResult:
    return materialize(Platform(toy.settings, dict), [rollout_asset(toy.spec)])


def recorded(result: dg.ExecuteInProcessResult) -> Mapping[str, dg.MetadataValue[Any]]:
    """The metadata of the materialization."""
    return result.asset_materializations_for_node("rollouts__toys__bricks")[0].metadata


def test_a_domain_has_asset_job_and_sensor_for_a_service_with_a_plan_alone(toy: ToyRollout) -> None:
    with_plan = domain(toy)
    made = parts(with_plan)
    assert KEY in {spec.key for spec in with_plan.specs}
    assert [job.name for job in made.jobs] == ["toys_train", "toys_deploy", "toys_rollouts", "toys_whole"]
    assert [sensor.name for sensor in made.sensors] == ["toys_rollouts"]
    assert misfits({"toys": with_plan}) == {}
    without = domain(ToyRollout(toy.settings, toy_service(toy.spec.model, None)))
    assert KEY not in {spec.key for spec in without.specs}
    assert [job.name for job in parts(without).jobs] == ["toys_train", "toys_deploy", "toys_whole"]
    assert parts(without).sensors == []


def test_a_materialization_records_a_rollout_and_sees_to_it_that_it_goes_on(
    toy: ToyRollout, materialize: Materialize
) -> None:
    before = materialized(toy, materialize)
    assert recorded(before)["status"].value == "the service never had a rollout"
    assert before.get_asset_check_evaluations()[0].passed
    assert arms.calls(toy.settings) == []
    toy.started()
    controller = toy.controller()
    controller.look()
    toy.asked(30)
    controller.look()
    result = materialized(toy, materialize)
    assert arms.calls(toy.settings) == ["start", "watch"]
    metadata = recorded(result)
    assert metadata["stage"].value == "shadow"
    assert metadata["share"].value == "mirrored, callers get none of it"
    assert metadata["because"].value.startswith("waits for 30 more answers")
    assert "| errors | 0 | 0 | 0 to " in str(metadata["figures"].value)
    assert str(metadata["plots"].value).count("data:image/svg+xml") == 3
    [check] = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("guards", True)


def test_the_check_fails_when_a_version_went_back_and_says_why(toy: ToyRollout, materialize: Materialize) -> None:
    toy.started()
    toy.controller().look()
    toy.asked(failed=True)
    toy.controller().look()
    result = materialized(toy, materialize)
    assert result.success
    assert "watch" not in arms.calls(toy.settings)
    [check] = result.get_asset_check_evaluations()
    assert not check.passed
    assert "errors: 1.0000 against 0.0000" in str(check.description)
    assert "rollback_seconds" in recorded(result)


def test_a_run_is_requested_when_a_rollout_moved_or_nobody_looks(toy: ToyRollout) -> None:
    services, now = [toy.spec], time.time()
    assert standing(toy.settings, services, now=now) == {}
    toy.started()
    started = standing(toy.settings, services, now=now)
    [request] = requests({}, started, services)
    assert request.asset_selection == [KEY]
    assert list(requests(started, started, services)) == []
    toy.controller().look()
    looked = toy.newest.looked_at
    running = standing(toy.settings, services, now=looked + 1)
    assert len(list(requests(started, running, services))) == 1
    later = looked + 20 - looked % AGAIN_SECONDS
    unwatched = standing(toy.settings, services, now=max(later, looked + 20))
    [again] = requests(running, unwatched, services)
    assert again.run_key != request.run_key
    [once_more] = requests(unwatched, standing(toy.settings, services, now=looked + 2 * AGAIN_SECONDS), services)
    assert once_more.run_key != again.run_key
    assert list(requests(unwatched, running, services)) == []  # somebody looks again
    control.promote(toy.settings, toy.name, because="good")
    assert len(list(requests(unwatched, standing(toy.settings, services, now=looked + 1), services))) == 1


def test_the_sensor_remembers_where_rollouts_stood(toy: ToyRollout) -> None:
    [sensor] = parts(domain(toy)).sensors
    evaluate: Callable[..., Iterable[object]] = cast("Any", sensor)
    platform = Platform(toy.settings, dict)

    def tick(cursor: str | None) -> tuple[int, str | None]:
        with dg.build_sensor_context(cursor=cursor, resources={PLATFORM: platform}) as context:
            run_requests = [each for each in evaluate(context) if isinstance(each, dg.RunRequest)]
            return len(run_requests), context.cursor

    assert tick(None)[0] == 0
    toy.started()
    count, cursor = tick("{}")
    assert count == 1
    assert tick(cursor)[0] == 0
    state.save(toy.settings, replace(toy.newest, status="returned"))
    assert tick(cursor)[0] == 1
