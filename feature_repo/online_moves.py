"""Moves an online feature view by events, one after the other, as its table would be moved by all of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd
from feast import FeatureStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

from feature_repo.store import open_store, sqlite_file, writing
from pipelines.errors import NotFoundError
from pipelines.medallion.push_source import OnlineMove, Values
from pipelines.settings import Settings

TIMESTAMP = "event_timestamp"
#: `unchanged`: the store knew this, or something newer. `ahead`: it happens after the platform's now.
Moved = Literal["moved", "unchanged", "ahead"]


class OnlineMover:
    """Writes to the online store of one home folder. For one thread at a time: Feast shares one SQLite connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: tuple[FeatureStore, tuple[int, int] | None] | None = None

    def move(self, online: OnlineMove, events: Sequence[Values], now: datetime) -> list[Moved]:
        """Applies the events in their order; waits while the store is being moved by a run.

        Args:
            online: What they move.
            events: Events that keep their contract.
            now: The platform's time: the store knows nothing of what comes after.

        Returns:
            For each event what became of it.

        Raises:
            NotFoundError: if the store was never filled.
            FeastError, sqlite3.Error, OSError, RedisError: if it cannot be read or written.
        """
        with writing(self._settings):
            try:
                store = self._current()
                keys = list(dict.fromkeys(event[online.key] for event in events))
                known = self._read(store, online, keys)
                before, outcomes = dict(known), []
                for event in events:
                    outcome, row = _applied(online, known.get(event[online.key]), event, now)
                    outcomes.append(outcome)
                    if row is not None:
                        known[event[online.key]] = row
                changed = [{online.key: key, **row} for key, row in known.items() if row is not before.get(key)]
                if changed:
                    store.write_to_online_store(online.view, df=pd.DataFrame(changed))
            except BaseException:
                self._opened = None  # a connection that failed, or a registry that was replaced meanwhile
                raise
        return outcomes

    def _current(self) -> FeatureStore:
        """The open store; opened anew where the file was replaced, or what is written would go to the old one."""
        if not (self._settings.root / "features" / "registry.db").exists():
            raise NotFoundError(
                object="online store",
                observed="it was never filled",
                expected="a store that holds what the tables know",
                next_step="materialize the asset features/flights/online",
            )
        if self._opened is None or self._opened[1] != sqlite_file(self._opened[0]):
            store = open_store(self._settings, rows="any")
            self._opened = store, sqlite_file(store)
        return self._opened[0]

    def _read(self, store: FeatureStore, online: OnlineMove, keys: Sequence[str]) -> dict[str, Values]:
        view = store.get_feature_view(online.view)
        features = [f"{view.name}:{feature.name}" for feature in view.features]
        answer = store.get_online_features(features, entity_rows=[{online.key: key} for key in keys]).proto
        columns = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))
        found: dict[str, Values] = {}
        for place, key in enumerate(keys):
            row: dict[str, Any] = {}
            for feature in view.features:
                column = columns[feature.name]
                since = column.event_timestamps[place].seconds
                if column.statuses[place] == FieldStatus.NOT_FOUND or not since:  # Redis says null, of 1970
                    break
                kind = column.values[place].WhichOneof("val")
                row[feature.name] = getattr(column.values[place], kind) if kind else None
                row[TIMESTAMP] = datetime.fromtimestamp(since, UTC)
            else:
                found[key] = row
        return found


def _applied(
    online: OnlineMove, known: Mapping[str, Any] | None, event: Values, now: datetime
) -> tuple[Moved, Values | None]:
    """What became of an event, and the entity's row if it is another now."""
    if event[online.at] > now:
        return "ahead", None
    row = online.apply(known, event)
    return ("unchanged", None) if row == known else ("moved", row)
