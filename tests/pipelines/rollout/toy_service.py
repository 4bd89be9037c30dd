"""A service whose model has versions that were registered without training, and whose callers are written by hand."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pipelines.models import promotion
from pipelines.models.question import Column, Question
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.rollout_plan import Guard, Rollout
from pipelines.models.run_record import RunRecord
from pipelines.models.service import Runtime, ServiceSpec
from pipelines.models.spec import ModelSpec
from pipelines.rollout import control, evidence, routes, state
from pipelines.rollout.routes import Route
from pipelines.rollout.state import State
from pipelines.settings import Settings
from tests.pipelines.models.trained import toy_spec, write_evidence
from tests.pipelines.rollout import arms

#: Shadow, half of the questions, all; a stage ends well after 60 answers.
PLAN = Rollout.canary(
    (0.5,), answers=60, minutes=0, maximum_minutes=60, guards=(Guard("errors", 0.05), Guard("missing", 0.3))
)
ARMS = Runtime("nowhere:deploy", arms.__name__)


class BrickQuestion(Question):
    """Is this brick late?"""

    nobody: ClassVar[dict[str, object]] = {"brick": "none"}

    brick: str

    @property
    def subject(self) -> str:
        return self.brick

    def columns(self) -> dict[str, Column]:
        return {"brick": self.brick}


def toy_service(model: ModelSpec, plan: Rollout | None = PLAN) -> ServiceSpec:
    """The service of a toy model, with a plan."""
    return ServiceSpec(replace(model, rollout=plan), BrickQuestion, ARMS)


def registered(settings: Settings, name: str, folder: Path, weights: bytes, **tags: str) -> RegisteredModel:
    """A version of a model that may serve."""
    registry, model = Registry(settings), folder / uuid.uuid4().hex / "model"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(weights)
    written = write_evidence(model, name)
    run_id = registry.log_run(
        experiment=name, model=model, record=RunRecord.read(written), metrics={}, history={}, evidence=written, tags={}
    )
    return registry.register(name, run_id=run_id, tags=tags)


@dataclass(slots=True)
class ToyRollout:
    """A service with version 1 as champion, and version 2."""

    settings: Settings
    spec: ServiceSpec

    @classmethod
    def at(cls, settings: Settings, folder: Path, plan: Rollout | None = PLAN) -> ToyRollout:
        """Registers both versions in a home."""
        model = toy_spec("bricks", folder)
        for weights in (b"1", b"2"):
            registered(settings, model.registered_name, folder, weights)
        promotion.promote(settings, model, 1, because="the first")
        return cls(settings, toy_service(model, plan))

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def champion(self) -> int:
        champion = Registry(self.settings).champion(self.name)
        assert champion is not None
        return champion.version

    @property
    def route(self) -> Route | None:
        return routes.read(self.settings, self.name)

    @property
    def newest(self) -> State:
        return state.every(self.settings, self.name)[-1]

    def started(self, version: int = 2, **more: Any) -> State:
        return control.start(self.settings, self.spec, version, because="it is better", **more)

    def controller(self) -> control.Controller:
        return control.Controller(self.settings, self.spec, arms)

    def steps(self) -> list[str]:
        """What the history holds, without looks."""
        return [step["what"] for step in state.history(self.settings, self.newest) if step["what"] != "look"]

    def asked(self, count: int = 60, *, failed: bool = False) -> None:
        """Callers ask so many questions of each version in the present stage."""
        present = self.newest
        folder = evidence.folder(self.settings, self.name, present.rollout)
        mirrored = present.plan.stages[present.stage].share is None
        said = {"probability": 0.3, "decision": "no"}
        for number in range(count):
            for arm in ("stable", "candidate"):
                bad, copied = failed and arm == "candidate", mirrored and arm == "candidate"
                answer: dict[str, Any] = {"id": f"{present.stage}-{number}", "fields": {}}
                if not bad:
                    answer |= {"said": said, "missing": 0.0}
                line = {
                    "at": time.time(), "stage": present.stage, "arm": arm, "mirrored": copied, "ms": 5.0,
                    "cpu_ms": 1.0, "failed": "late" if bad else None, "answers": [answer],
                }  # fmt: skip
                evidence.append(folder, "toy", line | ({"stable": [said]} if copied else {}))
