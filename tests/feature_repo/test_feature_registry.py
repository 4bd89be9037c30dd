"""Feast's registry: its file, read while it is written, and what Feast may change in that of a home folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from feast.infra.registry.registry import Registry as FeastRegistry
from feast.protos.feast.core.Project_pb2 import Project
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.repo_config import RegistryConfig
from feast.saved_dataset import SavedDataset

from feature_repo.feast_api import Entity, SavedDatasetFileStorage, ValueType
from feature_repo.home_stores import HomeRegistryStore
from feature_repo.registry_file import ReplacedFileRegistryStore
from feature_repo.store import PROJECT
from pipelines import settings
from pipelines.errors import SettingsError
from pipelines.settings import Settings


def test_a_reader_sees_a_complete_registry_while_another_is_written(tmp_path: Path) -> None:
    registry = Registry(projects=[Project() for _ in range(1_000)])
    store = ReplacedFileRegistryStore(RegistryConfig(path=str(tmp_path / "registry.db")), tmp_path)
    store.update_registry_proto(registry)
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(lambda: [store.update_registry_proto(registry) for _ in range(100)])
        seen = {len(store.get_registry_proto().projects)}
        while not writing.done():
            seen.add(len(store.get_registry_proto().projects))
        writing.result()
    assert seen == {1_000}
    assert [path.name for path in tmp_path.iterdir()] == ["registry.db"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a home folder whose project has no feature services."""
    found = Settings(home=tmp_path / "home", profile="test")
    monkeypatch.setattr(settings, "get", lambda: found)
    monkeypatch.setattr("pipelines.definitions.feature_services", dict)
    return found


def registry(folder: Path) -> FeastRegistry:
    """Feast's registry over the home folder, as a process opens it."""
    config = RegistryConfig(
        registry_type="file", registry_store_type="feature_repo.home_stores.HomeRegistryStore", path="home"
    )
    return FeastRegistry(PROJECT, config, folder)


def dataset(name: str, table: str) -> SavedDataset:
    made = SavedDataset(
        name=name, features=["toys.stats:trips"], join_keys=["driver"], storage=SavedDatasetFileStorage(path=table)
    )
    made.min_event_timestamp = made.max_event_timestamp = datetime(2013, 3, 10, tzinfo=UTC)
    return made


def tables(folder: Path) -> dict[str, str]:
    found: Any = HomeRegistryStore(RegistryConfig(path="home"), folder).get_registry_proto()
    return {saved.spec.name: saved.spec.storage.file_storage.uri for saved in found.saved_datasets}


def test_the_registry_of_a_home_folder_keeps_the_datasets_that_several_processes_saved(
    home: Settings, tmp_path: Path
) -> None:
    first, second = registry(tmp_path), registry(tmp_path)
    first.apply_saved_dataset(dataset("march", "gold/toys/march"), PROJECT)
    second.apply_saved_dataset(dataset("april", "gold/toys/april"), PROJECT)
    assert tables(tmp_path) == {"march": "gold/toys/march", "april": "gold/toys/april"}
    for _ in range(2):  # the same one again is a dataset that was saved with other rows
        second.apply_saved_dataset(dataset("march", "gold/toys/march_2"), PROJECT)
    assert tables(tmp_path) == {"march": "gold/toys/march_2", "april": "gold/toys/april"}
    assert [path.name for path in (home.root / "features").iterdir()] == ["saved_datasets.db"]


def test_the_registry_of_a_home_folder_takes_nothing_else(home: Settings, tmp_path: Path) -> None:
    registry(tmp_path).apply_saved_dataset(dataset("march", "gold/toys/march"), PROJECT)
    entity = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    with pytest.raises(SettingsError, match="Feast was asked to write its registry"):
        registry(tmp_path).apply_entity(entity, PROJECT)
    assert not HomeRegistryStore(RegistryConfig(path="home"), tmp_path).get_registry_proto().entities
    assert tables(tmp_path) == {"march": "gold/toys/march"}
