"""Feast's objects, made of the feature views and services that domains declare.

All domains are in one Feast project. An entity, a view and a service are named `domain.name`, so two domains may use
one name; join keys and features keep the names of their columns. Each version of a view is a Feast view, named as its
table; a service has the current version of each, under the view's name alone, so features are `view__feature` in
training sets and answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from feature_repo.feast_api import (
    Bool,
    Entity,
    FeastType,
    FeatureView,
    Field,
    FileSource,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    ValueType,
)
from feature_repo.feast_api import FeatureService as FeastService
from pipelines.features import declaration, versions
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureService, qualified, stored_views
from pipelines.settings import Settings

#: Feast's type of each type of feature.
TYPES: dict[str, FeastType] = {
    "string": String, "int": Int32, "bigint": Int64, "float": Float32, "double": Float64, "boolean": Bool,
}  # fmt: skip
#: The tag of a Feast field that says how protected it is.
DATA_CLASS = "data_class"
_KEY_TYPES = {"string": ValueType.STRING, "int": ValueType.INT32, "bigint": ValueType.INT64}


def feast_objects(services: Iterable[FeatureService], settings: Settings) -> list[Any]:
    """The entities, views and services of the declared services, each once.

    Args:
        services: The services.
        settings: Of the home folder that says which version of a view is the current one.
    """
    entities: dict[str, Entity] = {}
    views: dict[str, FeatureView] = {}
    services = list(services)
    for domain in dict.fromkeys(service.domain for service in services):
        for view in stored_views(service for service in services if service.domain == domain):
            for key in view.keys:
                entity = _entity(domain, key, view)
                entities.setdefault(entity.name, entity)
            views[qualified(domain, view.stored_name)] = _view(domain, view, entities)
    made = [_service(service.at(versions.current(settings, service)), views) for service in services]
    return [*entities.values(), *views.values(), *made]


def _entity(domain: str, key: str, view: declaration.FeatureView) -> Entity:
    column = view.contract.column(key)
    return Entity(
        name=qualified(domain, key),
        join_keys=[key],
        value_type=_KEY_TYPES[column.type],
        description=column.description,
        tags={"domain": domain},
    )


def _view(domain: str, view: declaration.FeatureView, entities: dict[str, Entity]) -> FeatureView:
    contract, table = view.contract, view.table
    columns = [contract.column(name) for name in (*view.keys, *view.fields)]
    return FeatureView(
        name=qualified(domain, view.stored_name),
        entities=[entities[qualified(domain, key)] for key in view.keys],
        schema=[
            Field(
                name=c.name,
                dtype=TYPES[c.type],
                description=c.description,
                tags={DATA_CLASS: view.data_class(c.name)},
            )
            for c in columns
        ],
        source=FileSource(name=table.source_name, path=str(table), timestamp_field=EVENT_TIMESTAMP),
        online=True,
        ttl=timedelta(0),  # no limit; of None Feast's registry makes this, and `feast plan` a change
        description=contract.purpose,
        owner=contract.owner,
        tags={**contract.tags, "domain": domain},
    )


def _service(service: FeatureService, views: dict[str, FeatureView]) -> FeastService:
    return FeastService(
        name=service.full_name,
        features=[
            views[qualified(service.domain, view.stored_name)].with_name(view.name)[[*view.fields]]
            for view in service.views
        ],
        description=service.description,
        owner=service.owner,
        tags={"domain": service.domain},
    )
