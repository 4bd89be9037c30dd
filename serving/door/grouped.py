"""Work that is done once for all who wait: while a call runs, what is asked meanwhile gathers for the next one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Grouped(Generic[T, R]):
    """Calls `work` with the items of all who wait, in their order; it gives a result for each or raises for all.

    A sync to the disk takes as long for one line as for a hundred, so a log's writers share one.
    """

    def __init__(self, work: Callable[[list[T]], Sequence[R]], executor: Executor) -> None:
        self._work = work
        self._executor = executor
        self._waiting: list[tuple[Sequence[T], asyncio.Future[list[R]]]] = []
        self._task: asyncio.Task[None] | None = None
        self.depth = 0

    def add(self, items: Sequence[T]) -> asyncio.Future[list[R]]:
        """The results of these items, in time."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[R]] = loop.create_future()
        self._waiting.append((items, future))
        self.depth += len(items)
        if self._task is None:
            self._task = loop.create_task(self._drain())
        return future

    async def finish(self) -> None:
        """Returns when nothing is under way."""
        while self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._task)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            items = [item for some, _ in group for item in some]
            try:
                results = list(await loop.run_in_executor(self._executor, self._work, items))
            except Exception as error:  # noqa: BLE001 - everyone who waits raises it
                _tell(group, error)
            else:
                _give(group, results)
            self.depth -= len(items)
        self._task = None


def _give(group: Sequence[tuple[Sequence[T], asyncio.Future[list[R]]]], results: list[R]) -> None:
    start = 0
    for items, future in group:
        if not future.done():
            future.set_result(results[start : start + len(items)])
        start += len(items)


def _tell(group: Sequence[tuple[Sequence[T], asyncio.Future[list[R]]]], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
