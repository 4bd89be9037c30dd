"""On Ray Serve, with a registry and callers: rollouts from their start to their end, whatever is killed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assets.flights.service import arrival_delay_service
from pipelines.errors import ModelError
from pipelines.models import decisions, promotion
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.rollout_plan import Guard, Rollout, Stage
from pipelines.models.run_record import RunRecord
from pipelines.models.service import ServiceSpec
from pipelines.rollout import control, routes, state
from pipelines.rollout.state import State
from pipelines.settings import Settings
from ray_jobs.tabular.binary import Binary
from ray_jobs.tabular.calibration import Calibration
from ray_jobs.tabular.model import TabularModel
from serving.predict import deploy
from tests.pipelines.models.trained import write_evidence
from tests.serving.callers import Callers, replica
from tests.serving.conftest import SERVICE

if TYPE_CHECKING:
    from serving.predict.deploy import Endpoint

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
]
#: A candidate may be away for as long as it likes: what a killed one could not answer does not send it back.
PATIENT = (Guard("score", 0.1, minimum=20),)
SHADOW, HALF, ALL = (Stage(name, share, 20, 0, 60) for name, share in [("shadow", None), ("half", 0.5), ("all", 1.0)])
arms = arrival_delay_service.runtime.load_arms()


@dataclass(frozen=True, slots=True)
class Service:
    """A service with three registered versions, of which the first is the champion and serves."""

    settings: Settings
    as_good: RegisteredModel
    worse: RegisteredModel

    def started(self, version: RegisteredModel, *stages: Stage) -> None:
        """Begins a rollout of a version, and lets a program of the cluster move it."""
        spec = planned(*stages)
        control.start(self.settings, spec, version.version, because="it is better")
        arms.watch(self.settings, spec)

    @property
    def newest(self) -> State:
        return state.every(self.settings, SERVICE)[-1]

    def wait(self, until: Callable[[State], bool]) -> State:
        """Waits until the rollout stands so."""
        deadline = time.monotonic() + 90
        while not until(at := self.newest):
            assert time.monotonic() < deadline, f"{at}: {at.because}"
            time.sleep(0.05)
        return at

    def noted(self, what: str) -> float:
        """When a step of the newest rollout was noted last, seconds since 1970."""
        steps = [each for each in state.history(self.settings, self.newest) if each["what"] == what]
        return datetime.fromisoformat(steps[-1]["at"]).timestamp()

    def kill(self, application: str) -> None:
        """Ends the process of an application's replica as the kernel does without memory."""
        process = replica(f"{SERVICE}--{application}")
        process.kill()
        process.wait(30)


def planned(*stages: Stage) -> ServiceSpec:
    """The service with a plan of its model."""
    plan = Rollout("canary", stages, PATIENT)
    return replace(arrival_delay_service, model=replace(arrival_delay_service.model, rollout=plan))


@pytest.fixture(scope="module")
def service(
    deployed: tuple[Settings, Endpoint], models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Service:
    settings, _ = deployed
    shifts = {"as good": -0.2001, "champion": -0.2, "worse": 2.0}

    def registered(what: str) -> RegisteredModel:
        registry, folder = Registry(settings), tmp_path_factory.mktemp(what) / "model"
        model = TabularModel.load(models[0])
        model.objective = Binary(Calibration(1.0, shifts[what]))
        model.save(folder)
        evidence = write_evidence(folder, SERVICE)
        run = registry.log_run(
            experiment=SERVICE, model=folder, record=RunRecord.read(evidence), metrics={"gate_auc": 0.7}, history={},
            evidence=evidence, tags={},
        )  # fmt: skip
        return registry.register(SERVICE, run_id=run, tags={"gate": "passed"})

    champion = registered("champion")
    promotion.promote(settings, arrival_delay_service.model, champion.version, because="the first")
    deploy.deploy_champion(settings, arrival_delay_service, champion, Registry(settings).download_run(champion.run_id))
    return Service(settings, registered("as good"), registered("worse"))


def applications() -> list[str]:
    """The applications of the service's rollouts that run, or are ending."""
    from ray import serve

    return [name for name in serve.status().applications if name.startswith(f"{SERVICE}--")]


def wait_until_nothing_of_it_runs() -> None:
    deadline = time.monotonic() + 60
    while applications():
        assert time.monotonic() < deadline, applications()
        time.sleep(0.1)


def test_a_worse_version_goes_back_by_itself_and_callers_lose_nothing(service: Service) -> None:
    with Callers(service.settings) as callers:
        callers.wait_for("")
        service.started(service.worse, replace(HALF, until="person"), ALL)
        at = service.wait(lambda at: at.ended)
        callers.wait_for("")
    assert (at.status, at.stage) == ("returned", 0)
    assert at.because.startswith("score")
    assert {each.status for each in callers.got} == {200}
    by_candidate = [each.at for each in callers.got if each.arm == "candidate"]
    assert len(by_candidate) >= 20
    assert max(by_candidate) < service.noted("returned")
    assert promoted(service) == 1
    with pytest.raises(ModelError, match="a rollout sent its files back: score"):
        control.start(service.settings, planned(SHADOW), service.worse.version, because="again", by=decisions.GATE)
    wait_until_nothing_of_it_runs()


def test_a_good_version_becomes_the_champion_although_the_programs_of_its_rollout_are_killed(service: Service) -> None:
    with Callers(service.settings) as callers:
        service.started(service.as_good, SHADOW, replace(HALF, until="person"), ALL)
        service.wait(lambda at: at.stage == 1)
        callers.wait_for("candidate")
        service.kill("rollout")
        killed_at = time.time()
        service.kill("candidate")
        service.wait(lambda at: at.looked_at > killed_at)
        callers.wait_for("candidate")
        control.promote(service.settings, SERVICE, because="it is back")
        at = service.wait(lambda at: at.ended)
        callers.wait_for("")
    assert at.status == "promoted", at.because
    assert promoted(service) == service.as_good.version
    decided = decisions.read(service.settings, SERVICE)[-1]
    assert (decided.act, decided.version, decided.decided_by) == ("promote", service.as_good.version, "rollout")
    assert {each.status for each in callers.got} == {200}
    assert callers.got[-1].version == service.as_good.version
    assert routes.read(service.settings, SERVICE) is None
    wait_until_nothing_of_it_runs()


def promoted(service: Service) -> int:
    """The champion's version."""
    champion = Registry(service.settings).champion(SERVICE)
    assert champion is not None
    return champion.version


def test_the_program_of_a_rollout_that_has_ended_already_ends_itself(service: Service) -> None:
    arms.watch(service.settings, arrival_delay_service)
    wait_until_nothing_of_it_runs()
