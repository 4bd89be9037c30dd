"""How the online store of a domain is opened: SQLite, or Redis where GOLDPATH_REDIS_URL names one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.state import ONLINE_FILE, REGISTRY_FILE, DomainStore, State
from pipelines.errors import NotFoundError
from pipelines.features.declaration import FeatureService
from pipelines.machine import files

if TYPE_CHECKING:
    from feature_repo.feast_api import FeatureStore

#: Feast's project as its own tools see it.
PROJECT = "goldpath"
#: The types of the online stores in Feast's configuration.
SQLITE = "feature_repo.online_store.NewestSqliteOnlineStore"
REDIS = "feature_repo.redis_store.NewestRedisOnlineStore"


@dataclass(frozen=True, slots=True)
class OpenStore:
    """An open store, and what it is: the state, and the device and inode of the SQLite file (None on Redis)."""

    store: FeatureStore
    state: State
    file: tuple[int, int] | None


def project(generation: str) -> str:
    """Feast's project of one generation, with which its keys on Redis end: no two generations have one."""
    return f"{PROJECT}_{generation}"


def open_generation(place: DomainStore, generation: str, *, synced: bool = True) -> FeatureStore:
    """The feature store of one generation of a domain's store.

    Args:
        place: The domain's store.
        generation: The generation.
        synced: Whether each commit to SQLite is synced to the disk. Those of pushed events are not, since their log is
            synced (see `sync`).
    """
    from feature_repo.feast_api import FeatureStore, RepoConfig

    folder = place.folder / generation
    online: dict[str, Any] = {"type": SQLITE, "path": str(folder / ONLINE_FILE), "synced": synced}
    if address := place.settings.redis_url:
        online = {"type": REDIS, "connection_string": address.get_secret_value()}
    config = RepoConfig(
        project=project(generation),
        provider="local",
        registry={
            "registry_type": "file",
            "registry_store_type": "feature_repo.registry_file.ReplacedFileRegistryStore",
            "path": str(folder / REGISTRY_FILE),
            "cache_ttl_seconds": 0,
        },
        online_store=online,
        offline_store={"type": "feature_repo.offline_store.LakehouseOfflineStore"},
        entity_key_serialization_version=3,
        materialization={"pull_latest_features": True},
        repo_path=folder,
    )
    store = FeatureStore(config=config)
    # Otherwise Feast refuses to read a view while it is being filled, and for ever after a killed filling.
    store.registry.serve_features_while_materializing = True
    return store


def current(place: DomainStore, before: OpenStore | None = None, *, synced: bool = True) -> OpenStore:
    """The store as it is now: open as it was in `before`, if that is the same filling of it.

    Args:
        place: The domain's store.
        before: The store as it was opened before.
        synced: As in `open_generation`.

    Raises:
        NotFoundError: if the store was not filled yet.
        OSError: if its file is away.
    """
    state = place.state()
    if state is None:
        raise NotFoundError(
            object=f"online store of domain {place.domain}",
            observed="it was not filled yet",
            expected="a store that holds the rows of the feature tables",
            next_step=f"goldpath materialize {place.asset}",
        )
    file = None if place.settings.redis_url else _identity(place.folder / state.generation / ONLINE_FILE)
    if before is not None and (before.state.generation, before.file) == (state.generation, file):
        return before if before.state == state else replace(before, state=state)
    return OpenStore(open_generation(place, state.generation, synced=synced), state, file)


def register(place: DomainStore, services: Sequence[FeatureService]) -> None:
    """Tells Feast's own tools of a filled store which version of each view is the current one."""
    if place.state() is None:
        return
    from feature_repo.objects import feast_objects

    with place.writing():
        current(place).store.apply(feast_objects(services, place.settings))


def sync(place: DomainStore) -> None:
    """Syncs to the disk what pushed events wrote to SQLite; Redis has its own persistence."""
    state = place.state()
    if state is None or place.settings.redis_url:
        return
    for suffix in ("-wal", ""):
        with contextlib.suppress(FileNotFoundError):  # the log of SQLite was merged, or the store was replaced
            files.sync(place.folder / state.generation / f"{ONLINE_FILE}{suffix}")


def holds_rows(place: DomainStore, generation: str) -> bool:
    """Whether the files of a generation are there, and on Redis the mark that its filling left."""
    folder = place.folder / generation
    if not (folder / REGISTRY_FILE).exists():
        return False
    if place.settings.redis_url:
        return bool(_redis(place, generation).exists(project(generation)))
    online = folder / ONLINE_FILE
    return online.exists() and online.stat().st_size > 0


def mark_filled(place: DomainStore, generation: str) -> None:
    """Leaves a mark on Redis, which is lost with the rows if the server starts empty."""
    if place.settings.redis_url:
        _redis(place, generation).set(project(generation), "filled")


def remove_other_generations(place: DomainStore, *kept: str) -> None:
    """Removes what is left of all generations but some."""
    for generation in place.generations():
        if generation in kept:
            continue
        if place.settings.redis_url:
            client, ending = _redis(place, generation), project(generation)
            with client.pipeline(transaction=False) as pipe:
                for key in client.scan_iter(match=f"*{ending}", count=1_000):
                    pipe.unlink(key)
                pipe.execute()
        place.remove_folder(generation)


def _redis(place: DomainStore, generation: str) -> Any:
    """The client of Feast's own store, so that an address means the same to both."""
    store = open_generation(place, generation)
    online: Any = store._get_provider()
    return online.online_store.client(store.config)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
