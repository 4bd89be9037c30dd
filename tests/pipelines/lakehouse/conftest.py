"""An empty lakehouse, of the embedded engine or of each engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engine.session import Engine
from pipelines.lakehouse.base import Lakehouse
from pipelines.lakehouse.embedded import EmbeddedLakehouse
from pipelines.lakehouse.spark import SparkLakehouse


@pytest.fixture
def embedded(sail: Engine, tmp_path: Path) -> EmbeddedLakehouse:
    return EmbeddedLakehouse(root=str(tmp_path / "tables"), engine=lambda: sail, locks=tmp_path / "locks")


@pytest.fixture
def house(each_engine: Engine, tmp_path: Path) -> Lakehouse:
    """An empty lakehouse, once for each engine."""
    kind = EmbeddedLakehouse if each_engine.kind == "embedded" else SparkLakehouse
    return kind(root=str(tmp_path / "tables"), engine=lambda: each_engine, locks=tmp_path / "locks")
