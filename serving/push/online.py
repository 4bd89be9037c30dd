"""Moves online features by pushed events: checks the events, gathers them, and applies them in one thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from feature_repo.state import DomainStore
from feature_repo.store import sync
from pipelines import clock
from pipelines.errors import DamagedError, GoldpathError
from pipelines.features.windowed import Windowed
from pipelines.medallion.push_source import OnlineMove, PushSource, Values
from pipelines.settings import Settings
from pipelines.verdict.event import check
from serving.door.grouped import Grouped

if TYPE_CHECKING:
    from feature_repo.online_moves import OnlineMover

logger = logging.getLogger(__name__)
#: The member `online` of an acknowledgement. `broken`: the event breaks its contract. `pending`: it is applied as soon
#: as the store is free. `unavailable`: it could not be applied. `none`: the source moves no features. The others are
#: those of `feature_repo.window_moves`.
BROKEN, PENDING, UNAVAILABLE, NONE = "broken", "pending", "unavailable", "none"


class OnlinePath:
    """Moves the online features of one home folder.

    Args:
        settings: Of the home folder.
        seconds: How long an acknowledgement waits for the store, which a run may be filling.
    """

    def __init__(self, settings: Settings, seconds: float) -> None:
        self._settings = settings
        self._seconds = seconds
        self._mover: OnlineMover | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="push-online")
        self._grouped = Grouped(self._apply, self._executor)

    @property
    def depth(self) -> int:
        """Number of events that are not applied yet."""
        return self._grouped.depth

    async def move(self, source: PushSource, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What became of the features of each event: `online`, and `broken` with the rules that the event breaks."""
        if source.online is None:
            return [{"online": NONE}] * len(events)
        outcomes: list[dict[str, Any]] = []
        valid: list[tuple[OnlineMove | Windowed, Values]] = []
        for event in events:
            values, broken = check(event, source.silver)
            if broken:
                rules = [{"rule": rule.code, "column": rule.column, "observed": rule.observed} for rule in broken]
                outcomes.append({"online": BROKEN, "broken": rules})
            else:
                outcomes.append({"online": PENDING})
                valid.append((source.online, values))
        if valid:
            future = self._grouped.add(valid)
            done, _ = await asyncio.wait([future], timeout=self._seconds)
            moves = iter(future.result() if done else [PENDING] * len(valid))
            outcomes = [outcome if outcome["online"] == BROKEN else {"online": next(moves)} for outcome in outcomes]
        return outcomes

    def sync(self, source: PushSource) -> None:
        """Syncs to the disk what the events of a source moved, before its log forgets them. Any thread may ask."""
        if source.online is not None:
            with contextlib.suppress(DamagedError):  # such a store is filled anew
                sync(DomainStore(self._settings, source.online.view.table.domain))

    async def check(self) -> None:
        """Returns when the libraries that apply events are loaded."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._opened)

    async def close(self) -> None:
        """Applies the waiting events, then ends the thread."""
        await self._grouped.finish()
        self._executor.shutdown()

    def _apply(self, items: list[tuple[OnlineMove | Windowed, Values]]) -> list[str]:
        outcomes = [UNAVAILABLE] * len(items)
        for online in dict.fromkeys(online for online, _ in items):
            places = [place for place, (move, _) in enumerate(items) if move is online]
            try:
                moved = self._opened().move(online, [items[place][1] for place in places], clock.now(self._settings))
            except Exception as error:
                ours = isinstance(error, GoldpathError)
                view = online.view.table
                logger.warning("%d events did not move %s: %s", len(places), view, error, exc_info=not ours)
                continue
            for place, outcome in zip(places, moved, strict=True):
                outcomes[place] = outcome
        return outcomes

    def _opened(self) -> OnlineMover:
        if self._mover is None:
            from feature_repo.online_moves import OnlineMover  # takes seconds, in which events are taken already

            self._mover = OnlineMover(self._settings)
        return self._mover
