"""Feast's own command line on `feature_repo/`: it lists the features of every domain, and reads a home folder's rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.definitions import feature_services
from pipelines.engine.session import Engine
from pipelines.settings import PROJECT, Settings
from tests.feature_repo.test_domains import expected, fill
from tests.goldpath_process import environment

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")

Feast = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def feast(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Feast:
    """Runs `feast -c feature_repo` on a home folder in which the domain `toys` alone has a filled store."""
    folder = tmp_path_factory.mktemp("feast")
    fill(engine, Settings(home=folder / "home", profile="test"), folder, "toys", 20)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("feast")), "-c", str(PROJECT / "feature_repo"), *arguments]
        env = environment(folder / "home")
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env, cwd=folder)

    return run


@pytest.mark.parametrize("group", ["feature-views", "feature-services"])
def test_feast_lists_what_is_filled_and_what_is_declared_of_every_domain(feast: Feast, group: str) -> None:
    declared = [service for services in feature_services().values() for service in services]
    views = {f"{service.domain}.{view.name}" for service in declared for view in service.views}
    names = views if group == "feature-views" else {service.full_name for service in declared}
    filled = "toys.stock" if group == "feature-views" else "toys.stock_v1"
    listed = feast(group, "list")
    assert listed.returncode == 0, listed.stderr
    assert {line.split()[0] for line in listed.stdout.splitlines() if "." in line.split()[0]} == names | {filled}


def test_feast_reads_the_rows_of_a_domain(feast: Feast) -> None:
    answer = feast("get-online-features", "-e", "item=brick", "-f", "toys.stock:count", "-f", "toys.stock:text")
    assert answer.returncode == 0, answer.stderr
    row = expected("toys", 20)[0]
    assert json.loads(answer.stdout) == {
        "item": ["brick"], "count": [row["stock__count"]], "text": [row["stock__text"]]
    }  # fmt: skip


def test_feast_writes_nothing_and_names_the_command_that_does(feast: Feast) -> None:
    applied = feast("apply")
    assert applied.returncode != 0
    assert "goldpath materialize features/DOMAIN/online" in applied.stderr
