"""Where a run trains, and what waits for it: in this process, or in a job of the cluster that outlives this process.

A job of the cluster has the run's name: a process that asks for a run of that name again waits for the job that is
there, and none starts twice. It ends when a process was told its outcome.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import ray
from ray.exceptions import ActorDiedError

from pipelines.errors import GoldpathError
from pipelines.models.program import Challenge, OnProgress, Place, Program
from ray_jobs.core import requests
from ray_jobs.core.challenge import challenge
from ray_jobs.core.errors import TrainingError
from ray_jobs.core.progress import following
from ray_jobs.core.recipe import TrainingRecipe

#: How long a run may take to leave a checkpoint when the process that waits for it is ended.
STOP_SECONDS = 60.0
#: How many processes may wait for one job.
WAITING = 16


def run(
    program: Program,
    recipe: TrainingRecipe,
    *,
    place: Place,
    storage_path: str,
    run_name: str,
    on_progress: OnProgress,
    **arguments: Any,
) -> Challenge:
    """A `pipelines.models.program.Fabric` for a program; that explains the arguments.

    When this process is interrupted (SIGTERM, Ctrl-C, Dagster's termination), the run leaves a checkpoint and ends
    before the interruption goes on; when the process is killed, a job of the cluster goes on.

    Raises:
        TrainingError, RecipeError, DatasetError, MetricError: as `challenge` does; TrainingError also if the nodes of
            a job went away more often than the recipe's `max_failures`.
    """
    folder = Path(storage_path) / run_name
    work = partial(challenge, program, recipe, storage_path=storage_path, run_name=run_name, **arguments)
    ask = work if place == "process" else partial(_ask_job, run_name, recipe.max_failures, work)
    requests.withdraw(folder)
    with following(folder, on_progress):
        return _stopped_if_interrupted(_in_a_thread(ask), folder)


def _stopped_if_interrupted(outcome: Future[Challenge], folder: Path) -> Challenge:
    try:
        return outcome.result()
    except Exception:
        raise
    except BaseException:
        signal.alarm(0)  # Ray aborts a process that lives 3 seconds after its SIGTERM
        if not outcome.done():
            requests.ask_to_stop(folder)
            wait([outcome], STOP_SECONDS)
        raise


def _in_a_thread(work: Callable[[], Challenge]) -> Future[Challenge]:
    """Leaves the main thread to signals; the thread does not keep this process from ending."""
    outcome: Future[Challenge] = Future()

    def settle() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the thread that waits raises it
            outcome.set_exception(error)

    Thread(target=settle, name="training", daemon=True).start()
    return outcome


def _ask_job(name: str, max_failures: int, work: Callable[[], Challenge]) -> Challenge:
    """Waits for the job of this name, and starts it if there is none; after its node went away, in a new one."""
    for _ in range(max_failures + 1):
        job: Any = ray.remote(Job).options(
            name=f"training/{name}", lifetime="detached", get_if_exists=True, num_cpus=0, max_concurrency=WAITING
        ).remote()  # fmt: skip
        with contextlib.suppress(ActorDiedError):
            outcome = ray.get(job.outcome.remote(work))
            ray.kill(job)
            if isinstance(outcome, GoldpathError):
                raise outcome
            return outcome
    raise TrainingError(
        object=f"training run {name}",
        observed=f"its job on the cluster ended {max_failures + 1} times before the training did",
        expected=f"at most {max_failures} failures",
        next_step="read the logs of the cluster's nodes, and start it again: it goes on after the last checkpoint",
    )


class Job:
    """The actor that trains: once, for every process that asks."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._outcome: Future[Challenge] | None = None

    def outcome(self, work: Callable[[], Challenge]) -> Challenge | GoldpathError:
        """The result of the work, which the first call starts; an error of ours instead of raising it."""
        with self._lock:
            if self._outcome is None:
                self._outcome = _in_a_thread(work)
        try:
            return self._outcome.result()
        except GoldpathError as error:
            return error
