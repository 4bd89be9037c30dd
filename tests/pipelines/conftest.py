"""Sources with their tables on either engine, and libraries that phone nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import settings
from pipelines.engine.session import Engine
from tests.conftest import Materialize
from tests.pipelines.toy_pipeline import ToyPipeline, pipeline_builder

for name, value in settings.QUIET.items():
    os.environ.setdefault(name, value)


@pytest.fixture
def make_pipeline(engine: Engine, tmp_path: Path, materialize: Materialize) -> Callable[..., ToyPipeline]:
    """Makes sources with their tables, on the engine of the suite."""
    return pipeline_builder(engine, tmp_path, materialize)


@pytest.fixture
def make_pipeline_each_engine(
    each_engine: Engine, tmp_path: Path, materialize: Materialize
) -> Callable[..., ToyPipeline]:
    """Makes sources with their tables, on both engines in turn."""
    return pipeline_builder(each_engine, tmp_path, materialize)
