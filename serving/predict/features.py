"""Reads a feature service from Feast's online store, in this process, and names the features that it does not hold."""

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

from feature_repo.store import REGISTRY_FILE, open_store, sqlite_file
from pipelines.features.declaration import FeatureService as Declared
from pipelines.settings import Settings
from serving.errors import FeatureStoreUnavailable

Scalar = str | int | float | bool | None

#: Feast raises these where its registry or a stored value is damaged or outdated.
_UNREADABLE = (FeastError, DecodeError, ValueError)


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """A value, null where the feature table has null, and when its row became known, ISO 8601 in UTC."""

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
    """The features of one entity row, by their full names `view__feature`.

    Attributes:
        features: Those that the store holds.
        missing: The others.
    """

    features: Mapping[str, FeatureValue]
    missing: tuple[MissingFeature, ...]

    def values(self) -> dict[str, Scalar]:
        """The value of every feature; null where it is missing."""
        held = {name: feature.value for name, feature in self.features.items()}
        return held | {missing.feature: None for missing in self.missing}


@dataclass(frozen=True, slots=True)
class _OpenStore:
    store: FeatureStore
    service: FeatureService
    join_keys: Mapping[str, tuple[str, ...]]
    file: tuple[int, int] | None  # identifies the SQLite file


class OnlineFeatures:
    """One feature service of one home folder. For one thread at a time, since Feast uses one SQLite connection."""

    def __init__(self, settings: Settings, service: Declared) -> None:
        self._settings = settings
        self._service = service
        self._fill = f"goldpath materialize features/{service.domain}/online"
        self._cached: _OpenStore | None = None

    def read(self, entities: Sequence[Mapping[str, Scalar]]) -> list[FeatureReading]:
        """The features of each entity row that the online store holds now.

        Args:
            entities: Join key to value; null where the caller does not know it.

        Raises:
            FeatureStoreUnavailable: if the store does not answer, is being rebuilt or was not filled yet.
        """
        # Feast refuses null keys; an empty key belongs to no entity.
        rows = [{key: "" if value is None else value for key, value in row.items()} for row in entities]
        try:
            opened, response = self._ask(rows)
        except _UNREADABLE:
            # The open store may be older than the registry.
            self._cached = None
            opened, response = self._ask_again(rows)
        columns = dict(zip(response.proto.metadata.feature_names.val, response.proto.results, strict=True))
        features: list[dict[str, FeatureValue]] = [{} for _ in entities]
        missing: list[list[MissingFeature]] = [[] for _ in entities]
        for name, keys in opened.join_keys.items():  # in declared order; Feast's order differs between processes
            column = columns[name]
            for place, entity in enumerate(entities):
                if column.statuses[place] == FieldStatus.NOT_FOUND:
                    missing[place].append(_missing(name, {key: entity[key] for key in keys}))
                else:
                    known_at = datetime.fromtimestamp(column.event_timestamps[place].seconds, UTC).isoformat()
                    features[place][name] = FeatureValue(_scalar(column.values[place]), known_at)
        return [FeatureReading(held, tuple(absent)) for held, absent in zip(features, missing, strict=True)]

    def _ask(self, rows: list[dict[str, Any]]) -> tuple[_OpenStore, OnlineResponse]:
        try:
            opened = self._current()
            return opened, opened.store.get_online_features(opened.service, entity_rows=rows, full_feature_names=True)
        except (sqlite3.Error, OSError, RedisError) as error:
            raise self._unavailable(f"{type(error).__name__}: {error}", "ask again in a moment") from error

    def _ask_again(self, rows: list[dict[str, Any]]) -> tuple[_OpenStore, OnlineResponse]:
        try:
            return self._ask(rows)
        except _UNREADABLE as error:
            self._cached = None
            raise self._unavailable(str(error), self._fill) from error

    def _current(self) -> _OpenStore:
        """The open store. It is opened again when its file was replaced, since its connection reads the old file."""
        opened = self._cached
        if opened is None or opened.file != sqlite_file(opened.store):
            self._cached = opened = self._open()
        return opened

    def _open(self) -> _OpenStore:
        if not (self._settings.root / "features" / REGISTRY_FILE).exists():
            raise self._unavailable("it has no registry", self._fill)  # Feast would create an empty one
        store = open_store(self._settings)
        # Otherwise Feast refuses to read a view while it is being filled, and for ever after a killed filling.
        store.registry.serve_features_while_materializing = True
        service = store.get_feature_service(self._service.name)
        views = [store.get_feature_view(projection.name) for projection in service.feature_view_projections]
        empty = [view.name for view in views if view.most_recent_end_time is None]
        if empty:
            raise self._unavailable(f"not filled yet: {', '.join(empty)}", f"{self._fill}, or wait for it")
        join_keys = {
            f"{view.projection.name_to_use()}__{feature.name}": tuple(view.join_keys)
            for view in views
            for feature in view.projection.features
        }
        return _OpenStore(store, service, join_keys, sqlite_file(store))

    def _unavailable(self, observed: str, next_step: str) -> FeatureStoreUnavailable:
        return FeatureStoreUnavailable(
            object=f"online store of {self._service.name}",
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
    scalar: Any = getattr(value, kind) if kind else None
    return None if isinstance(scalar, float) and math.isnan(scalar) else scalar
