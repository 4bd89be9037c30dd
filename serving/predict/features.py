"""Reads a feature service from the online store, in this process, and names the features that it does not hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from feature_repo.feast_api import FeastError
from feature_repo.online_rows import layout, rows_of
from feature_repo.online_store import Rows
from feature_repo.state import DomainStore
from feature_repo.store import OpenStore, current
from feature_repo.stored_row import Layout, instant_of
from pipelines.errors import DamagedError, GoldpathError
from pipelines.features.declaration import FeatureService, FeatureView, qualified
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
        held: The value of each that the store holds.
        known_at: When the row of each of those became known, ISO 8601 in UTC.
        missing: The others.
    """

    held: Mapping[str, Scalar]
    known_at: Mapping[str, str]
    missing: tuple[MissingFeature, ...]

    @property
    def features(self) -> dict[str, FeatureValue]:
        """Those that the store holds."""
        return {name: FeatureValue(value, self.known_at[name]) for name, value in self.held.items()}

    def values(self) -> dict[str, Scalar]:
        """The value of every feature; null where it is missing."""
        return {**self.held, **{missing.feature: None for missing in self.missing}}


@dataclass(frozen=True, slots=True)
class _View:
    """One view of the service: how its rows are laid out, and its features' full names with their places in a row."""

    layout: Layout
    features: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class _Service:
    """The service in the store that was opened: its rows, and its views in declared order."""

    opened: OpenStore
    rows: Rows
    views: Sequence[_View]


class OnlineFeatures:
    """One feature service of one home folder. For one thread at a time.

    Args:
        settings: Of the home folder.
        service: The service with the version of each view that is read.
    """

    def __init__(self, settings: Settings, service: FeatureService) -> None:
        self._place = DomainStore(settings, service.domain)
        self._service = service
        self._cached: _Service | None = None

    def read(self, entities: Sequence[Mapping[str, Scalar]]) -> list[FeatureReading]:
        """The features of each entity row that the online store holds now, all read at one moment.

        Args:
            entities: Join key to value; null where the caller does not know it.

        Raises:
            FeatureStoreUnavailable: if the store does not answer, is being rebuilt or was not filled yet.
        """
        if not self._service.views:
            return [FeatureReading({}, {}, ())] * len(entities)
        failure: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                service = self._current()
                readings = _read(service, entities)
                # The store that is the current one before and after it is read: a replaced one is removed.
                if self._current() is service:
                    return readings
            except DamagedError as error:
                self._cached = None
                raise _unavailable(error) from error
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
            raise _unavailable(error) from error
        if before is None or before.opened.store is not opened.store:
            views = [_view(opened, self._service.domain, view) for view in self._service.views]
            self._cached = before = _Service(opened, rows_of(opened.store), views)
        return before


def _unavailable(error: GoldpathError) -> FeatureStoreUnavailable:
    return FeatureStoreUnavailable(
        object=error.object, observed=error.observed, expected=error.expected, next_step=error.next_step
    )


def _view(opened: OpenStore, domain: str, view: FeatureView) -> _View:
    """The features that the view has in the store; one that was declared since its filling is not among them."""
    stored = layout(opened.store, qualified(domain, view.stored_name))
    places = {name: place for place, name in enumerate(stored.fields)}
    names = zip(view.fields, view.full_names, strict=True)
    return _View(stored, [(name, places[field]) for field, name in names if field in places])


def _read(service: _Service, entities: Sequence[Mapping[str, Scalar]]) -> list[FeatureReading]:
    keys = [[view.layout.key(entity) for entity in entities] for view in service.views]
    asked = list(
        dict.fromkeys(
            (view.layout.name, key)
            for view, its in zip(service.views, keys, strict=True)
            for key in its
            if key is not None
        )
    )
    stored = dict(zip(asked, service.rows.read(asked), strict=True))
    held: list[dict[str, Scalar]] = [{} for _ in entities]
    known_at: list[dict[str, str]] = [{} for _ in entities]
    missing: list[list[MissingFeature]] = [[] for _ in entities]
    for view, its in zip(service.views, keys, strict=True):
        for place, key in enumerate(its):
            row = stored.get((view.layout.name, key)) if key is not None else None
            if row is None:
                entity = {name: entities[place][name] for name in view.layout.keys}
                missing[place] += [_missing(name, entity) for name, _ in view.features]
                continue
            values = view.layout.decode(row[1])
            held[place].update((name, values[at]) for name, at in view.features)
            known_at[place].update(dict.fromkeys([name for name, _ in view.features], instant_of(row[0]).isoformat()))
    return [FeatureReading(*each) for each in zip(held, known_at, map(tuple, missing), strict=True)]


def _missing(name: str, entity: Mapping[str, Scalar]) -> MissingFeature:
    absent = [key for key, value in entity.items() if value is None]
    reason = f"no {' and '.join(absent)} given" if absent else "unknown entity"
    return MissingFeature(name, reason, entity)
