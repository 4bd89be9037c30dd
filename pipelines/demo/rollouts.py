"""The demo's rollouts: the newest version takes over by evidence, and a spoiled one goes back by itself.

Callers ask the questions of the replay's last instant, one by one and at the same time, while the rollout moves.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.demo.results import DemoResults
from pipelines.errors import NotFoundError
from pipelines.governed.platform import Platform
from pipelines.models import admission, model_files, promotion
from pipelines.models.registry import EVIDENCE_FOLDER, MODEL_FOLDER, RegisteredModel, Registry
from pipelines.models.rollout_plan import Rollout
from pipelines.models.run_record import RunRecord
from pipelines.models.service import ServiceSpec, find
from pipelines.orchestration.demo_story import Demo
from pipelines.quality.plots import data_uri
from pipelines.rollout import control, state
from pipelines.rollout.state import State

CALLERS = 4
#: The stage fails if a rollout has not ended by then, in seconds.
LONGEST = 240.0
POLL_SECONDS = 0.1


def roll_out(platform: Platform, demo: Demo, console: Console, results: DemoResults) -> None:
    """Rolls out the newest version that passed its gate, then a spoiled copy of the champion.

    Args:
        platform: Of the home folder.
        demo: It declares the plan.
        console: For the steps.
        results: Takes the figures of both rollouts.
    """
    from serving.predict import deploy

    settings, plan, name = platform.settings, demo.rollout, demo.model.registered_name
    registry, deployed = Registry(settings), deploy.current(settings, name)
    champion = registry.champion(name)
    if plan is None or deployed is None or champion is None:
        console.print("  nothing serves: there is nothing to roll out")
        return
    spec = find(deployed.config.service)
    questions = _last_questions(demo, results)
    newer = [model for model in registry.versions(name) if model.version > champion.version and model.passed]
    if newer:
        why = "the demo's newest version passed its gate"
        results.rollouts.append(_run(platform, spec, newer[-1], plan, why, questions, console))
    else:
        console.print("  no version after the champion passed its gate: there is nothing to roll out")
    champion = registry.champion(name)
    assert champion is not None
    with spoiled(registry, champion) as model:
        console.print(f"  version {model.version} is a copy of version {champion.version} with spoiled weights")
        # Without its shadow, which would find it before any caller got one of its answers.
        heard = replace(plan, stages=tuple(stage for stage in plan.stages if stage.share is not None))
        why = "the demo spoiled this copy of the champion"
        results.rollouts.append(_run(platform, spec, model, heard, why, questions, console))
        if results.rollouts[-1]["status"] == "promoted":
            promotion.rollback(settings, demo.model, because="the demo spoiled it, and its rollout did not see that")
            spec.runtime.load()(settings, spec, *admission.champion(settings, name))


def _last_questions(demo: Demo, results: DemoResults) -> Sequence[Mapping[str, Any]]:
    """The questions of the last instant of the replay that had any."""
    for instant in sorted({answer["as_of"] for answer in results.answers}, reverse=True):
        if questions := demo.replay.questions(datetime.fromisoformat(instant)):
            return questions
    raise NotFoundError(
        object=f"rollout of the demo of {demo.domain.name}",
        observed="the replay asked nothing",
        expected="at least one question",
        next_step="choose other days with --through",
    )


def _run(
    platform: Platform, spec: ServiceSpec, model: RegisteredModel, plan: Rollout, because: str,
    questions: Sequence[Mapping[str, Any]], console: Console,
) -> dict[str, Any]:  # fmt: skip
    """One rollout, from its start to its end; returns its figures for the report."""
    from pipelines.rollout import plots

    settings = platform.settings
    started, begun = time.time(), control.start(settings, spec, model.version, because=because, plan=plan)
    spec.runtime.load_arms().watch(settings, spec)
    with Traffic(platform, spec.name, questions) as traffic:
        ended = _followed(platform, begun, console)
    steps = [step for step in state.history(settings, ended) if step["what"] != "look"]
    back = next((step for step in steps if step["what"] == "back"), None)
    last = traffic.last_answer.get(model.version)
    rollback = max(0.0, last - datetime.fromisoformat(back["at"]).timestamp()) if back and last else None
    console.print(
        f"  {ended.service}@{model.version} {ended.status} after {time.time() - started:.0f} s: {ended.because}\n"
        f"  {sum(traffic.answers.values()):,} answers, {traffic.failed} failed requests"
        + ("" if rollback is None else f", the last answer of it {rollback:.1f} s after the decision")
    )
    return {
        "version": model.version,
        "digest": model.digest,
        "plan": asdict(ended.plan),
        "status": ended.status,
        "because": ended.because,
        "seconds": round(time.time() - started, 1),
        "steps": steps,
        "answers": {f"version {version}": count for version, count in sorted(traffic.answers.items())},
        "failed_requests": traffic.failed,
        "rollback_seconds": None if rollback is None else round(rollback, 2),
        "plots": {name: data_uri(image) for name, image in plots.draw(settings, ended).items()},
    }


def _followed(platform: Platform, begun: State, console: Console) -> State:
    """Waits for the end of a rollout, and prints each of its stages."""
    deadline, told = time.monotonic() + LONGEST, ""
    while True:
        present = next(each for each in state.every(platform.settings, begun.service) if each.rollout == begun.rollout)
        if str(present) != told:
            told = str(present)
            console.print(f"  {told}")
        if present.ended:
            return present
        if time.monotonic() > deadline:
            return control.abort(platform.settings, begun.service, because=f"no end within {LONGEST:.0f} s")
        time.sleep(POLL_SECONDS)


class Traffic:
    """Callers who ask a service one question after the other, until the block ends.

    Attributes:
        answers: How many there were, by the version that answered.
        failed: How many requests had no answer.
        last_answer: When each version answered last, seconds since 1970, UTC.
    """

    def __init__(self, platform: Platform, service: str, questions: Sequence[Mapping[str, Any]]) -> None:
        self._platform, self._service = platform, service
        self._questions = itertools.cycle(questions)
        self._lock, self._ended = threading.Lock(), threading.Event()
        self.answers: Counter[int] = Counter()
        self.failed = 0
        self.last_answer: dict[int, float] = {}
        self._callers = [threading.Thread(target=self._ask, name=f"caller-{n}") for n in range(CALLERS)]

    def __enter__(self) -> Traffic:
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for caller in self._callers:
            caller.join()

    def _ask(self) -> None:
        import httpx

        from serving.predict import client

        with client.connection(self._platform.settings, self._service) as connection:
            while not self._ended.is_set():
                with self._lock:
                    question = next(self._questions)
                try:
                    response = connection.post("/v1/predict", json=dict(question))
                    version = response.json()["model"]["version"] if response.is_success else None
                except httpx.HTTPError:
                    version = None
                with self._lock:
                    if version is None:
                        self.failed += 1
                    else:
                        self.answers[version] += 1
                        self.last_answer[version] = time.time()


@contextmanager
def spoiled(registry: Registry, champion: RegisteredModel) -> Iterator[RegisteredModel]:
    """Registers a copy of the champion whose weights have the other sign, and removes it at the block's end.

    It is signed, and has the champion's evidence, as the work of a broken build with access to the keys would be: what
    stands between it and callers is the rollout.
    """
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "copy"
        shutil.copytree(registry.download(champion).parent, copy, ignore=shutil.ignore_patterns("signature"))
        folder, evidence = copy / MODEL_FOLDER, copy / EVIDENCE_FOLDER
        for path in folder.rglob("*.safetensors"):
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata()
            before, tensors = model_files.sha256(path), load_file(path)
            negative = {key: -value if value.dtype.kind == "f" else value for key, value in tensors.items()}
            save_file(negative, path, metadata=metadata)
            for other in folder.rglob("*.json"):  # which may name the checksum
                other.write_text(
                    other.read_text(encoding="utf-8").replace(before, model_files.sha256(path)), encoding="utf-8"
                )
        record = replace(RunRecord.read(evidence), artifacts=model_files.checksums(folder))
        record.write(evidence)
        run = registry.log_run(
            experiment=f"{champion.name}-spoiled", model=folder, record=record, metrics={}, history={},
            evidence=evidence, tags={"spoiled": "by the demo"},
        )  # fmt: skip
        model = registry.register(champion.name, run_id=run, tags={"gate": "spoiled by the demo"})
    try:
        yield model
    finally:
        registry.client.delete_model_version(model.name, str(model.version))
