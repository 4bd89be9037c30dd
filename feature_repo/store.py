"""Opens the feature store of a home folder: its registry, its online store, and our offline store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipelines.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureStore

PROJECT = "goldpath"


def open_store(settings: Settings) -> FeatureStore:
    """The feature store: SQLite online, or Redis where GOLDPATH_REDIS_URL names one."""
    from feast import FeatureStore, RepoConfig

    folder = settings.root / "features"
    folder.mkdir(parents=True, exist_ok=True)
    online: dict[str, Any] = {"type": "sqlite", "path": str(folder / "online.db")}
    if settings.redis_url:
        online = {"type": "redis", "connection_string": settings.redis_url.get_secret_value()}
    config = RepoConfig(
        project=PROJECT,
        provider="local",
        registry={"registry_type": "file", "path": str(folder / "registry.db"), "cache_ttl_seconds": 0},
        online_store=online,
        offline_store={"type": "feature_repo.offline_store.LakehouseOfflineStore"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return FeatureStore(config=config)


def apply(store: FeatureStore, objects: Callable[[], list[Any]]) -> None:
    """Brings the registry to what the code declares."""
    store.apply(objects())
