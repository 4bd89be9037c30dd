"""Shows the candidate what the version that serves has answered, while no caller waits."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

from pipelines.rollout.routes import Route
from serving.predict.calls import Calls
from serving.predict.evidence_log import EvidenceLog
from serving.predict.outcome import Answered, Asked

#: So many questions wait for the candidate or are with it; of more, it sees nothing.
MIRRORED_QUESTIONS = 256
#: So long requests gather, since a call of the candidate costs more than its answers.
GATHER_SECONDS = 0.5


class Mirror:
    """Calls the candidate with the requests that have gathered, one call at a time.

    A request beyond `MIRRORED_QUESTIONS` is left out, and leaves no line of the candidate in the evidence.
    """

    def __init__(self, calls: Calls, evidence: EvidenceLog) -> None:
        self._calls, self._evidence = calls, evidence
        self._waiting: list[tuple[Route, Asked, Answered]] = []
        self._questions = 0
        self._task: asyncio.Task[None] | None = None

    def add(self, route: Route, asked: Asked, answered: Answered) -> None:
        """Adds a request, as the candidate is to be asked, with the answers of the version that serves."""
        questions = len(asked.questions)
        if self._questions and self._questions + questions > MIRRORED_QUESTIONS:
            return
        self._questions += questions
        self._waiting.append((route, asked, answered))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(GATHER_SECONDS)
                waiting, self._waiting = self._waiting, []
                for route, group in itertools.groupby(waiting, key=itemgetter(0)):
                    await self._show(route, list(group))
                self._questions -= sum(len(asked.questions) for _, asked, _ in waiting)
        finally:
            self._task = None

    async def _show(self, route: Route, group: Sequence[tuple[Route, Asked, Answered]]) -> None:
        asked = [replace(each, mirrored=True, asked_at=time.perf_counter()) for _, each, _ in group]
        outcomes = await self._calls.ask(route, asked)
        for each, outcome, (_, _, answered) in zip(asked, outcomes, group, strict=True):
            self._evidence.add(route, "candidate", each, outcome, stable=answered)
