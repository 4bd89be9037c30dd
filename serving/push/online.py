"""Moves online features by pushed events: checks the events, gathers them, and applies them in one thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

from feature_repo import freshness_log
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
#: Of so many events of a view the freshness is remembered until it is logged; the oldest are dropped.
MEASURED = 100_000
#: How an event moves features, its values, and when it was durable.
_Item: TypeAlias = tuple[OnlineMove | Windowed, Values, float | None]


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
        self._measured: dict[OnlineMove | Windowed, deque[float]] = {}

    @property
    def depth(self) -> int:
        """Number of events that are not applied yet."""
        return self._grouped.depth

    async def move(
        self, source: PushSource, events: Sequence[Mapping[str, Any]], durable_at: float | None = None
    ) -> list[dict[str, Any]]:
        """What became of the features of each event: `online`, and `broken` with the rules that the event breaks.

        Args:
            source: Their source.
            events: Of one request.
            durable_at: When their log was synced, in seconds of `time.monotonic`, for the freshness of their view; None
                for events of an earlier process.
        """
        if source.online is None:
            return [{"online": NONE}] * len(events)
        outcomes: list[dict[str, Any]] = []
        valid: list[_Item] = []
        for event in events:
            values, broken = check(event, source.silver)
            if broken:
                rules = [{"rule": rule.code, "column": rule.column, "observed": rule.observed} for rule in broken]
                outcomes.append({"online": BROKEN, "broken": rules})
            else:
                outcomes.append({"online": PENDING})
                valid.append((source.online, values, durable_at))
        if valid:
            future = self._grouped.add(valid)
            done, _ = await asyncio.wait([future], timeout=self._seconds)
            moves = iter(future.result() if done else [PENDING] * len(valid))
            outcomes = [outcome if outcome["online"] == BROKEN else {"online": next(moves)} for outcome in outcomes]
        return outcomes

    def settle(self, source: PushSource) -> None:
        """Syncs to the disk what the events of a source moved, before its log forgets them, and logs their freshness.

        Any thread may ask.
        """
        if source.online is None:
            return
        view = source.online.view
        place, measured, seconds = DomainStore(self._settings, view.table.domain), self._measured.get(source.online), []
        while measured:
            seconds.append(measured.popleft())
        if seconds:
            freshness_log.record(place, [freshness_log.Measurement.of(view.stored_name, "pushed", seconds)])
        with contextlib.suppress(DamagedError):  # such a store is filled anew
            sync(place)

    async def check(self) -> None:
        """Returns when the libraries that apply events are loaded."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._opened)

    async def close(self) -> None:
        """Applies the waiting events, then ends the thread."""
        await self._grouped.finish()
        self._executor.shutdown()

    def _apply(self, items: list[_Item]) -> list[str]:
        outcomes = [UNAVAILABLE] * len(items)
        for online in dict.fromkeys(online for online, *_ in items):
            places = [place for place, (move, *_) in enumerate(items) if move is online]
            try:
                moved = self._opened().move(online, [items[place][1] for place in places], clock.now(self._settings))
            except Exception as error:
                ours = isinstance(error, GoldpathError)
                view = online.view.table
                logger.warning("%d events did not move %s: %s", len(places), view, error, exc_info=not ours)
                continue
            now, measured = time.monotonic(), self._measured.setdefault(online, deque(maxlen=MEASURED))
            for place, outcome in zip(places, moved, strict=True):
                outcomes[place] = outcome
                durable_at = items[place][2]
                if outcome == "moved" and durable_at is not None:
                    measured.append(now - durable_at)
        return outcomes

    def _opened(self) -> OnlineMover:
        if self._mover is None:
            from feature_repo.online_moves import OnlineMover  # takes seconds, in which events are taken already

            self._mover = OnlineMover(self._settings)
        return self._mover
