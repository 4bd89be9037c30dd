"""Moves an online feature view event by event, to the values that its table would have after all of the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from feature_repo.online_rows import stored_rows, write_rows
from feature_repo.state import DomainStore
from feature_repo.store import OpenStore, current
from pipelines.medallion.push_source import OnlineMove, Values
from pipelines.settings import Settings

#: `unchanged`: the store held this event or a newer one. `ahead`: the event is later than the platform's time.
Moved = Literal["moved", "unchanged", "ahead"]


class OnlineMover:
    """Writes to the online store of one home folder. For one thread at a time, in the order of the events."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: dict[str, OpenStore] = {}

    def move(self, online: OnlineMove, events: Sequence[Values], now: datetime) -> list[Moved]:
        """Applies the events in their order; waits while a run fills the store.

        Args:
            online: The feature view, and how an event moves it.
            events: Events that fit their contract.
            now: The platform's time; later events are not applied.

        Returns:
            The outcome of each event.

        Raises:
            NotFoundError: if the store was not filled yet.
            FeastError, sqlite3.Error, OSError, RedisError: if the store cannot be read or written.
        """
        domain = online.view.table.domain
        place = DomainStore(self._settings, domain)
        with place.writing():
            # The store may be a new generation, and writes would go to the old one; or its connection has failed.
            opened = current(place, self._opened.pop(domain, None), synced=False)
            keys = list(dict.fromkeys(event[online.key] for event in events))
            held = stored_rows(opened.store, domain, online.view, [{online.key: key} for key in keys])
            known = {key: row for key, row in zip(keys, held, strict=True) if row is not None}
            before, outcomes = dict(known), []
            for event in events:
                outcome, row = _applied(online, known.get(event[online.key]), event, now)
                outcomes.append(outcome)
                if row is not None:
                    known[event[online.key]] = row
            changed = [{online.key: key, **row} for key, row in known.items() if row is not before.get(key)]
            if changed:
                write_rows(opened.store, domain, online.view, changed)
            self._opened[domain] = opened
        return outcomes


def _applied(
    online: OnlineMove, known: Mapping[str, Any] | None, event: Values, now: datetime
) -> tuple[Moved, Values | None]:
    """The outcome of an event, and the row of its entity if it has changed."""
    if event[online.at] > now:
        return "ahead", None
    row = online.apply(known, event)
    return ("unchanged", None) if row == known else ("moved", row)
