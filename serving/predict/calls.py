"""Calls of the candidate, which may end, hang or fail at any time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from pipelines.rollout.routes import Route
from serving.errors import NotANumber
from serving.predict.outcome import Answered, Asked, Outcome

#: After so many calls in a row without any answer the candidate counts as ended: callers no longer wait for it.
FAILURES = 3
#: Once in this time an ended candidate is called, while the caller is answered by the other version, until it is back.
RETRY_SECONDS = 0.5


class Candidate(Protocol):
    """The other version, in a process of its own."""

    async def ask(self, asked: Sequence[Asked], digest: str, seconds: float) -> list[Outcome | str]:
        """What becomes of each request: answers, which are in no log; a refusal; or the word for a failure.

        May raise any exception.

        Args:
            asked: Requests, which are answered one after the other.
            digest: Of the model that is asked.
            seconds: How long each may take; those after a late one count as late.
        """
        ...


class Calls:
    """The calls of one replica, which make a word of every failure."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._rollout, self._failures, self._next_try = "", 0, 0.0
        self._retrying: asyncio.Task[object] | None = None

    async def ask(self, route: Route, asked: Sequence[Asked]) -> list[Answered | str]:
        """The candidate's answers to each request, or the word for why there are none."""
        if route.rollout != self._rollout:
            self._rollout, self._failures = route.rollout, 0
        if self._failures < FAILURES:
            return await self._reach(route, asked)
        if time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + RETRY_SECONDS
            self._retrying = asyncio.create_task(self._reach(route, asked[:1]))
        return ["unavailable"] * len(asked)

    async def _reach(self, route: Route, asked: Sequence[Asked]) -> list[Answered | str]:
        digest, seconds = route.candidate["digest"], route.deadline_seconds
        try:
            async with asyncio.timeout(seconds * len(asked)):
                outcomes = await self._candidate.ask(asked, digest, seconds)
        except Exception as error:  # noqa: BLE001 - whatever ends the candidate concerns no caller
            self._failures += 1
            return ["late" if isinstance(error, TimeoutError) else word(error)] * len(asked)
        self._failures = self._failures + 1 if outcomes[0] == "late" else 0
        return [_judged(outcome, digest) for outcome in outcomes]


def word(error: Exception) -> str:
    """What evidence calls an error."""
    return "not_a_number" if isinstance(error, NotANumber) else type(error).__name__


def _judged(outcome: Outcome | str, digest: str) -> Answered | str:
    if isinstance(outcome, Exception):
        return word(outcome)
    return "another_version" if isinstance(outcome, Answered) and outcome.digest != digest else outcome
