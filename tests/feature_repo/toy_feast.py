"""A Feast store over the published tables of a small home folder, whose contracts a test declares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from feature_repo.feast_api import FeatureStore, RepoConfig
from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.governed.platform import Platform
from pipelines.settings import Settings
from tests.pipelines import toy_contracts


def toy_platform(engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """The platform of this process for the length of a test, without contracts."""
    contracts: dict[Any, Contract] = {}
    platform = Platform(Settings(home=folder / "home", profile="test", engine=engine.kind), lambda: contracts)
    platform.engine = engine
    monkeypatch.setattr("pipelines.definitions.shared_platform", lambda: platform)
    monkeypatch.setenv("DAGSTER_HOME", "")  # set by the first run, and as it was after the test
    return platform


def declare(
    platform: Platform, folder: Path, table: str, properties: Sequence[dict[str, Any]], **more: Any
) -> Contract:
    """Declares a table; `more` as in `toy_contracts.document`."""
    contract = toy_contracts.contract(folder, table, properties, **more)
    platform.contracts[contract.table] = contract
    return contract


def bigint(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": "integer", "physicalType": "bigint", "description": name, **more}


def timestamp(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": "timestamp", "description": name, **more}


def toy_store(folder: Path) -> FeatureStore:
    """A Feast store of a registry and an online store of its own, and of our offline store."""
    config = RepoConfig(
        project="toy",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        offline_store={"type": "feature_repo.offline_store.LakehouseOfflineStore"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return FeatureStore(config=config)
