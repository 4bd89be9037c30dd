"""On Ray Serve: a candidate answers beside the version that serves, and callers lose nothing when it ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from assets.flights.service import arrival_delay_service
from pipelines.models.registry import RegisteredModel
from pipelines.models.rollout_plan import Plan, Rollout
from pipelines.rollout import evidence, routes, state
from pipelines.rollout.routes import Route
from pipelines.rollout.state import State
from pipelines.settings import Settings
from serving.errors import DeploymentError
from serving.predict import client, deploy
from serving.predict.config import ServedModel
from tests.serving.callers import Callers, replica
from tests.serving.conftest import QUESTION, SERVICE, config_of
from tests.serving.other_services import unheard

if TYPE_CHECKING:
    from serving.predict.deploy import Endpoint

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`:DeprecationWarning"),
]
arms = arrival_delay_service.runtime.load_arms()

Deployed = tuple[Settings, "Endpoint"]


def _registered(model: ServedModel) -> RegisteredModel:
    return RegisteredModel(model.name, model.version, model.digest, "run", model.metrics)


def _lines(settings: Settings, rollout: str) -> list[dict[str, Any]]:
    return list(evidence.Reader(evidence.folder(settings, SERVICE, rollout)).new())


def test_a_killed_candidate_costs_no_request_and_each_of_its_failures_is_noted(
    deployed: Deployed, models: tuple[Path, Path]
) -> None:
    settings, _ = deployed
    serving = deploy.current(settings, SERVICE)
    assert serving is not None
    others = (config_of(folder, version=9).model for folder in models)
    second = next(model for model in others if model.digest != serving.config.model.digest)
    candidate = _registered(second)
    arms.stop(settings, arrival_delay_service)
    arms.start(settings, arrival_delay_service, candidate, second.folder)
    process = replica(f"{SERVICE}--candidate")
    arms.start(settings, arrival_delay_service, candidate, second.folder)
    assert replica(f"{SERVICE}--candidate") == process
    here = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert {c.laddr.ip for c in here} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    identity = {"name": SERVICE, "version": 9, "digest": candidate.digest}
    route = Route("r1", "A/B", 0, 0.5, "", 2.0, identity)

    with Callers(settings) as callers:
        callers.wait_for("")
        routes.write(settings, SERVICE, route)
        callers.wait_for("stable")
        callers.wait_for("candidate")
        process.kill()
        process.wait(30)
        callers.wait_for("stable", 50)
        callers.wait_for("candidate")  # Serve started it again
        routes.remove(settings, SERVICE)
        time.sleep(1)
        after = callers.seen[200, "candidate"]
        callers.wait_for("")
        assert callers.seen[200, "candidate"] == after
    assert {status for status, _ in callers.seen} == {200}
    lines = _lines(settings, "r1")
    failed = [line for line in lines if line["failed"]]
    assert failed
    assert {line["arm"] for line in failed} == {"candidate"}
    assert sum(line["arm"] == "candidate" and not line["failed"] for line in lines) == after
    assert arms.running(settings, arrival_delay_service, candidate.digest)
    last = replica(f"{SERVICE}--candidate")
    arms.stop(settings, arrival_delay_service)
    last.wait(30)
    assert not arms.running(settings, arrival_delay_service, candidate.digest)


def test_a_rollout_is_moved_until_it_has_ended_and_then_nothing_of_it_runs(deployed: Deployed) -> None:
    from ray import serve

    settings, _ = deployed
    plan = Plan.of(Rollout.canary().document())
    identity = {"version": 9, "digest": "0" * 64}
    returning = State("0", SERVICE, plan, identity, identity, "returning", 0, 0.0, None, time.time(), "me", "slow")
    state.save(settings, returning)
    routes.write(settings, SERVICE, Route("0", "canary", 0, 0.5, "", 2.0, identity))
    deploy.redeploy(settings, SERVICE)
    arms.watch(settings, arrival_delay_service)
    deadline = time.monotonic() + 60
    while any(name.startswith(f"{SERVICE}--") for name in serve.status().applications):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert state.every(settings, SERVICE)[0].status == "returned"
    assert routes.read(settings, SERVICE) is None


def test_a_candidate_that_cannot_predict_does_not_start_and_the_service_goes_on(
    deployed: Deployed, models: tuple[Path, Path]
) -> None:
    settings, _ = deployed
    model = config_of(models[0], version=5).model
    before = client.ask(settings, SERVICE, [QUESTION])[0]["model"]
    with pytest.raises(DeploymentError, match="unheard_of"):
        arms.start(settings, unheard, _registered(model), model.folder)
    assert client.ask(settings, SERVICE, [QUESTION])[0]["model"] == before
