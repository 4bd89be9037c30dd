"""Moves rollouts: what people ask for, and what the evidence says.

Everything happens under one lock of the service, and is noted before it is done. What a killed process has left undone,
the next look does: the state says what is being done, and the route and the candidate's program are made to agree with
it at each look.
"""

from __future__ import annotations

import getpass
import logging
import math
import time
from dataclasses import replace
from pathlib import Path

from pipelines.errors import DamagedError, GoldpathError, ModelError, NotFoundError, SettingsError, TransientError
from pipelines.machine.ids import uuid7
from pipelines.models import admission, decisions, promotion
from pipelines.models.decisions import GATE, ROLLOUT
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.rollout_plan import Plan, Rollout
from pipelines.models.service import Arms, ServiceSpec
from pipelines.rollout import evidence, moves, routes, state
from pipelines.rollout.decide import Verdict, decide
from pipelines.rollout.outcomes import OutcomeTable
from pipelines.rollout.state import State
from pipelines.rollout.tally import Tally
from pipelines.settings import Settings

#: Of the time between two looks, no more than this counts for a stage: a clock that jumps, or a machine that was off,
#: neither ends a stage nor lets it miss its evidence.
LONGEST_LOOK_SECONDS = 60.0
#: The state is saved at least this often, in seconds; figures are noted as often, and less often in long stages.
SAVE_SECONDS, NOTED_SHARE = 5.0, 0.02
#: How much a bandit's share has to change before it is changed.
LEAST_CHANGE = 0.02

logger = logging.getLogger(__name__)


def start(
    settings: Settings,
    spec: ServiceSpec,
    version: int,
    *,
    because: str,
    by: str | None = None,
    plan: Rollout | None = None,
) -> State:
    """Begins the rollout of a registered version; the controller does the rest.

    Args:
        settings: Of the home folder.
        spec: The service; its model declares the plan.
        version: The candidate's.
        because: Why, for people who read it later.
        by: Who starts it; None for the user.
        plan: Another plan than the one that the model declares.

    Raises:
        SettingsError: if no plan is declared, no reason given, or the version serves already.
        NotFoundError: if there is no such version, or nothing serves yet.
        ModelError: if the version may not serve, waits for an approval, was sent back by a rollout (unless a person
            starts it again), or another rollout is under way.
    """
    name, registry = spec.name, Registry(settings)
    declared = plan or spec.model.rollout
    if declared is None or not because.strip():
        raise SettingsError(
            object=f"rollout of {name}@{version}",
            observed="no reason is given" if declared else "the model declares no plan",
            expected="why it begins" if declared else "rollout=Rollout.canary(...) in the model's ModelSpec",
            next_step="give the reason with --because" if declared else f"goldpath model promote {name} {version}",
        )
    with moves.moving(settings, name):
        if (present := state.active(settings, name)) is not None:
            raise moves.refused(name, version, f"{present} is under way", "one rollout at a time",
                           f"goldpath rollout abort {name}, or wait for its end")  # fmt: skip
        candidate, stable = registry.version(name, version), registry.champion(name)
        if stable is None:
            raise NotFoundError(
                object=f"rollout of {candidate}",
                observed=f"{name} has no champion",
                expected="a version that serves, with which the candidate is compared",
                next_step=f"goldpath materialize models/{name.replace('.', '/')} serving/{name.replace('.', '/')}",
            )
        if stable.digest == candidate.digest:
            raise SettingsError(
                object=f"rollout of {candidate}",
                observed="it is the champion",
                expected="another version",
                next_step=f"goldpath model show {name} lists the versions",
            )
        if by == GATE and (before := state.rejected(settings, name).get(candidate.digest)) is not None:
            raise moves.refused(name, version, f"a rollout sent its files back: {before.because}",
                           "a version that no rollout sent back, or a person who starts it",
                           f'goldpath rollout start {name} {version} --because "…"')  # fmt: skip
        folder = registry.download_run(candidate.run_id)
        admission.require(settings, folder, name=name, digest=candidate.digest)
        if (missing := promotion.awaits(settings, spec.model.risk, candidate)) is not None:
            raise moves.refused(name, version, missing, "an approval, which says who looked at it and why it may serve",
                           f'goldpath model approve {name} {version} --because "…"')  # fmt: skip
        chosen = Plan.of(declared.document())
        who = by or getpass.getuser()
        begun = State(
            str(uuid7()), name, chosen, moves.identity(candidate), moves.identity(stable), "starting", 0, 0.0,
            chosen.stages[0].share, time.time(), who, because,
        )  # fmt: skip
        state.note(settings, begun, "start", by=who, because=because)
        state.save(settings, begun)
        return begun


def pause(settings: Settings, service: str, *, because: str) -> State:
    """Keeps the share as it is until a person goes on; guards still send a broken candidate back."""
    with moves.asked(settings, service), moves.moving(settings, service):
        present = moves.under_way(settings, service, "running")
        return moves.told(settings, present, "pause", because, status="paused")


