"""Moves an online feature view event by event, to the values that its table would have after all of the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from feature_repo.kept_events import Entity, KeptEvents
from feature_repo.online_rows import stored_rows, write_rows
from feature_repo.state import DomainStore
from feature_repo.store import OpenStore, current
from feature_repo.window_moves import Moved, move_windows
from pipelines.features.windowed import Windowed
from pipelines.medallion.push_source import OnlineMove, Values
from pipelines.settings import Settings


class OnlineMover:
    """Writes to the online store of one home folder. For one thread at a time, in the order of the events."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: dict[str, OpenStore] = {}

    def move(self, online: OnlineMove | Windowed, events: Sequence[Values], now: datetime) -> list[Moved]:
        """Applies the events in their order; waits while a run fills the store.

        Args:
            online: The feature view, and how an event moves it; or what an event counts for.
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
            names = online.view.keys
            entities = list(dict.fromkeys(tuple(event[name] for name in names) for event in events))
            asked = [dict(zip(names, entity, strict=True)) for entity in entities]
            held = stored_rows(opened.store, domain, online.view, asked)
            known = {entity: row for entity, row in zip(entities, held, strict=True) if row is not None}
            if isinstance(online, Windowed):
                kept = KeptEvents(place.folder / opened.state.generation, str(self._settings.lakehouse), online)
                outcomes, changed = move_windows(online, kept, known, events, now)
            else:
                outcomes, changed = _move_rows(online, known, events, now)
            if changed:
                rows = [{**dict(zip(names, entity, strict=True)), **row} for entity, row in changed.items()]
                write_rows(opened.store, domain, online.view, rows)
            self._opened[domain] = opened
        return outcomes


def _move_rows(
    online: OnlineMove, known: Mapping[Entity, Values], events: Sequence[Values], now: datetime
) -> tuple[list[Moved], dict[Entity, Values]]:
    """The outcome of each event, and the rows that have changed."""
    rows, outcomes = dict(known), []
    for event in events:
        entity = (event[online.key],)
        outcome, row = _applied(online, rows.get(entity), event, now)
        outcomes.append(outcome)
        if row is not None:
            rows[entity] = row
    return outcomes, {entity: row for entity, row in rows.items() if row is not known.get(entity)}


def _applied(
    online: OnlineMove, known: Mapping[str, Any] | None, event: Values, now: datetime
) -> tuple[Moved, Values | None]:
    """The outcome of an event, and the row of its entity if it has changed; an event ahead of the time is left out."""
    if event[online.at] > now:
        return "ahead", None
    row = online.apply(known, event)
    return ("unchanged", None) if row == known else ("moved", row)
