"""What Feast's own tools read of a home folder, by `feature_store.yaml`: the features of all domains, as one store.

They read, and write no more than the datasets that they save, by governed runs. What a domain declares reaches its
online store by a run of `features/<domain>/online`, which is governed too.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from feature_repo.feast_api import (
    Entity,
    FeastConfigBaseModel,
    FeatureView,
    OnlineStore,
    Project,
    Registry,
    RegistryConfig,
    RegistryStore,
    RepoConfig,
)
from feature_repo.objects import DATA_CLASS, feast_objects
from feature_repo.state import REGISTRY_FILE, DomainStore
from feature_repo.store import PROJECT, OpenStore, current, open_generation
from pipelines import settings
from pipelines.errors import SettingsError
from pipelines.features.declaration import SHOWN, FeatureService, is_shown
from pipelines.machine import files, locks
from pipelines.settings import Settings

#: Of Feast's project.
DESCRIPTION = "The features of all domains"


def _refused(what: str) -> SettingsError:
    return SettingsError(
        object="feature_repo/feature_store.yaml",
        observed=f"Feast was asked to write {what}",
        expected="reading alone: a governed run writes what a domain declares, with its lineage and its cost",
        next_step="goldpath materialize features/DOMAIN/online",
    )


class HomeRegistryStore(RegistryStore):
    """The registries of all domains as one: of a filled store its own, else what the domain's code declares."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        pass

    def get_registry_proto(self) -> Registry:
        """The views, entities, services, sources and saved datasets of every domain, in one project."""
        from pipelines.definitions import feature_services

        now, declared = settings.get(), feature_services()
        folders = [path.name for path in (now.root / "features").glob("*") if path.is_dir()]
        merged = Registry()
        for domain in sorted({*folders, *declared}):
            state = (place := DomainStore(now, domain)).state()
            if state is not None:
                merged.MergeFrom(_read(place.folder / state.generation / REGISTRY_FILE))
            elif domain in declared:
                merged.MergeFrom(_declared(now, domain, declared[domain]))
        merged = _in_one_project(merged)
        merged.saved_datasets.extend(_saved(now).values())
        return merged

    def update_registry_proto(self, registry_proto: Registry) -> None:
        """Keeps the dataset that was saved; raises SettingsError if Feast was asked to write something else."""
        now = settings.get()
        with locks.held(now.root / "locks" / "saved_datasets.lock", purpose="the list of saved datasets"):
            kept = _saved(now)
            for written in registry_proto.saved_datasets[-1:]:  # Feast puts what it saves behind the others
                if not written.meta.HasField(_READ):
                    kept[written.spec.name] = written
                    files.replace(_saved_file(now), Registry(saved_datasets=kept.values()).SerializeToString())
                    return
            raise _refused("its registry")

    def teardown(self) -> None:
        """Raises SettingsError."""
        raise _refused("its registry")


_READ = "last_updated_timestamp"


def _saved_file(now: Settings) -> Path:
    return now.root / "features" / "saved_datasets.db"


def _saved(now: Settings) -> dict[str, Any]:
    """The datasets that Feast saved, as its registry has them, by name.

    Feast keeps the first and last instant of the first dataset of a name, and reads no rows outside them; so each has
    bounds that hold every instant. Feast never sets the field `_READ`, which therefore tells these from one that it
    saves now, also under the same name.
    """
    path = _saved_file(now)
    found = {saved.spec.name: saved for saved in _read(path).saved_datasets} if path.exists() else {}
    for saved in found.values():
        saved.meta.min_event_timestamp.FromDatetime(datetime(1, 1, 2))  # noqa: DTZ001 UTC
        saved.meta.max_event_timestamp.FromDatetime(datetime(9999, 12, 30))  # noqa: DTZ001 UTC
        getattr(saved.meta, _READ).CopyFrom(saved.meta.created_timestamp)
    return found


def _read(path: Path) -> Registry:
    registry = Registry()
    registry.ParseFromString(path.read_bytes())
    return registry


def _declared(now: Settings, domain: str, services: Sequence[FeatureService]) -> Registry:
    """The registry that a store for these services would have."""
    with tempfile.TemporaryDirectory() as folder:
        place = DomainStore(now.model_copy(update={"home": Path(folder), "redis_url": None}), domain)
        (place.folder / "declared").mkdir(parents=True)
        open_generation(place, "declared").apply(feast_objects(services, now))
        return _read(place.folder / "declared" / REGISTRY_FILE)


def _in_one_project(registry: Registry) -> Registry:
    """The registry with each object in Feast's project of all domains, and each source once."""
    for found in (*registry.entities, *registry.feature_views, *registry.feature_services):
        found.spec.project = PROJECT
    sources = {source.name: source for source in registry.data_sources}
    for source in sources.values():
        source.project = PROJECT
    result = Registry()
    result.CopyFrom(registry)
    for field in ("projects", "project_metadata", "data_sources", "infra"):
        result.ClearField(field)
    result.data_sources.extend(sources.values())
    result.version_id = str(uuid.uuid4())  # by which Feast tells what it has looked up before
    result.projects.append(Project(name=PROJECT, description=DESCRIPTION).to_proto())
    return result


class HomeOnlineStoreConfig(FeastConfigBaseModel):
    """No options: the settings name the home folder, and Redis if the rows are there."""

    type: Literal["feature_repo.home_stores.HomeOnlineStore"] = "feature_repo.home_stores.HomeOnlineStore"


class HomeOnlineStore(OnlineStore):
    """Reads the online store of the domain that a view's name begins with, which stays open."""

    def __init__(self) -> None:
        self._opened: dict[str, OpenStore] = {}

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """The rows of the entities in a view, as Feast asks for them.

        Raises:
            NotFoundError: if the store was not filled yet.
            SettingsError: for a feature above the class that is shown to everybody: Feast's tools name no clearance.
        """
        asked = [field for field in table.features if not requested_features or field.name in requested_features]
        if above := [field.name for field in asked if not is_shown(field.tags.get(DATA_CLASS, SHOWN))]:
            raise SettingsError(
                object=f"feature view {table.name}",
                observed=f"Feast was asked for {', '.join(above)}, more protected than {SHOWN}",
                expected=f"features up to {SHOWN}",
                next_step="leave them out, or goldpath features get SERVICE KEY=VALUE --reads CLASS",
            )
        domain = table.name.partition(".")[0]
        opened = current(DomainStore(settings.get(), domain), self._opened.get(domain))
        self._opened[domain] = opened
        provider: Any = opened.store._get_provider()
        return provider.online_store.online_read(opened.store.config, table, entity_keys, requested_features)

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Any], progress: Callable[[int], Any] | None
    ) -> None:
        """Raises SettingsError."""
        raise _refused("online rows")

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Raises SettingsError."""
        raise _refused("its online store")

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Raises SettingsError."""
        raise _refused("its online store")