def resume(settings: Settings, service: str, *, because: str) -> State:
    """Goes on with a paused rollout; a stage whose longest time has passed gets its time again."""
    with moves.asked(settings, service), moves.moving(settings, service):
        present = moves.under_way(settings, service, "paused")
        over = present.minutes >= present.plan.stages[present.stage].maximum_minutes
        minutes = 0.0 if over else present.minutes
        return moves.told(
            settings, present, "resume", because, status="running", minutes=minutes, looked_at=time.time()
        )


def promote(settings: Settings, service: str, *, because: str, full: bool = False) -> State:
    """Ends the present stage well, or with `full` all of them, by a person's word. Broken guards still count."""
    with moves.asked(settings, service), moves.moving(settings, service):
        present = moves.under_way(settings, service, "running", "paused")
        last = len(present.plan.stages) - 1
        if full or present.stage == last:
            return moves.told(settings, present, "promote", because, status="promoting")
        present = moves.told(settings, present, "promote", because, status="running", looked_at=time.time())
        return moves.staged(settings, present, present.stage + 1)


def abort(settings: Settings, service: str, *, because: str) -> State:
    """Sends the candidate back now: when this returns, the route is gone.

    It is gone at once, even while another process holds the lock, as one that starts the candidate again does for long.

    Raises:
        NotFoundError: if no rollout is under way that can go back.
        DamagedError: if its state cannot be read; the route is gone all the same.
        SettingsError: if no reason is given, or a file of the rollout cannot be written.
    """
    moves.require_reason(service, because)
    with moves.asked(settings, service):
        routes.remove(settings, service)
        with moves.moving(settings, service):
            present = moves.under_way(settings, service, "starting", "running", "paused")
            present = moves.told(settings, present, "back", because, status="returning")
            routes.remove(settings, service)
            return present


