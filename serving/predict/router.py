"""Divides the questions of a service between its versions, as the rollout's route says.

The version that serves works in this process, the candidate in another one. Whatever the candidate does, callers get
an answer: where it gives none, the version that serves does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from pipelines.errors import GoldpathError
from pipelines.models.question import Question
from pipelines.rollout.routes import Arm, Route
from pipelines.settings import Settings
from serving.door.tracing import Trace
from serving.errors import NotANumber, PredictionNotRecorded, RequestError
from serving.predict.evidence_log import EvidenceLog
from serving.predict.outcome import Answered, Asked, Outcome
from serving.predict.route_file import RouteFile
from serving.predict.service import PredictionService
from serving.predict.worker import Desk, Worker

#: So many mirrored requests are with the candidate at once; of more, the candidate sees nothing.
MIRRORED_REQUESTS = 32
#: A mirrored request is sent so long after its caller's answer, so that it does not delay that.
MIRROR_SECONDS = 0.005
#: After so many requests in a row without any answer the candidate counts as ended: callers no longer wait for it.
FAILURES = 3
#: Once in this time a request is sent to an ended candidate, beside the answer to its caller, until it is back.
RETRY_SECONDS = 0.5


class Candidate(Protocol):
    """The other version, in a process of its own."""

    async def ask(self, asked: Asked, digest: str) -> Outcome | str:
        """Its answers, which are in no log; its refusal; or the word for its failure. May raise any exception.

        Args:
            asked: One request.
            digest: Of the model that is asked.
        """
        ...


class Router:
    """Answers the requests of one replica.

    Without a route, the version that serves answers as if there were no router. With one, each question has its arm by
    the route's field, or for itself if it lacks that; a batch is divided, put together again in its order, and answered
    all or none.

    A mirrored request (a route without a share) is answered by the version that serves; its caller waits for nothing
    else. The candidate sees it later, unless `MIRRORED_REQUESTS` are with it already, and what it answers is kept as
    evidence alone.

    A candidate fails by any error, by an answer with a number that is none, by a refusal of what the version that
    serves answers, and by taking longer than the route's deadline. Then the version that serves answers. All answers
    are recorded here, after it is known which of them the caller gets.
    """

    def __init__(self, service: PredictionService, settings: Settings, candidate: Candidate) -> None:
        self.service = service
        self.worker = Worker()
        self._candidate = candidate
        self._recorded = Desk(service.answer, self.worker)
        self._unrecorded = Desk(service.compute, self.worker)
        self._route = RouteFile(settings, service.spec.name)
        self._evidence = EvidenceLog(settings, service.spec.name)
        self._background: set[asyncio.Task[Any]] = set()
        self._tried, self._failures, self._next_try = "", 0, 0.0

    async def answer(self, questions: Sequence[Question], trace: Trace) -> list[str]:
        """The answers to the questions of one request as JSON texts, in their order; they are recorded.

        Raises:
            RequestError: if a question is wrong; then none is answered.
            NotANumber: if the model's answer is none; then none is answered.
            FeatureStoreUnavailable: if the online store does not answer.
            PredictionNotRecorded: if the prediction log cannot be written.
        """
        route = self._route.current()
        if route is None:
            return _required(await self._recorded.ask(Asked(questions, trace))).texts
        arms = [_arm(route, question, f"{trace.request_id}/{place}") for place, question in enumerate(questions)]
        if "candidate" not in arms:
            return await self._by_stable(route, questions, trace)
        return await self._by_both(route, arms, questions, trace)

    async def _by_stable(self, route: Route, questions: Sequence[Question], trace: Trace) -> list[str]:
        asked = _asked(route, "stable", questions, trace)
        answered = await self._stable(route, asked, self._recorded)
        self._evidence.add(route, "stable", asked, answered)
        if route.share is None and len(self._background) < MIRRORED_REQUESTS:
            self._in_background(self._mirror(route, asked, answered))
        return answered.texts

    async def _by_both(
        self, route: Route, arms: Sequence[Arm], questions: Sequence[Question], trace: Trace
    ) -> list[str]:
        places: dict[Arm, list[int]] = {arm: [] for arm in arms}
        for place, arm in enumerate(arms):
            places[arm].append(place)
        asked = {
            arm: _asked(route, arm, [questions[place] for place in its], trace, its if len(questions) > 1 else ())
            for arm, its in places.items()
        }
        answered: dict[Arm, Answered] = {}
        trying = asyncio.create_task(self._try(route, asked["candidate"]))
        try:
            if "stable" in asked:
                answered["stable"] = await self._stable(route, asked["stable"], self._unrecorded)
            outcome = await trying
        finally:
            trying.cancel()
        if isinstance(outcome, Answered):
            answered["candidate"], instead = outcome, None
        else:
            again = _asked(route, "stable", asked["candidate"].questions, trace, asked["candidate"].places)
            answered["candidate"] = instead = _required(await self._unrecorded.ask(again))
        await self.worker.run(lambda: self.service.record(list(answered.values())))
        if "stable" in asked:
            self._evidence.add(route, "stable", asked["stable"], answered["stable"])
        self._evidence.add(route, "candidate", asked["candidate"], outcome, instead=instead)
        texts = {
            place: text for arm, its in places.items() for place, text in zip(its, answered[arm].texts, strict=True)
        }
        return [texts[place] for place in range(len(questions))]

    async def _stable(self, route: Route, asked: Asked, desk: Desk) -> Answered:
        """The answers of the version that serves; raises its error, which is evidence if it is about the version."""
        try:
            return _required(await desk.ask(asked))
        except (RequestError, PredictionNotRecorded):
            raise
        except Exception as error:
            self._evidence.add(route, "stable", asked, _word(error))
            raise

    async def _mirror(self, route: Route, stable: Asked, answered: Answered) -> None:
        await asyncio.sleep(MIRROR_SECONDS)
        asked = _asked(route, "candidate", stable.questions, stable.trace)
        self._evidence.add(route, "candidate", asked, await self._try(route, asked), stable=answered)

    async def _try(self, route: Route, asked: Asked) -> Answered | str:
        """The candidate's answers, or the word for why there are none."""
        if route.rollout != self._tried:
            self._tried, self._failures = route.rollout, 0
        if self._failures < FAILURES:
            return await self._reach(route, asked)
        if time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + RETRY_SECONDS
            self._in_background(self._reach(route, asked))
        return "unavailable"

    async def _reach(self, route: Route, asked: Asked) -> Answered | str:
        try:
            async with asyncio.timeout(route.deadline_seconds):
                outcome = await self._candidate.ask(asked, str(route.candidate["digest"]))
        except Exception as error:  # noqa: BLE001 - whatever ends the candidate concerns no caller
            self._failures += 1
            return "late" if isinstance(error, TimeoutError) else _word(error)
        self._failures = 0
        if isinstance(outcome, Answered) and outcome.digest != route.candidate["digest"]:
            return "another_version"
        return _word(outcome) if isinstance(outcome, Exception) else outcome

    def _in_background(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)  # the loop itself would not keep it
        task.add_done_callback(self._background.discard)


def _arm(route: Route, question: Question, own: str) -> Arm:
    """Who answers a question; `own` is its key where it lacks the field by which the route assigns."""
    key = getattr(question, route.assigned_by, None) if route.assigned_by else None
    return route.arm(own if key is None else str(key))


def _asked(route: Route, arm: Arm, questions: Sequence[Question], trace: Trace, places: Sequence[int] = ()) -> Asked:
    return Asked(questions, trace, {"plan": route.plan, "arm": arm}, places)


def _required(outcome: Outcome) -> Answered:
    """The answers; raises the error."""
    if isinstance(outcome, GoldpathError):
        raise outcome
    return outcome


def _word(error: Exception) -> str:
    return "not_a_number" if isinstance(error, NotANumber) else type(error).__name__
