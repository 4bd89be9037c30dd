"""The online stores as Feast sees them, with one row for each entity and view (`stored_row`); here the SQLite one.

Feast's own stores keep each value apart, under its feature's name, and overwrite a row by an older one. Two programs
write: a run that moves the store to the state of the tables, and pushed events that are newer than those.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from feature_repo.feast_api import (
    FeatureStore,
    FeatureView,
    OnlineStore,
    RepoConfig,
    SqliteOnlineStoreConfig,
    Value,
    serialize_entity_key,
    versioned_name,
)
from feature_repo.objects import TYPES
from feature_repo.sqlite_rows import SqliteRows
from feature_repo.store import SQLITE
from feature_repo.stored_row import EncodedRows, Layout, instant_of, microseconds

_KINDS = {feast_type: kind for kind, feast_type in TYPES.items()}
#: The field of Feast's value that holds each type.
_VALUE_FIELDS = {
    "string": "string_val", "int": "int32_val", "bigint": "int64_val", "float": "float_val", "double": "double_val",
    "boolean": "bool_val",
}  # fmt: skip
Written = list[tuple[Any, dict[str, Any], datetime, datetime | None]]


class Rows(Protocol):
    """The rows of one generation of a store."""

    def create(self, views: Sequence[str]) -> None: ...
    def drop(self, views: Sequence[str]) -> None: ...
    def write(self, view: str, rows: EncodedRows, *, first: bool = False) -> None: ...
    def read(self, asked: Sequence[tuple[str, bytes]]) -> list[tuple[int, bytes] | None]: ...
    def close(self) -> None: ...


class RowOnlineStore(OnlineStore):
    """Writes a row unless a later one is stored; of equal instants the last written stays."""

    def __init__(self) -> None:
        self._rows: Rows | None = None
        self._layouts: dict[str, Layout] = {}

    def layout(self, store: FeatureStore, view: str) -> Layout:
        """How the rows of a registered view are laid out; raises FeastError for one that is not registered."""
        if view not in self._layouts:
            self._layouts[view] = layout_of(store.config, store.get_feature_view(view))
        return self._layouts[view]

    def rows(self, config: RepoConfig) -> Rows:
        """Its rows, which stay open."""
        if self._rows is None:
            self._rows = self._open(config)
        return self._rows

    @abstractmethod
    def _open(self, config: RepoConfig) -> Rows: ...

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Written, progress: Callable[[int], Any] | None
    ) -> None:
        """Writes rows that Feast has made; ours are written by columns, by `online_rows`."""
        layout = layout_of(config, table)
        rows = EncodedRows(
            [serialize_entity_key(key, config.entity_key_serialization_version) for key, *_ in data],
            [microseconds(_utc(instant)) for _, _, instant, _ in data],
            [layout.values([_plain(values.get(name)) for name in layout.fields]) for _, values, *_ in data],
        )
        self.rows(config).write(layout.name, rows)
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """The rows of the entities in a view, as Feast asks for them."""
        layout = layout_of(config, table)
        names = layout.fields if requested_features is None else requested_features
        keys = [serialize_entity_key(key, config.entity_key_serialization_version) for key in entity_keys]
        answers: list[tuple[datetime | None, dict[str, Any] | None]] = []
        for found in self.rows(config).read([(layout.name, key) for key in keys]):
            if found is None:
                answers.append((None, None))
                continue
            values = dict(zip(layout.fields, layout.decode(found[1]), strict=True))
            feast_values = {name: _feast_value(values[name], layout.fields[name]) for name in names if name in values}
            answers.append((instant_of(found[0]), feast_values))
        return answers

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Makes room for the views that are applied, and removes the rows of those that are not."""
        rows = self.rows(config)
        rows.create([layout_of(config, table).name for table in tables_to_keep])
        rows.drop([layout_of(config, table).name for table in tables_to_delete])

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Any]) -> None:
        """Removes the rows of the views."""
        self.rows(config).drop([layout_of(config, table).name for table in tables])


class NewestSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """The options of Feast's SQLite store, of which `path` is used, and whether each commit is synced to the disk."""

    type: Literal["feature_repo.online_store.NewestSqliteOnlineStore"] = SQLITE  # ty: ignore[incompatible-attribute-override]
    synced: bool = True


class NewestSqliteOnlineStore(RowOnlineStore):
    """On one SQLite file."""

    def _open(self, config: RepoConfig) -> Rows:
        return SqliteRows(Path(config.online_store.path), synced=config.online_store.synced)


def layout_of(config: RepoConfig, view: FeatureView) -> Layout:
    """How the rows of a view are laid out: by its registered keys and features."""
    return Layout(
        versioned_name(view, config.registry.enable_online_feature_view_versioning),
        {field.name: _KINDS[field.dtype] for field in view.entity_columns},
        {field.name: _KINDS[field.dtype] for field in view.features},
    )


def _feast_value(value: Any, kind: str) -> Value:
    return Value() if value is None else Value(**{_VALUE_FIELDS[kind]: value})


def _plain(value: Any) -> Any:
    """What a value of Feast holds; null where it has none."""
    kind = value.WhichOneof("val") if value is not None else None
    return getattr(value, kind) if kind else None


def _utc(instant: datetime) -> datetime:
    """Feast means UTC by an instant without a zone."""
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
