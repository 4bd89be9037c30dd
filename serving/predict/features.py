"""Reads a feature service from Feast's online store, in this process, and names the features that it does not hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from feature_repo.feast_api import FeastError, FieldStatus, OnlineResponse
from feature_repo.online_rows import scalar
from feature_repo.state import DomainStore
from feature_repo.store import OpenStore, current
from pipelines.errors import GoldpathError
from pipelines.features.declaration import FeatureService, qualified
from pipelines.settings import Settings
from serving.errors import FeatureStoreUnavailable

Scalar = str | int | float | bool | None

#: How often a request is answered again because the store was filled anew meanwhile.
ATTEMPTS = 3
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
class _Service:
    """The store that was opened, and what is read of it: full name and join keys by Feast's name, `view:feature`."""

    opened: OpenStore
    features: Mapping[str, tuple[str, tuple[str, ...]]]


class OnlineFeatures:
    """One feature service of one home folder. For one thread at a time, since Feast uses one SQLite connection.

    Args:
        settings: Of the home folder.
        service: The service with the version of each view that is read.
    """

    def __init__(self, settings: Settings, service: FeatureService) -> None:
        self._place = DomainStore(settings, service.domain)
        self._service = service
        self._cached: _Service | None = None

    def read(self, entities: Sequence[Mapping[str, Scalar]]) -> list[FeatureReading]:
        """The features of each entity row that the online store holds now.

        Args:
            entities: Join key to value; null where the caller does not know it.

        Raises:
            FeatureStoreUnavailable: if the store does not answer, is being rebuilt or was not filled yet.
        """
        # Feast refuses null keys; an empty key belongs to no entity.
        rows = [{key: "" if value is None else value for key, value in row.items()} for row in entities]
        opened, response = self._answer(rows)
        columns = dict(zip(response.proto.metadata.feature_names.val, response.proto.results, strict=True))
        features: list[dict[str, FeatureValue]] = [{} for _ in entities]
        missing: list[list[MissingFeature]] = [[] for _ in entities]
        for reference, (name, keys) in opened.features.items():  # declared order; Feast's differs between processes
            column = columns[reference.replace(":", "__")]
            for place, entity in enumerate(entities):
                if column.statuses[place] == FieldStatus.NOT_FOUND:
                    missing[place].append(_missing(name, {key: entity[key] for key in keys}))
                else:
                    known_at = datetime.fromtimestamp(column.event_timestamps[place].seconds, UTC).isoformat()
                    features[place][name] = FeatureValue(scalar(column.values[place]), known_at)
        return [FeatureReading(held, tuple(absent)) for held, absent in zip(features, missing, strict=True)]

    def _answer(self, rows: list[dict[str, Any]]) -> tuple[_Service, OnlineResponse]:
        """The answer of the store that is the current one before and after it is read: a replaced one is removed."""
        failure: Exception | None = None
        for _ in range(ATTEMPTS):
            opened: _Service | None = None
            try:
                opened = self._current()
                store = opened.opened.store
                answer = store.get_online_features([*opened.features], entity_rows=rows, full_feature_names=True)
                if self._current() is opened:
                    return opened, answer
            except (sqlite3.Error, OSError, RedisError, *_UNREADABLE) as error:
                failure, self._cached = error, None  # its connection may have failed, or its registry been replaced
        fill = f"goldpath materialize {self._place.asset}"
        raise FeatureStoreUnavailable(
            object=f"online store of {self._service.full_name}",
            observed=f"{type(failure).__name__}: {failure}" if failure else "it is filled anew again and again",
            expected="a filled online store that answers",
            next_step=fill if isinstance(failure, _UNREADABLE) else "ask again in a moment",
        ) from failure

    def _current(self) -> _Service:
        """The service in the open store. It is opened again when the store was moved or filled anew."""
        before = self._cached
        try:
            opened = current(self._place, before.opened if before else None)
        except GoldpathError as error:
            raise FeatureStoreUnavailable(
                object=error.object, observed=error.observed, expected=error.expected, next_step=error.next_step
            ) from error
        if before is None or before.opened is not opened:
            self._cached = before = _Service(opened, dict(self._held(opened)))
        return before

    def _held(self, opened: OpenStore) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
        """The features that the views of the store have; one that was declared since its filling is not among them."""
        for view in self._service.views:
            stored = qualified(self._service.domain, view.stored_name)
            fields = {field.name for field in opened.store.get_feature_view(stored).features}
            for field, name in zip(view.fields, view.full_names, strict=True):
                if field in fields:
                    yield f"{stored}:{field}", (name, view.keys)


def _missing(name: str, entity: Mapping[str, Scalar]) -> MissingFeature:
    absent = [key for key, value in entity.items() if value is None]
    reason = f"no {' and '.join(absent)} given" if absent else "unknown entity"
    return MissingFeature(name, reason, entity)
