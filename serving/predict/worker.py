"""The thread in which a version of a service works, and how it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serving.door.grouped import Grouped
from serving.predict.outcome import Asked, Outcome

T = TypeVar("T")


class Worker:
    """The one thread in which a service works, so that the event loop is never blocked.

    A read of the online store waits for its writer, with SQLite up to seconds, and health checks must be answered
    meanwhile. One thread is enough: the work is Python code, so two would take turns, and they would share Feast's
    connection.
    """

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="prediction")

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work` after everything that was passed before."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)


class Desk:
    """Asks a version in its worker.

    Single questions that wait there are answered together, since most of the work is the same for one and for many; a
    batch is answered by itself.

    Args:
        work: Answers requests, as `PredictionService.answer` does.
        worker: The thread.
    """

    def __init__(self, work: Callable[[list[Asked]], Sequence[Outcome]], worker: Worker) -> None:
        self._work, self._worker = work, worker
        self._grouped = Grouped(work, worker.executor)

    async def ask(self, asked: Asked) -> Outcome:
        """The outcome of one request; raises what concerns every request."""
        if len(asked.questions) == 1:
            (outcome,) = await self._grouped.add([asked])
        else:
            (outcome,) = await self._worker.run(lambda: self._work([asked]))
        return outcome
