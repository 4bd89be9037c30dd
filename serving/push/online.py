"""Pushed events on their way to the online store: checked, gathered, applied by one thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pipelines import clock
from pipelines.errors import GoldpathError
from pipelines.medallion.push_source import OnlineMove, PushSource, Values
from pipelines.settings import Settings
from pipelines.verdict.event import check
from serving.door.grouped import Grouped

if TYPE_CHECKING:
    from feature_repo.online_moves import OnlineMover

logger = logging.getLogger(__name__)
#: What an acknowledgement says of features: `broken` breaks the contract; `pending` is applied as soon as the store is
#: free; `unavailable` could not be applied; `none` has none to move. The others are those of
#: `feature_repo.online_moves`.
BROKEN, PENDING, UNAVAILABLE, NONE = "broken", "pending", "unavailable", "none"


class OnlinePath:
    """Moves the online features of one home folder.

    Args:
        settings: Whose store.
        seconds: How long an acknowledgement waits for the store, which a run may be moving at the moment.
    """

    def __init__(self, settings: Settings, seconds: float) -> None:
        self._settings = settings
        self._seconds = seconds
        self._mover: OnlineMover | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="push-online")
        self._grouped = Grouped(self._apply, self._executor)

    @property
    def depth(self) -> int:
        """Events that wait."""
        return self._grouped.depth

    async def move(self, source: PushSource, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """For each event what became of its features: `online`, and `broken` with the rules that it breaks."""
        if source.online is None:
            return [{"online": NONE}] * len(events)
        told: list[dict[str, Any]] = []
        good: list[tuple[OnlineMove, Values]] = []
        for event in events:
            values, broken = check(event, source.silver)
            rules = [{"rule": b.code, "column": b.column, "observed": b.observed} for b in broken]
            told.append({"online": BROKEN, "broken": rules} if rules else {"online": PENDING})
            if not rules:
                good.append((source.online, values))
        if good:
            future = self._grouped.add(good)
            done, _ = await asyncio.wait([future], timeout=self._seconds)
            outcomes = iter(future.result() if done else [PENDING] * len(good))
            told = [each if each["online"] == BROKEN else {"online": next(outcomes)} for each in told]
        return told

    async def check(self) -> None:
        """Returns once what is needed to apply events is loaded."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._opened)

    async def close(self) -> None:
        """Applies what waits."""
        await self._grouped.finish()
        self._executor.shutdown()

    def _apply(self, items: list[tuple[OnlineMove, Values]]) -> list[str]:
        outcomes = [UNAVAILABLE] * len(items)
        for online in dict.fromkeys(online for online, _ in items):
            places = [place for place, (its, _) in enumerate(items) if its is online]
            try:
                moved = self._opened().move(online, [items[place][1] for place in places], clock.now(self._settings))
            except Exception as error:
                ours = isinstance(error, GoldpathError)
                logger.warning("%d events did not move %s: %s", len(places), online.view, error, exc_info=not ours)
                continue
            for place, outcome in zip(places, moved, strict=True):
                outcomes[place] = outcome
        return outcomes

    def _opened(self) -> OnlineMover:
        if self._mover is None:
            from feature_repo.online_moves import OnlineMover  # takes seconds; events are taken meanwhile

            self._mover = OnlineMover(self._settings)
        return self._mover
