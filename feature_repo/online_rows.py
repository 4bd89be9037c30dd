"""The rows that an online store holds of one feature view, as its table would hold them: read, and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from feature_repo.stored_row import EncodedRows, Layout, instant_of, microseconds
from pipelines.errors import NotFoundError
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureView, qualified

if TYPE_CHECKING:
    import pyarrow as pa

    from feature_repo.feast_api import FeatureStore
    from feature_repo.online_store import Rows

Row = Mapping[str, Any]


def rows_of(store: FeatureStore) -> Rows:
    """All rows of one generation."""
    provider: Any = store._get_provider()
    return provider.online_store.rows(store.config)


def layout(store: FeatureStore, view: str) -> Layout:
    """How the rows of a view, `domain.view`, are laid out; raises FeastError for one that the store does not have."""
    provider: Any = store._get_provider()
    return provider.online_store.layout(store, view)


def stored_rows(
    store: FeatureStore, domain: str, view: FeatureView, entities: Sequence[Mapping[str, Any]]
) -> list[Row | None]:
    """The stored features and `event_timestamp` (UTC) of each entity; None where the store has no row.

    Args:
        store: The store of one generation.
        domain: The domain whose store it is.
        view: The view.
        entities: Each with all keys of the view.

    Raises:
        NotFoundError: if the store was filled for other features of the view.
    """
    stored = _layout(store, domain, view)
    keys = [stored.key(entity) for entity in entities]
    known = list(dict.fromkeys((stored.name, key) for key in keys if key is not None))
    found = dict(zip([key for _, key in known], rows_of(store).read(known), strict=True))
    rows: list[Row | None] = []
    for key in keys:
        held = found.get(key) if key is not None else None
        if held is None:
            rows.append(None)
            continue
        values = dict(zip(stored.fields, stored.decode(held[1]), strict=True))
        rows.append({name: values[name] for name in view.fields} | {EVENT_TIMESTAMP: instant_of(held[0])})
    return rows


def write_rows(store: FeatureStore, domain: str, view: FeatureView, rows: Sequence[Row]) -> None:
    """Writes rows of entities, each with all keys, all features and `event_timestamp`, unless a later one is stored.

    Raises:
        NotFoundError: as `stored_rows` does.
        ValueError: for a row without a key.
    """
    stored = _layout(store, domain, view)
    keys = [stored.key(row) for row in rows]
    if None in keys:
        raise ValueError(f"a row of {stored.name} names no entity: {rows[keys.index(None)]}")
    instants = [microseconds(row[EVENT_TIMESTAMP]) for row in rows]
    values = [stored.values([row[name] for name in stored.fields]) for row in rows]
    rows_of(store).write(stored.name, EncodedRows([key for key in keys if key is not None], instants, values))


def write_batches(
    store: FeatureStore, domain: str, view: FeatureView, batches: Iterable[pa.RecordBatch], *, first: bool = False
) -> int:
    """Writes batches of rows by columns, those without a key left out, and returns the number of rows.

    Args:
        store: The store of one generation.
        domain: The domain whose store it is.
        view: The view.
        batches: Keys, features and `event_timestamp` (UTC).
        first: Whether the store has no rows of the view yet.
    """
    stored, rows, written = _layout(store, domain, view), rows_of(store), 0
    for batch in batches:
        for encoded in stored.encode(batch):
            rows.write(stored.name, encoded, first=first)
            written += len(encoded.keys)
    return written


def _layout(store: FeatureStore, domain: str, view: FeatureView) -> Layout:
    """The layout of a view, which holds the columns of its contract."""
    stored = layout(store, qualified(domain, view.stored_name))
    declared = {name: view.contract.column(name).type for name in (*view.keys, *view.fields)}
    if {**stored.keys, **stored.fields} != declared:
        columns = ", ".join(f"{name} {kind}" for name, kind in {**stored.keys, **stored.fields}.items())
        raise NotFoundError(
            object=f"feature view {qualified(domain, view.stored_name)} in the online store",
            observed=f"the store was filled for {columns}",
            expected=f"the columns of {view.contract.path}",
            next_step=f"goldpath materialize features/{domain}/online",
        )
    return stored
