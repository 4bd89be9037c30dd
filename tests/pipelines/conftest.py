"""Both engines, each once for the session, and libraries that phone nobody."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines import settings
from pipelines.engine import Engine
from pipelines.jars import ensure_jars
from tests.conftest import Materialize
from tests.pipelines.roads import Road, builder

for name, value in settings.QUIET.items():
    os.environ.setdefault(name, value)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    found = settings.get()
    jars = ensure_jars(found.root, jars_dir=found.jars_dir)
    with Engine.start("spark", home=tmp_path_factory.mktemp("spark"), threads=2, jars_dir=jars[0].parent) as started:
        yield started


@pytest.fixture(scope="session", params=["embedded", pytest.param("spark", marks=pytest.mark.spark)])
def each_engine(request: pytest.FixtureRequest) -> Engine:
    """Both engines in turn."""
    started: Engine = request.getfixturevalue("engine" if request.param == "embedded" else "spark")
    return started


@pytest.fixture
def road(engine: Engine, tmp_path: Path, materialize: Materialize) -> Callable[..., Road]:
    """Makes sources with their tables, on the embedded engine."""
    return builder(engine, tmp_path, materialize)


@pytest.fixture
def each_road(each_engine: Engine, tmp_path: Path, materialize: Materialize) -> Callable[..., Road]:
    """Makes sources with their tables, on both engines in turn."""
    return builder(each_engine, tmp_path, materialize)
