"""One engine for the whole session; a platform of its own for each test that writes.

`--engine spark` (or GOLDPATH_ENGINE=spark) runs the suite on Apache Spark: its tables, and the processes that it starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, get_args

import dagster as dg
import pytest

from pipelines import settings
from pipelines.engine.jars import ensure_jars
from pipelines.engine.session import Engine, Kind
from pipelines.errors import EngineError
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.machine import ray_environment
from pipelines.settings import Settings


def pytest_addoption(parser: pytest.Parser) -> None:
    chosen = os.environ.get("GOLDPATH_ENGINE", "embedded")
    parser.addoption("--engine", choices=get_args(Kind), default=chosen, help="who computes the tests' tables")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["GOLDPATH_ENGINE"] = config.getoption("engine")
    settings.get.cache_clear()
    if settings.get().engine == "spark":
        os.environ["GOLDPATH_JARS_DIR"] = str(jars_dir())  # for the homes that tests make
        settings.get.cache_clear()
    # Spark's tables here are small: most of a JVM's time went into compiling code that then ran once.
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    # Ray reads how it is to listen when it is imported, by whichever test comes first.
    ray_environment.prepare_environment(settings.get())


def jars_dir() -> Path:
    """The folder that holds the Delta JARs on this machine."""
    found = settings.get()
    try:
        return ensure_jars(found.root, jars_dir=found.jars_dir)[0].parent
    except EngineError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`each_engine` is both engines in turn; or Spark alone, where the whole suite runs on it."""
    if "each_engine" in metafunc.fixturenames:
        spark = pytest.param("spark", marks=pytest.mark.spark)
        kinds = [spark] if metafunc.config.getoption("engine") == "spark" else ["embedded", spark]
        metafunc.parametrize("each_engine", kinds, indirect=True, scope="session")


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
def sail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine.start("embedded", home=tmp_path_factory.mktemp("sail"), threads=2) as started:
        yield started


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine.start("spark", home=tmp_path_factory.mktemp("spark"), threads=2, jars_dir=jars_dir()) as started:
        yield started


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine of the suite."""
    return _started(request, request.config.getoption("engine"))


@pytest.fixture(scope="session")
def each_engine(request: pytest.FixtureRequest) -> Engine:
    """Both engines in turn."""
    return _started(request, request.param)


def _started(request: pytest.FixtureRequest, kind: Kind) -> Engine:
    started: Engine = request.getfixturevalue("sail" if kind == "embedded" else "spark")
    return started


@pytest.fixture(scope="session")
def make_platform(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Platform]:
    """Makes a platform with a home of its own, on the session's engine."""
    from pipelines.definitions import all_contracts

    def make() -> Platform:
        settings = Settings(home=tmp_path_factory.mktemp("home"), profile="test", engine=engine.kind)
        made = Platform(settings, all_contracts)
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
