"""Writes what the versions of a service did during a rollout, while no caller waits for it."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipelines.rollout import evidence
from pipelines.rollout.routes import Arm, Route
from pipelines.settings import Settings
from serving.predict.outcome import Answered, Asked

#: So long lines gather; a replica that is killed loses them.
GATHER_SECONDS = 0.1
logger = logging.getLogger(__name__)


class EvidenceLog:
    """Makes the lines of a service's rollouts and appends those that gathered together, in a thread of its own.

    Lines that cannot be written are lost, while callers get their answers; the replica's log says so once for each
    rollout.
    """

    def __init__(self, settings: Settings, service: str) -> None:
        self._settings, self._service = settings, service
        self._writer = uuid.uuid4().hex[:12]
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="evidence")
        self._lines: dict[str, list[Callable[[], Mapping[str, Any]]]] = {}
        self._unwritable: set[str] = set()

    def add(self, route: Route, arm: Arm, asked: Asked, outcome: Answered | str, **others: Answered | None) -> None:
        """Adds the line of a request and an arm; `line` explains the arguments."""
        if not self._lines:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._flush)
        waited_ms = 1_000 * (time.perf_counter() - asked.asked_at)
        make = functools.partial(line, route, arm, asked, outcome, at=time.time(), waited_ms=waited_ms, **others)
        self._lines.setdefault(route.rollout, []).append(make)

    def _flush(self) -> None:
        lines, self._lines = self._lines, {}
        for rollout, its in lines.items():
            self._executor.submit(self._write, rollout, its)

    def _write(self, rollout: str, lines: Sequence[Callable[[], Mapping[str, Any]]]) -> None:
        folder = evidence.folder(self._settings, self._service, rollout)
        try:
            evidence.append(folder, self._writer, *(make() for make in lines))
        except Exception:  # whatever is wrong with evidence costs no answer
            if rollout not in self._unwritable:
                self._unwritable.add(rollout)
                logger.exception("evidence of the rollout %s of %s was not written", rollout, self._service)


def line(
    route: Route,
    arm: Arm,
    asked: Asked,
    outcome: Answered | str,
    *,
    at: float,
    waited_ms: float,
    instead: Answered | None = None,
    stable: Answered | None = None,
) -> dict[str, Any]:
    """A line as `pipelines.rollout.evidence` describes it.

    Args:
        route: Of the rollout.
        arm: Who was asked.
        asked: What the arm was asked.
        outcome: Its answers, or the word for why there are none.
        at: When that was known, seconds since 1970, UTC.
        waited_ms: How long it was waited for, in milliseconds.
        instead: The answers that the caller got where the arm failed.
        stable: The answers that the caller got where those of the arm were dropped.
    """
    returned = stable or instead
    facts: dict[str, Any]
    if isinstance(outcome, Answered):
        told = [{**each, "said": _kept(each["said"])} for each in outcome.told]
        facts = {"ms": outcome.ms, "cpu_ms": outcome.cpu_ms, "failed": None}
    else:
        told = [{"id": None}] * len(asked.questions)
        facts = {"ms": waited_ms, "cpu_ms": None, "failed": outcome}
    if returned is not None:
        told = [{**each, "id": its["id"]} for each, its in zip(told, returned.told, strict=True)]
    fields = [question.model_dump(mode="json", include=set(route.fields)) for question in asked.questions]
    facts |= {"answers": [{**each, "fields": its} for each, its in zip(told, fields, strict=True)]}
    if stable is not None:
        facts |= {"stable": [_kept(each["said"]) for each in stable.told]}
    return {"at": at, "stage": route.stage, "arm": arm, "mirrored": stable is not None, **facts}


def _kept(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is kept of an answer: of a text its SHA-256."""
    if set(said) == {"text"}:
        return {"text": hashlib.sha256(said["text"].encode()).hexdigest()}
    return said
