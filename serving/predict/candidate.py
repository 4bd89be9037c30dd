"""The candidate of a rollout as a Ray Serve application without an address, which the router of its service asks.

It has processes of its own: a candidate that ends, hangs or takes much memory does not touch the version that serves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from ray import serve
from ray.serve.handle import DeploymentHandle

from pipelines.errors import GoldpathError
from pipelines.settings import Settings
from serving.predict import replicas
from serving.predict.config import ServiceConfig
from serving.predict.outcome import Answered, Asked, Outcome
from serving.predict.service import PredictionService
from serving.predict.worker import Desk, Worker

logger = logging.getLogger(__name__)


class Candidate:
    """One replica of a service's candidate."""

    def __init__(self, config: ServiceConfig, settings: Settings) -> None:
        replicas.prepare(settings)
        self._service = PredictionService(config, settings)
        self._service.check()
        self._worker = Worker()
        self._desk = Desk(self._service.compute, self._worker)

    async def ask(self, asked: Sequence[Asked], seconds: float) -> list[Outcome | str]:
        """What `serving.predict.calls.Candidate` describes."""
        outcomes: list[Outcome | str] = []
        for each in asked:
            is_late = bool(outcomes) and outcomes[-1] == "late"
            outcomes.append("late" if is_late else await self._ask(each, seconds))
        return outcomes

    async def _ask(self, asked: Asked, seconds: float) -> Outcome | str:
        """The answers; or the error, as a value; or its name where it may not be picklable."""
        try:
            async with asyncio.timeout(seconds):
                outcome = await self._desk.ask(replace(asked, asked_at=perf_counter()))
                if asked.mirrored and isinstance(outcome, Answered):
                    return replace(outcome, texts=[], records=[])
                return outcome
        except TimeoutError:
            return "late"
        except GoldpathError as error:
            return error
        except Exception as error:
            logger.exception("request %s was not answered", asked.trace.request_id)
            return type(error).__name__

    async def check_health(self) -> None:
        """Returns when the worker has done what was asked before; Serve replaces a replica whose worker hangs."""
        await self._worker.run(lambda: None)


class Remote:
    """A `serving.predict.calls.Candidate` on the Ray cluster of this process.

    Args:
        service: The service, `domain.name`.
    """

    def __init__(self, service: str) -> None:
        self._application = application_name(service)
        self._digest = ""
        self._handle: DeploymentHandle | None = None

    async def ask(self, asked: Sequence[Asked], digest: str, seconds: float) -> list[Outcome | str]:
        """Raises an error of Ray if this candidate is not there."""
        if self._handle is None or digest != self._digest:
            self._digest, name = digest, deployment_name(digest)
            self._handle = serve.get_deployment_handle(name, self._application, _check_exists=False)
        response = self._handle.ask.remote(asked, seconds)
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return ["cancelled"] * len(asked)  # by Serve, which takes the candidate away


def application_name(service: str) -> str:
    """The name of the candidate's application of a service, `domain.name`."""
    return f"{service}--candidate"


def deployment_name(digest: str) -> str:
    """The name of the candidate's deployment: which model runs is seen without asking it."""
    return f"Candidate-{digest[:16]}"


def application(config: ServiceConfig, settings: Settings) -> serve.Application:
    """The application of a candidate with the settings of one home folder."""
    return replicas.bind(Candidate, deployment_name(config.model.digest), config, settings)
