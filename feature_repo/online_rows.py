"""The rows that an online store holds of one feature view, as its table would hold them: read, and written."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from feature_repo import feast_api
from feature_repo.feast_api import EntityKey, FeatureStore, Value
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureView, qualified

Row = Mapping[str, Any]
#: The member of Feast's value that holds a column's type.
_MEMBERS = {
    "string": "string_val", "int": "int32_val", "bigint": "int64_val", "float": "float_val", "double": "double_val",
    "boolean": "bool_val",
}  # fmt: skip
#: Feast's views by name: to parse one from the registry takes as long as to write a row.
_views: weakref.WeakKeyDictionary[FeatureStore, dict[str, feast_api.FeatureView]] = weakref.WeakKeyDictionary()


def stored_rows(
    store: FeatureStore, domain: str, view: FeatureView, entities: Sequence[Mapping[str, Any]]
) -> list[Row | None]:
    """The stored features and `event_timestamp` (UTC, whole seconds) of each entity; None where the store has no row.

    Args:
        store: The store of one generation.
        domain: The domain whose store it is.
        view: The view.
        entities: Each with all keys of the view.
    """
    if not entities:
        return []
    fields, keys = view.fields, _entity_keys(view, entities)
    online = store._get_provider().online_store
    rows: list[Row | None] = []
    # Redis adds to the list of names that it is given.
    for instant, values in online.online_read(store.config, _feast_view(store, domain, view), keys, [*fields]):
        if not instant or not instant.timestamp() or not values or not values.keys() >= {*fields}:
            rows.append(None)  # Redis answers null, at 1970
        else:
            rows.append({name: scalar(values[name]) for name in fields} | {EVENT_TIMESTAMP: _whole_seconds(instant)})
    return rows


def write_rows(store: FeatureStore, domain: str, view: FeatureView, rows: Sequence[Row]) -> None:
    """Writes rows of entities, each with all keys, all features and `event_timestamp`, over what is stored.

    Feast's own method takes a DataFrame, in which a null makes floating-point numbers of a column's integers, and it
    does not write rows whose features are all null.
    """
    members = _members(view, view.fields)
    written = [
        (key, {name: _value(member, row[name]) for name, member in members.items()}, row[EVENT_TIMESTAMP], None)
        for key, row in zip(_entity_keys(view, rows), rows, strict=True)
    ]
    store._get_provider().online_write_batch(store.config, _feast_view(store, domain, view), written, None)


def scalar(value: Any) -> Any:
    """A value of Feast's answer; null where there is none, and for NaN, as which some stores hold a null number."""
    kind = value.WhichOneof("val")
    held = getattr(value, kind) if kind else None
    return None if isinstance(held, float) and math.isnan(held) else held


def _members(view: FeatureView, names: Sequence[str]) -> dict[str, str]:
    return {name: _MEMBERS[view.contract.column(name).type] for name in names}


def _entity_keys(view: FeatureView, entities: Sequence[Mapping[str, Any]]) -> list[EntityKey]:
    members = _members(view, view.keys)
    return [
        EntityKey(join_keys=members, entity_values=[_value(member, entity[name]) for name, member in members.items()])
        for entity in entities
    ]


def _value(member: str, value: Any) -> Value:
    return Value() if value is None else Value(**{member: value})


def _whole_seconds(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(microsecond=0)


def _feast_view(store: FeatureStore, domain: str, view: FeatureView) -> feast_api.FeatureView:
    views, name = _views.setdefault(store, {}), qualified(domain, view.name)
    if name not in views:
        views[name] = store.get_feature_view(name)
    return views[name]
