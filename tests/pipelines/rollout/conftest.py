"""Homes with a service that has two versions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.settings import Settings
from tests.pipelines.rollout.toy_service import ToyRollout


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> ToyRollout:
    """A home that tests copy: registering takes seconds."""
    settings = Settings(home=tmp_path_factory.mktemp("filled"), profile="test")
    return ToyRollout.at(settings, tmp_path_factory.mktemp("models"))


@pytest.fixture
def toy(filled: ToyRollout, tmp_path: Path) -> ToyRollout:
    """A service with two versions, in a home of its own; the first one is the champion."""
    home = tmp_path / "home"
    shutil.copytree(filled.settings.home, home, symlinks=True)
    return ToyRollout(Settings(home=home, profile="test"), filled.spec)
