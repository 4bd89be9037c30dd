"""Reads a feature service from Feast's online store, in process, and says what the store did not know."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from feast import FeatureService, FeatureStore
from feast.errors import FeastError
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from feature_repo.store import open_store, sqlite_file
from pipelines.settings import Settings
from serving.errors import FeatureStoreUnavailable

Scalar = str | int | float | bool | None

FILL_IT = "materialize the asset features/flights/online"
#: What Feast raises where its registry or a stored value is not as it should be.
UNREADABLE = (FeastError, DecodeError, ValueError)


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """A value, null where the feature table has null, and when its row became known, UTC."""

    value: Scalar
    timestamp: str


@dataclass(frozen=True, slots=True)
class MissingFeature:
    """A feature that the store does not hold for this entity."""

    feature: str
    reason: str
    entity: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class FeatureReading:
    """All features of one entity row, each by its full name `view__feature`, in one of the two."""

    found: Mapping[str, FeatureValue]
    missing: tuple[MissingFeature, ...]

    def values(self) -> dict[str, Scalar]:
        """Name to value; null where it is missing."""
        known = {name: feature.value for name, feature in self.found.items()}
        return known | {missing.feature: None for missing in self.missing}


@dataclass(frozen=True, slots=True)
class _Opened:
    store: FeatureStore
    service: FeatureService
    join_keys: Mapping[str, tuple[str, ...]]
    file: tuple[int, int] | None


class OnlineFeatures:
    """One feature service of one home folder. For one thread at a time: Feast shares one SQLite connection."""

    def __init__(self, settings: Settings, service: str) -> None:
        self._settings = settings
        self._service = service
        self._opened: _Opened | None = None

    def read(self, entities: Sequence[Mapping[str, Scalar]]) -> list[FeatureReading]:
        """The features of each entity row, as the online store knows them now.

        Args:
            entities: Join key to value; null where the caller does not know it.

        Raises:
            FeatureStoreUnavailable: if the store does not answer, is being rebuilt or was never filled.
        """
        # Feast takes no null as a key; no entity has an empty one.
        rows = [{key: "" if value is None else value for key, value in row.items()} for row in entities]
        try:
            opened, response = self._ask(rows)
        except UNREADABLE:
            # What was opened may be older than what the registry says by now.
            self._opened = None
            opened, response = self._ask_again(rows)
        columns = dict(zip(response.proto.metadata.feature_names.val, response.proto.results, strict=True))
        found: list[dict[str, FeatureValue]] = [{} for _ in entities]
        missing: list[list[MissingFeature]] = [[] for _ in entities]
        for name, keys in opened.join_keys.items():  # in declared order; Feast's changes from process to process
            column = columns[name]
            for place, entity in enumerate(entities):
                if column.statuses[place] == FieldStatus.NOT_FOUND:
                    missing[place].append(_missing(name, {key: entity[key] for key in keys}))
                else:
                    known_at = datetime.fromtimestamp(column.event_timestamps[place].seconds, UTC).isoformat()
                    found[place][name] = FeatureValue(_scalar(column.values[place]), known_at)
        return [FeatureReading(values, tuple(absent)) for values, absent in zip(found, missing, strict=True)]

    def _ask(self, rows: list[dict[str, Any]]) -> tuple[_Opened, OnlineResponse]:
        try:
            opened = self._current()
            return opened, opened.store.get_online_features(opened.service, entity_rows=rows, full_feature_names=True)
        except (sqlite3.Error, OSError, RedisError) as error:
            raise self._unavailable(f"{type(error).__name__}: {error}", "ask again in a moment") from error

    def _ask_again(self, rows: list[dict[str, Any]]) -> tuple[_Opened, OnlineResponse]:
        try:
            return self._ask(rows)
        except UNREADABLE as error:
            self._opened = None
            raise self._unavailable(str(error), FILL_IT) from error

    def _current(self) -> _Opened:
        """The open store; opened anew where the file was replaced, since the old connection would read it for ever."""
        opened = self._opened
        if opened is None or opened.file != sqlite_file(opened.store):
            self._opened = opened = self._open()
        return opened

    def _open(self) -> _Opened:
        if not (self._settings.root / "features" / "registry.db").exists():
            raise self._unavailable("it has no registry", FILL_IT)  # Feast would write an empty one
        store = open_store(self._settings)
        # Otherwise Feast refuses to read a view for as long as it is being filled, and for ever if that was killed.
        store.registry.serve_features_while_materializing = True
        service = store.get_feature_service(self._service)
        views = [store.get_feature_view(projection.name) for projection in service.feature_view_projections]
        empty = [view.name for view in views if view.most_recent_end_time is None]
        if empty:
            raise self._unavailable(f"not filled yet: {', '.join(empty)}", f"{FILL_IT}, or wait for it")
        join_keys = {
            f"{view.projection.name_to_use()}__{feature.name}": tuple(view.join_keys)
            for view in views
            for feature in view.projection.features
        }
        return _Opened(store, service, join_keys, sqlite_file(store))

    def _unavailable(self, observed: str, next_step: str) -> FeatureStoreUnavailable:
        return FeatureStoreUnavailable(
            object=f"online store of {self._service}",
            observed=observed,
            expected="a filled online store that answers",
            next_step=next_step,
        )


def _missing(name: str, entity: Mapping[str, Scalar]) -> MissingFeature:
    absent = [key for key, value in entity.items() if value is None]
    reason = f"no {' and '.join(absent)} given" if absent else "unknown entity"
    return MissingFeature(name, reason, entity)


def _scalar(value: Value) -> Scalar:
    kind = value.WhichOneof("val")
    found: Any = getattr(value, kind) if kind else None
    return None if isinstance(found, float) and math.isnan(found) else found
