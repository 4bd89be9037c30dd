"""One engine for the whole session; a platform of its own for each test that writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import dagster as dg
import pytest

from pipelines import ray_cluster, settings
from pipelines.engine import Engine
from pipelines.governed import PLATFORM
from pipelines.resources import Platform
from pipelines.settings import Settings

# Ray reads how it is to listen when it is imported, by whichever test comes first.
ray_cluster.prepare_environment(settings.get())


class Materialize(Protocol):
    """Materializes assets on a platform, in this process: of one day, of the days up to `end`, or without days."""

    def __call__(
        self,
        platform: Platform,
        assets: Sequence[dg.AssetsDefinition],
        start: str | None = None,
        end: str | None = None,
        *,
        raise_on_error: bool = True,
    ) -> dg.ExecuteInProcessResult: ...


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine.start("embedded", home=tmp_path_factory.mktemp("engine"), threads=2) as started:
        yield started


@pytest.fixture(scope="session")
def make_platform(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Platform]:
    """Makes a platform with a home of its own, on the session's engine."""
    from pipelines.definitions import all_contracts

    def make() -> Platform:
        made = Platform(Settings(home=tmp_path_factory.mktemp("home"), profile="test"), all_contracts)
        made.engine = engine
        return made

    return make


@pytest.fixture
def platform(make_platform: Callable[[], Platform]) -> Platform:
    return make_platform()


@pytest.fixture(scope="session")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture(scope="session")
def materialize(instance: dg.DagsterInstance) -> Materialize:
    def run(
        platform: Platform,
        assets: Sequence[dg.AssetsDefinition],
        start: str | None = None,
        end: str | None = None,
        *,
        raise_on_error: bool = True,
    ) -> dg.ExecuteInProcessResult:
        tags = {}
        if start:
            tags = {"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end or start}
        return dg.materialize(
            assets,
            instance=instance,
            resources={PLATFORM: dg.ResourceDefinition.hardcoded_resource(platform)},
            tags=tags,
            raise_on_error=raise_on_error,
        )

    return run
