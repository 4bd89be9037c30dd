"""The measurements of `bench/`, which no other test runs: each can be loaded, and so can the contracts of their tables."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from bench import freshness, late_merges, merges
from bench.__main__ import PARTS
from pipelines.governed.platform import Platform
from pipelines.settings import Settings


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(Settings(home=tmp_path, profile="test"), dict)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_measured(part: str) -> None:
    assert callable(importlib.import_module(f"bench.{part}").measure)


@pytest.mark.parametrize("zone", ["bronze", "silver"])
@pytest.mark.parametrize("part", [merges, late_merges, freshness])
def test_the_contracts_of_a_part_load(platform: Platform, tmp_path: Path, part: ModuleType, zone: str) -> None:
    assert part._contract(platform, tmp_path, zone).table.zone == zone
