"""The rows that an online store holds of one feature view, as its table would hold them: read, and written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from feature_repo.feast_api import FeatureStore, FieldStatus, convert_arrow_to_proto
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureView, qualified

Row = Mapping[str, Any]
#: The Arrow types of the types of features.
_ARROW = {
    "string": "string", "int": "int32", "bigint": "int64", "float": "float32", "double": "float64", "boolean": "bool",
}  # fmt: skip


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
    name = qualified(domain, view.stored_name)
    asked = [f"{name}:{field}" for field in view.fields]
    answer = store.get_online_features(asked, entity_rows=[dict(entity) for entity in entities]).proto
    columns = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))
    rows: list[Row | None] = []
    for place in range(len(entities)):
        row: dict[str, Any] | None = {}
        for field in view.fields:
            column = columns[field]
            seconds = column.event_timestamps[place].seconds
            if column.statuses[place] == FieldStatus.NOT_FOUND or not seconds:  # Redis answers null, at 1970
                row = None
                break
            row[field] = scalar(column.values[place])
            row[EVENT_TIMESTAMP] = datetime.fromtimestamp(seconds, UTC)
        rows.append(row)
    return rows


def write_rows(store: FeatureStore, domain: str, view: FeatureView, rows: Sequence[Row]) -> None:
    """Writes rows of entities, each with all keys, all features and `event_timestamp`, over what is stored.

    By columns of the contract's types: Feast's own method takes a DataFrame, in which a null makes floating-point
    numbers of a column's integers, and it does not write rows whose features are all null.
    """
    import pyarrow as pa

    types = {name: _ARROW[view.contract.column(name).type] for name in (*view.keys, *view.fields)}
    schema = pa.schema([*types.items(), (EVENT_TIMESTAMP, pa.timestamp("us", "UTC"))])
    target = store.get_feature_view(qualified(domain, view.stored_name))
    keys = {entity.name: entity.dtype.to_value_type() for entity in target.entity_columns}
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    written = convert_arrow_to_proto(table, target, keys)
    store._get_provider().online_write_batch(store.config, target, written, None)


def scalar(value: Any) -> Any:
    """A value of Feast's answer; null where there is none, and for NaN, as which some stores hold a null number."""
    kind = value.WhichOneof("val")
    held = getattr(value, kind) if kind else None
    return None if isinstance(held, float) and math.isnan(held) else held
