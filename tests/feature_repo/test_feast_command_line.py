"""Feast's own command line on `feature_repo/`: it lists the features of every domain, and reads a home folder's rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

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
    settings = Settings(home=folder / "home", profile="test")
    fill(engine, settings, folder, "toys", 20)
    hours = [datetime(2013, 1, 1, hour, tzinfo=UTC) for hour in (1, 2)]
    conditions = pa.table(
        {
            "station": pa.array(["JFK", "JFK"]),
            "event_timestamp": pa.array(hours, pa.timestamp("us", "UTC")),
            "temp": pa.array([39.5, None], pa.float64()),
        }
    )
    write_deltalake(Path(settings.lakehouse) / "gold" / "weather" / "station_conditions", conditions)

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


@pytest.mark.parametrize(
    ("question", "expected_rows"),
    [
        (["-d", json.dumps([{"station": "JFK", "event_timestamp": f"2013-01-01T0{hour}:30:00"} for hour in (0, 1, 2)])],
         [("00:30", None), ("01:30", 39.5), ("02:30", None)]),
        (["-s", "2013-01-01 00:00:00", "-e", "2013-01-01 01:59:00"], [("01:59", 39.5)]),
    ],
    ids=["entity rows", "a range of time"],
)  # fmt: skip
def test_feast_reads_the_published_tables_as_they_were_known(
    feast: Feast, question: list[str], expected_rows: list[tuple[str, float | None]]
) -> None:
    answer = feast("get-historical-features", *question, "-f", "weather.station_conditions:temp")
    assert answer.returncode == 0, answer.stderr
    rows = json.loads(answer.stdout[answer.stdout.index("[") :])
    found = {datetime.fromtimestamp(r["event_timestamp"] / 1000, UTC).strftime("%H:%M"): r["temp"] for r in rows}
    assert sorted(found.items()) == expected_rows


def test_feast_writes_nothing_and_names_the_command_that_does(feast: Feast) -> None:
    applied = feast("apply")
    assert applied.returncode != 0
    assert "goldpath materialize features/DOMAIN/online" in applied.stderr
