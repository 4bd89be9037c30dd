"""The online store on Redis as Feast sees it. A module of its own, since a store on SQLite does without its client."""

from __future__ import annotations

from typing import Any, Literal

from feature_repo.feast_api import RepoConfig  # before Feast's own module: it loads Feast
from feature_repo.online_store import RowOnlineStore, Rows
from feature_repo.redis_rows import RedisRows
from feature_repo.store import REDIS

from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig  # isort: skip


class NewestRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """The options of Feast's Redis store; an address means the same to both."""

    type: Literal["feature_repo.redis_store.NewestRedisOnlineStore"] = REDIS  # ty: ignore[incompatible-attribute-override]


class NewestRedisOnlineStore(RowOnlineStore):
    """On Redis, with the client that Feast's own store makes."""

    def client(self, config: RepoConfig) -> Any:
        """A client of the server that the configuration names."""
        return RedisOnlineStore()._get_client(config.online_store)

    def _open(self, config: RepoConfig) -> Rows:
        return RedisRows(self.client(config), config.project)
