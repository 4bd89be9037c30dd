"""Divides the questions of a service between its versions, as the rollout's route says.

The version that serves works in this process, the candidate in another one. Whatever the candidate does, callers get
an answer: where it gives none, the version that serves does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pipelines.errors import GoldpathError
from pipelines.models.question import Question
from pipelines.rollout.routes import Arm, Route
from pipelines.settings import Settings
from serving.door.tracing import Trace
from serving.errors import PredictionNotRecorded, RequestError
from serving.predict.calls import Calls, Candidate, word
from serving.predict.evidence_log import EvidenceLog
from serving.predict.mirror import Mirror
from serving.predict.outcome import Answered, Asked, Outcome
from serving.predict.route_file import RouteFile
from serving.predict.service import PredictionService
from serving.predict.worker import Desk, Worker


class Router:
    """Answers the requests of one replica.

    Without a route, the version that serves answers as if there were no router. With one, each question has its arm by
    the route's field, or for itself if it lacks that; a batch is divided, put together again in its order, and answered
    all or none.

    A mirrored request (a route without a share) is answered by the version that serves; its caller waits for nothing
    else. The candidate sees it later, unless too many are before it (`Mirror`), and what it answers is evidence alone.

    A candidate fails by any error, by an answer with a number that is none, by a refusal of what the version that
    serves answers, and by taking longer than the route's deadline. Then the version that serves answers. All answers
    are recorded here, after it is known which of them the caller gets.
    """

    def __init__(self, service: PredictionService, settings: Settings, candidate: Candidate) -> None:
        self.service = service
        self.worker = Worker()
        self._recorded = Desk(service.answer, self.worker)
        self._unrecorded = Desk(service.compute, self.worker)
        self._route = RouteFile(settings, service.spec.name)
        self._evidence = EvidenceLog(settings, service.spec.name)
        self._candidate = Calls(candidate)
        self._mirror = Mirror(self._candidate, self._evidence)

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
        if route.share is None:
            self._mirror.add(route, _asked(route, "candidate", questions, trace), answered)
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
        trying = asyncio.create_task(self._candidate.ask(route, [asked["candidate"]]))
        try:
            if "stable" in asked:
                answered["stable"] = await self._stable(route, asked["stable"], self._unrecorded)
            (outcome,) = await trying
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
            self._evidence.add(route, "stable", asked, word(error))
            raise


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
