"""The tables of `changed_tables`, as each engine reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engine.session import Engine
from tests.pipelines.lineage.changed_tables import Versions, write_versions


@pytest.fixture(scope="session")
def versions_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lineage")
    write_versions(folder)
    return folder


@pytest.fixture(scope="session")
def tables(each_engine: Engine, versions_folder: Path) -> Versions:
    return Versions(each_engine.session, versions_folder)


@pytest.fixture(scope="session")
def sail_tables(sail: Engine, versions_folder: Path) -> Versions:
    return Versions(sail.session, versions_folder)


@pytest.fixture(scope="session")
def spark_tables(spark: Engine, versions_folder: Path) -> Versions:
    return Versions(spark.session, versions_folder)
