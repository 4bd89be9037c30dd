"""Fixtures for every test: one engine for the session, and a platform of its own for each test that writes.

With `--engine spark` (or GOLDPATH_ENGINE=spark) the tests, and the processes that they start, use Apache Spark.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, get_args

import dagster as dg
import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

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
    parser.addoption(
        "--engine", choices=get_args(Kind), default=chosen, help="the engine that computes the tables of the tests"
    )


def pytest_configure(config: pytest.Config) -> None:
    os.environ["GOLDPATH_ENGINE"] = config.getoption("engine")
    settings.get.cache_clear()
    if settings.get().engine == "spark":
        os.environ["GOLDPATH_JARS_DIR"] = str(jars_dir())  # tests use home folders without JARs
        settings.get.cache_clear()
    # The tables of the tests are small: without this, a JVM spends most of its time compiling code that runs once.
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    # The same examples each time, so that a change alone decides; `--hypothesis-profile=default` looks for further ones.
    if not config.getoption("--hypothesis-profile"):
        hypothesis.settings.register_profile("repeatable", derandomize=True)
        hypothesis.settings.load_profile("repeatable")
    # Ray reads its network settings when it is imported, by whichever test comes first.
    ray_environment.prepare_environment(settings.get())


def jars_dir() -> Path:
    """The folder that holds the Delta JARs.

    Raises:
        pytest.UsageError: if they are missing or wrong.
    """
    current = settings.get()
    try:
        return ensure_jars(current.root, jars_dir=current.jars_dir)[0].parent
    except EngineError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrizes `each_engine`: with both engines, or with Spark alone if the suite runs on Spark."""
    if "each_engine" in metafunc.fixturenames:
        spark = pytest.param("spark", marks=pytest.mark.spark)
        kinds = [spark] if metafunc.config.getoption("engine") == "spark" else ["embedded", spark]
        metafunc.parametrize("each_engine", kinds, indirect=True, scope="session")


#: Test files that share a session fixture of a minute or more: the demo, a Ray cluster, a deployed service.
TOGETHER = {
    "tests/end_to_end/test_demo.py": "demo",
    "tests/end_to_end/test_home.py": "demo",
    "tests/end_to_end/test_ui.py": "demo",
    "tests/ray_jobs/": "ray_jobs",
    "tests/serving/predict/": "predict",
}


class FileScheduling(LoadFileScheduling):
    """Gives whole test files to the processes of pytest-xdist, and to one of them those that share such a fixture."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((name for prefix, name in TOGETHER.items() if file.startswith(prefix)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling:
    return FileScheduling(config, log)


class Materialize(Protocol):
    """Materializes assets on a platform, in this process: of the day `start`, of the days up to `end`, or without days."""

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
    """The embedded engine."""
    with Engine.start("embedded", home=tmp_path_factory.mktemp("sail"), threads=2) as engine:
        yield engine


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Apache Spark."""
    with Engine.start("spark", home=tmp_path_factory.mktemp("spark"), threads=2, jars_dir=jars_dir()) as engine:
        yield engine


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    """The suite's engine, as `--engine` names it."""
    return _engine(request, request.config.getoption("engine"))


@pytest.fixture(scope="session")
def each_engine(request: pytest.FixtureRequest) -> Engine:
    """Both engines in turn."""
    return _engine(request, request.param)


def _engine(request: pytest.FixtureRequest, kind: Kind) -> Engine:
    engine: Engine = request.getfixturevalue("sail" if kind == "embedded" else "spark")
    return engine


@pytest.fixture(scope="session")
def make_platform(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Platform]:
    """Makes platforms with all contracts of the project, each with a home folder of its own, on the suite's engine."""
    from pipelines.definitions import all_contracts

    def make() -> Platform:
        settings = Settings(home=tmp_path_factory.mktemp("home"), profile="test", engine=engine.kind)
        platform = Platform(settings, all_contracts)
        platform.engine = engine
        return platform

    return make


@pytest.fixture
def platform(make_platform: Callable[[], Platform]) -> Platform:
    """A platform with a home folder of its own."""
    return make_platform()


@pytest.fixture(scope="session")
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory, shared by the session."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture(scope="session")
def materialize(instance: dg.DagsterInstance) -> Materialize:
    """Materializes assets in the session's Dagster instance."""

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