class Controller:
    """Looks at one service's rollout; keeps what it read, so that a look reads new evidence alone.

    Several may look at the same service, in several processes: they take turns.

    Args:
        settings: Of the home folder.
        spec: The service.
        arms: Starts and stops the candidate's program.
    """

    def __init__(self, settings: Settings, spec: ServiceSpec, arms: Arms) -> None:
        self._settings, self._spec, self._arms = settings, spec, arms
        self._rollout = ""
        #: By the clock that does not jump, in seconds.
        self._saved = self._noted = -math.inf

    def look(self) -> State | None:
        """Does what is to be done now; returns where the rollout stands, None if there is none.

        Raises:
            LockTimeout: if another process moves the rollout for too long.
            DamagedError: if the state cannot be read.
            OSError: if a step cannot be noted, as on a full disk. The serving version answers everything then, as with
                a damaged state: nobody would guard the candidate.
        """
        with moves.moving(self._settings, self._spec.name):
            try:
                return self._step()
            except BaseException as error:
                self._rollout = ""  # the next look begins as a new process does
                if isinstance(error, (DamagedError, OSError)):
                    routes.remove(self._settings, self._spec.name)
                if not isinstance(error, TransientError):
                    moves.hindered(self._settings, self._spec.name, error)
                raise

    def _step(self) -> State | None:
        settings, name = self._settings, self._spec.name
        present = state.active(settings, name)
        if present is None:
            routes.remove(settings, name)
            return None
        if present.rollout != self._rollout:
            self._open(present)
            if (left := moves.left_undone(settings, present)) is not None:
                return self._back(present, left)
        match present.status:
            case "starting":
                return self._start(present)
            case "running" | "paused":
                return self._look(present)
            case "promoting":
                return self._finish(present)
            case _:
                return self._return(present)

    def _open(self, present: State) -> None:
        self._rollout = present.rollout
        self.tally = Tally(present.plan)
        self._reader = evidence.Reader(evidence.folder(self._settings, present.service, present.rollout))
        outcomes = present.plan.outcomes
        self._outcomes = OutcomeTable(self._settings, outcomes) if outcomes else None

    def _start(self, present: State) -> State:
        if (failure := self._failure_to_start(present)) is not None:
            return self._back(present, f"it did not start: {failure}")
        running = replace(present, status="running", looked_at=time.time(), attempts=0, failure="")
        return moves.staged(self._settings, running, 0)

    def _look(self, present: State) -> State:
        settings, before = self._settings, present
        if (failure := self._failure_to_start(present)) is not None:
            return self._back(present, f"it did not start again: {failure}")
        if routes.read(settings, present.service) != present.route:
            moves.route(settings, present)
        now, ticks = time.time(), time.monotonic()
        passed = min(max(now - present.looked_at, 0.0), LONGEST_LOOK_SECONDS) if present.status == "running" else 0.0
        present = replace(present, minutes=present.minutes + passed / 60, looked_at=now, attempts=0, failure="")
        verdict = self.verdict(present)
        # A route whose evidence cannot be judged is not renewed, and ends.
        routes.renew(settings, present.service)
        if verdict.action == "back":
            return self._back(present, verdict.because, verdict)
        if present.status == "paused":
            verdict = replace(verdict, action="stay", share=present.share)
        if verdict.action == "pause":
            self._note(present, "pause", verdict)
            present = replace(present, status="paused", because=verdict.because)
        elif verdict.action == "next":
            self._note(present, "stage", verdict)
            if present.stage + 1 < len(present.plan.stages):
                return moves.staged(settings, present, present.stage + 1)
            present = replace(present, status="promoting", because=verdict.because)
        elif verdict.share is not None and abs(verdict.share - (present.share or 0.0)) >= LEAST_CHANGE:
            self._note(present, "share", verdict)
            present = replace(present, share=verdict.share)
            moves.route(settings, present)
        changed = any(getattr(present, name) != getattr(before, name) for name in ("status", "share", "attempts"))
        if changed or ticks - self._saved >= SAVE_SECONDS:
            state.save(settings, present)
            self._saved = ticks
        if ticks - self._noted >= max(SAVE_SECONDS, 60 * present.minutes * NOTED_SHARE):
            self._noted = ticks
            self._note(present, "look", verdict)
        return present

    def verdict(self, present: State) -> Verdict:
        """What the evidence says by now."""
        self.tally.add(self._reader.new())
        if self._outcomes is not None:
            self.tally.learn(self._outcomes.known(self.tally.waiting_for_outcomes))
        return decide(self.tally, present.stage, present.minutes)

    def _failure_to_start(self, present: State) -> str | None:
        """Starts the candidate's program unless it runs; why that failed, or None.

        Raises:
            TransientError: if something else is in the way, such as the deployment of another service: the candidate
                may start at a later look.
        """
        try:
            registry = Registry(self._settings)
            if not self._arms.running(self._settings, self._spec, present.candidate["digest"]):
                # Questions that reach nobody are no evidence against the candidate.
                routes.remove(self._settings, present.service)
                model = registry.version(present.service, present.candidate["version"])
                self._arms.start(self._settings, self._spec, model, registry.download_run(model.run_id))
        except TransientError:
            raise
        except GoldpathError as error:
            return error.observed
        return None

    def _back(self, present: State, because: str, verdict: Verdict | None = None) -> State:
        # The route first: from here on the candidate answers no question, whatever happens to this process.
        routes.remove(self._settings, present.service)
        self._note(present, "back", verdict or Verdict("back", because))
        present = replace(present, status="returning", because=because)
        state.save(self._settings, present)
        return self._return(present)

    def _return(self, present: State) -> State:
        routes.remove(self._settings, present.service)
        self._arms.stop(self._settings, self._spec)
        present = replace(present, status="returned", looked_at=time.time())
        state.note(self._settings, present, "returned", by=ROLLOUT, because=present.because)
        state.save(self._settings, present)
        logger.warning("rollout %s: %s", present, present.because)
        return present

    def _finish(self, present: State) -> State:
        """Makes the candidate the champion, in the registry and behind the service."""
        settings, name = self._settings, present.service
        routes.renew(settings, name)
        registry = Registry(settings)
        with promotion.deciding(settings, name):
            model, before = registry.version(name, present.candidate["version"]), registry.champion(name)
            folder = registry.download_run(model.run_id)
            if before is None or before.digest != model.digest:
                if (objection := self._objection(present, model, before, folder)) is not None:
                    return self._back(present, objection)
                because = f"rollout {present.rollout[:13]}, {present.plan.name}: {present.because}"
                promotion.make_champion(settings, registry, "promote", model, before, folder, because, by=ROLLOUT)
        if moves.waits(present):
            return present
        self._arms.finish(settings, self._spec, model, folder)
        routes.remove(settings, name)
        self._arms.stop(settings, self._spec)
        present = replace(present, status="promoted", looked_at=time.time())
        state.note(settings, present, "promoted", by=ROLLOUT, because=present.because)
        state.save(settings, present)
        return present

    def _objection(
        self, present: State, model: RegisteredModel, before: RegisteredModel | None, folder: Path
    ) -> str | None:
        """Why the candidate cannot become the champion after all, or None."""
        if before is None or before.digest != present.stable["digest"]:
            return f"the champion is {before or 'none'} by now, with which it was not compared"
        began = state.history(self._settings, present)[0]["at"]
        for each in decisions.read(self._settings, model.name):
            if (each.act, each.before) == ("rollback", model.version) and each.decided_at > began:
                return f"{each.decided_by} rolled it back: {each.because}"
        try:
            admission.require(self._settings, folder, name=model.name, digest=present.candidate["digest"])
        except ModelError as error:
            return error.observed
        return None

    def _note(self, present: State, what: str, verdict: Verdict) -> None:
        answers = {arm: self.tally.answers[present.stage, arm] for arm in ("stable", "candidate")}
        state.note(
            self._settings, present, what, by=ROLLOUT, because=verdict.because, figures=verdict.figures,
            answers=answers, read=self._reader.offsets,
        )  # fmt: skip
