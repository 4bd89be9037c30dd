"""Moves an online feature view event by event, to the values that its table would have after all of the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

from feature_repo.state import DomainStore
from feature_repo.store import OpenStore, current
from pipelines.features.declaration import EVENT_TIMESTAMP, qualified
from pipelines.medallion.push_source import OnlineMove, Values
from pipelines.settings import Settings

#: `unchanged`: the store held this event or a newer one. `ahead`: the event is later than the platform's time.
Moved = Literal["moved", "unchanged", "ahead"]


class OnlineMover:
    """Writes to the online store of one home folder. For one thread at a time: Feast has one SQLite connection."""

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
            opened = current(place, self._opened.pop(domain, None), rows="any")
            keys = list(dict.fromkeys(event[online.key] for event in events))
            known = stored_rows(opened, online, keys)
            before, outcomes = dict(known), []
            for event in events:
                outcome, row = _applied(online, known.get(event[online.key]), event, now)
                outcomes.append(outcome)
                if row is not None:
                    known[event[online.key]] = row
            changed = [{online.key: key, **row} for key, row in known.items() if row is not before.get(key)]
            if changed:
                name = qualified(domain, online.view.name)
                opened.store.write_to_online_store(name, df=pd.DataFrame(changed))
            self._opened[domain] = opened
        return outcomes


def stored_rows(opened: OpenStore, online: OnlineMove, keys: Sequence[str]) -> dict[str, Values]:
    """The stored features and `event_timestamp` of each key that the store holds."""
    view = qualified(online.view.table.domain, online.view.name)
    features = [f"{view}:{name}" for name in online.view.fields]
    answer = opened.store.get_online_features(features, entity_rows=[{online.key: key} for key in keys]).proto
    columns = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))
    rows: dict[str, Values] = {}
    for place, key in enumerate(keys):
        row: dict[str, Any] = {}
        for name in online.view.fields:
            column = columns[name]
            seconds = column.event_timestamps[place].seconds
            if column.statuses[place] == FieldStatus.NOT_FOUND or not seconds:  # Redis answers null, at 1970
                break
            kind = column.values[place].WhichOneof("val")
            row[name] = getattr(column.values[place], kind) if kind else None
            row[EVENT_TIMESTAMP] = datetime.fromtimestamp(seconds, UTC)
        else:
            rows[key] = row
    return rows


def _applied(
    online: OnlineMove, known: Mapping[str, Any] | None, event: Values, now: datetime
) -> tuple[Moved, Values | None]:
    """The outcome of an event, and the row of its entity if it has changed."""
    if event[online.at] > now:
        return "ahead", None
    row = online.apply(known, event)
    return ("unchanged", None) if row == known else ("moved", row)
