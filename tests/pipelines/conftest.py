"""Sources with their tables on either engine, and libraries that phone nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import settings
from pipelines.engine.session import Engine
from tests.conftest import Materialize
from tests.pipelines.roads import Road, builder

for name, value in settings.QUIET.items():
    os.environ.setdefault(name, value)


@pytest.fixture
def road(engine: Engine, tmp_path: Path, materialize: Materialize) -> Callable[..., Road]:
    """Makes sources with their tables, on the engine of the suite."""
    return builder(engine, tmp_path, materialize)


@pytest.fixture
def each_road(each_engine: Engine, tmp_path: Path, materialize: Materialize) -> Callable[..., Road]:
    """Makes sources with their tables, on both engines in turn."""
    return builder(each_engine, tmp_path, materialize)
