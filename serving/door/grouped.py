"""Work that is done once for all who wait: while a call runs, further items gather for the next call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Grouped(Generic[T, R]):
    """Calls `work` with the items of all who wait, in the order in which they were added.

    A sync to the disk takes as long for one line as for a hundred, so the writers of a log share one.

    Args:
        work: Returns one result for each item, or raises for all of them.
        executor: Runs `work`.
    """

    def __init__(self, work: Callable[[list[T]], Sequence[R]], executor: Executor) -> None:
        self._work = work
        self._executor = executor
        self._waiting: list[tuple[Sequence[T], asyncio.Future[list[R]]]] = []
        self._task: asyncio.Task[None] | None = None
        self.depth = 0  #: items without a result yet

    def add(self, items: Sequence[T]) -> asyncio.Future[list[R]]:
        """Adds items; the future holds their results, or the exception of the call that had them."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[R]] = loop.create_future()
        self._waiting.append((items, future))
        self.depth += len(items)
        if self._task is None:
            self._task = loop.create_task(self._drain())
        return future

    async def finish(self) -> None:
        """Returns when every added item has its result."""
        while self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._task)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            items = [item for added, _ in group for item in added]
            try:
                results = list(await loop.run_in_executor(self._executor, self._work, items))
            except Exception as error:  # noqa: BLE001 - all who wait raise it
                _fail(group, error)
            else:
                _distribute(group, results)
            self.depth -= len(items)
        self._task = None


def _distribute(group: Sequence[tuple[Sequence[T], asyncio.Future[list[R]]]], results: list[R]) -> None:
    start = 0
    for items, future in group:
        if not future.done():
            future.set_result(results[start : start + len(items)])
        start += len(items)


def _fail(group: Sequence[tuple[Sequence[T], asyncio.Future[list[R]]]], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
