"""Fixtures that make toy pipelines, and settings that keep libraries from sending usage statistics."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines import settings
from pipelines.engine.session import Engine
from tests.conftest import Materialize
from tests.pipelines.toy_pipeline import MakePipeline, pipeline_builder

for name, value in settings.QUIET.items():
    os.environ.setdefault(name, value)


@pytest.fixture
def make_pipeline(engine: Engine, tmp_path: Path, materialize: Materialize) -> MakePipeline:
    """Makes pipelines on the suite's engine."""
    return pipeline_builder(engine, tmp_path, materialize)


@pytest.fixture
def make_pipeline_each_engine(each_engine: Engine, tmp_path: Path, materialize: Materialize) -> MakePipeline:
    """Makes pipelines on both engines in turn."""
    return pipeline_builder(each_engine, tmp_path, materialize)
