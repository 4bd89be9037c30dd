"""Feast's SQLite store, in which a row never gives way to an older one; Feast's Redis store is so by itself.

Two programs write: a run that moves the store to what the tables know, and pushed events that are ahead of the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from feast import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig, _table_id
from feast.repo_config import RepoConfig

from feature_repo.store import SQLITE

KEYS_PER_QUERY = 900


class NewestSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """The options of Feast's own."""

    type: Literal["feature_repo.online_store.NewestSqliteOnlineStore"] = SQLITE  # ty: ignore[incompatible-attribute-override]


class NewestSqliteOnlineStore(SqliteOnlineStore):
    """Writes a row only if none with a later event timestamp is stored; of the same instant the later writer wins."""

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[Any, dict[str, Any], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        connection = self._get_conn(config)
        with connection:
            connection.execute(
                "BEGIN IMMEDIATE"
            )  # reads and writes in one transaction, or another writer slips between
            keys = [serialize_entity_key(key, config.entity_key_serialization_version) for key, *_ in data]
            stored = self._stored(config, table, keys)
            newest = [
                row for key, row in zip(keys, data, strict=True) if key not in stored or _utc(row[2]) >= stored[key]
            ]
            super().online_write_batch(config, table, sorted(newest, key=lambda row: _utc(row[2])), progress)

    def _stored(self, config: RepoConfig, table: FeatureView, keys: list[bytes]) -> dict[bytes, datetime]:
        """The event timestamp of each stored entity."""
        name = _table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
        connection, found = self._get_conn(config), {}
        for start in range(0, len(keys), KEYS_PER_QUERY):
            some = keys[start : start + KEYS_PER_QUERY]
            marks = ", ".join("?" * len(some))
            query = f'SELECT entity_key, event_ts FROM "{name}" WHERE entity_key IN ({marks})'
            for key, instant in connection.execute(query, some):
                found[key] = max(_utc(instant), found.get(key, _utc(instant)))
        return found


def _utc(instant: datetime) -> datetime:
    """Feast stores instants without their zone, which is UTC."""
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
