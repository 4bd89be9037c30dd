"""Feast's SQLite online store, without overwriting a row by an older one; Feast's Redis store does so by itself.

Two programs write: a run that moves the store to the state of the tables, and pushed events that are newer than those.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from feature_repo.feast_api import (
    FeatureView,
    RepoConfig,
    SqliteOnlineStore,
    SqliteOnlineStoreConfig,
    serialize_entity_key,
    table_id,
)
from feature_repo.store import SQLITE

#: Below 999, which is what SQLite takes in one query before version 3.32.
KEYS_PER_QUERY = 900


class NewestSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """The options of Feast's SQLite store, and whether each commit is synced to the disk."""

    type: Literal["feature_repo.online_store.NewestSqliteOnlineStore"] = SQLITE  # ty: ignore[incompatible-attribute-override]
    synced: bool = True


class NewestSqliteOnlineStore(SqliteOnlineStore):
    """Writes a row unless one with a later event timestamp is stored; at equal timestamps the last written stays."""

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[Any, dict[str, Any], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        connection = self._get_conn(config)
        # Readers go on while a row is written, and a commit is one write to one file.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if config.online_store.synced else 'NORMAL'}")
        with connection:
            # Read and write in one transaction, so that no other writer writes between.
            connection.execute("BEGIN IMMEDIATE")
            keys = [serialize_entity_key(key, config.entity_key_serialization_version) for key, *_ in data]
            stored = self._stored(config, table, keys)
            newest = [
                row for key, row in zip(keys, data, strict=True) if key not in stored or _utc(row[2]) >= stored[key]
            ]
            super().online_write_batch(config, table, sorted(newest, key=lambda row: _utc(row[2])), progress)

    def _stored(self, config: RepoConfig, table: FeatureView, keys: list[bytes]) -> dict[bytes, datetime]:
        """The newest stored event timestamp of each entity that is stored."""
        name = table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
        connection, newest = self._get_conn(config), {}
        for start in range(0, len(keys), KEYS_PER_QUERY):
            queried = keys[start : start + KEYS_PER_QUERY]
            marks = ", ".join("?" * len(queried))
            query = f'SELECT entity_key, event_ts FROM "{name}" WHERE entity_key IN ({marks})'
            for key, instant in connection.execute(query, queried):
                newest[key] = max(_utc(instant), newest.get(key, _utc(instant)))
        return newest


def _utc(instant: datetime) -> datetime:
    """Feast stores instants without their zone, which is UTC."""
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
