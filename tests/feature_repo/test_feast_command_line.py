"""Feast's own command line and server on `feature_repo/`: they read a home folder, and write nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from assets.weather.features import TEMPERATURE_V1
from feature_repo.filling import materialize
from feature_repo.state import DomainStore
from feature_repo.store import register
from pipelines.definitions import feature_services
from pipelines.engine.session import Engine
from pipelines.features import versions
from pipelines.features.declaration import FeatureService, feature_view
from pipelines.machine import ports
from pipelines.settings import PROJECT, Settings
from serving.predict.features import OnlineFeatures
from tests.feature_repo.test_domains import BEGIN, TYPES, column, expected, stock, tables
from tests.goldpath_process import environment

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")

START_SECONDS = 120.0


class Feast:
    """Feast's own command on a home folder in which the domain `toys` alone has a filled store.

    Its view `stock` has two versions, of which the second one was promoted; `takings` is confidential.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.folder, self.settings = folder, Settings(home=folder / "home", profile="test")
        columns = [column(name, type) for name, type in TYPES.items()]
        stocks = tuple(feature_view(stock(folder, "toys", *columns, table=name)) for name in ("stock", "stock_v2"))
        secret = column("price", "double", classification="confidential")
        takings = (feature_view(stock(folder, "toys", secret, table="takings")),)
        self.stock = FeatureService("stock_v1", "toys", stocks, "Stock.", "toy-data")
        services = [self.stock, FeatureService("takings_v1", "toys", takings, "Takings.", "toy-data", "confidential")]
        [first], [second] = tables(engine, "toys").values(), tables(engine, "shop").values()
        rows = {"gold_toys_stock": first, "gold_toys_stock_v2": second, "gold_toys_takings": first}
        place = DomainStore(self.settings, "toys")
        materialize(place, services, rows, as_of=BEGIN + timedelta(hours=20))
        versions.promote(self.settings, [self.stock], "stock", 2, because="of the shop")
        register(place, services)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command(*arguments), capture_output=True, text=True, timeout=120, **self._place)

    @contextlib.contextmanager
    def serving(self) -> Iterator[httpx.Client]:
        """Feast's feature server, and a client of it."""
        port, log = ports.free_port(), self.folder / "server.log"
        with log.open("ab") as output:
            command = self._command("serve", "--host", ports.LOOPBACK, "--port", str(port))
            process = subprocess.Popen(command, stdout=output, stderr=output, **self._place)
        try:
            address, limits = f"http://{ports.LOOPBACK}:{port}", httpx.Limits(max_keepalive_connections=0)
            with httpx.Client(base_url=address, limits=limits, timeout=60) as client:
                deadline = time.monotonic() + START_SECONDS
                while ports.is_free(port) and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.1)
                assert client.get("/health").is_success, log.read_text(encoding="utf-8")
                yield client
        finally:
            process.terminate()
            process.wait(60)

    def _command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("feast")), "-c", str(PROJECT / "feature_repo"), *arguments]

    @property
    def _place(self) -> dict[str, Any]:
        return {"env": environment(self.settings.home), "cwd": self.folder}


@pytest.fixture(scope="module")
def feast(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Feast:
    folder = tmp_path_factory.mktemp("feast")
    found = Feast(engine, folder)
    hours = [datetime(2013, 1, 1, hour, tzinfo=UTC) for hour in (1, 2)]
    [view] = TEMPERATURE_V1.views
    keys = {"station": pa.array(["JFK", "JFK"]), "event_timestamp": pa.array(hours, pa.timestamp("us", "UTC"))}
    conditions = pa.table(keys | dict.fromkeys(view.fields, pa.array([39.5, None], pa.float64())))
    write_deltalake(Path(found.settings.lakehouse) / "gold" / "weather" / "station_conditions", conditions)
    return found


@pytest.fixture(scope="module")
def server(feast: Feast) -> Iterator[httpx.Client]:
    with feast.serving() as client:
        yield client


@pytest.mark.parametrize("group", ["feature-views", "feature-services"])
def test_feast_lists_what_is_filled_and_what_is_declared_of_every_domain(feast: Feast, group: str) -> None:
    declared = [service for services in feature_services().values() for service in services]
    views = {f"{service.domain}.{view.name}" for service in declared for view in service.views}
    names = views if group == "feature-views" else {service.full_name for service in declared}
    filled = ("stock", "stock_v2", "takings") if group == "feature-views" else ("stock_v1", "takings_v1")
    listed = feast(group, "list")
    assert listed.returncode == 0, listed.stderr
    found = {line.split()[0] for line in listed.stdout.splitlines() if "." in line.split()[0]}
    assert found == names | {f"toys.{name}" for name in filled}


def test_feast_reads_the_rows_of_a_domain(feast: Feast) -> None:
    answer = feast("get-online-features", "-e", "item=brick", "-f", "toys.stock:count", "-f", "toys.stock:text")
    assert answer.returncode == 0, answer.stderr
    row = expected("toys", 20)[0]
    assert json.loads(answer.stdout) == {
        "item": ["brick"], "count": [row["stock__count"]], "text": [row["stock__text"]]
    }  # fmt: skip


def test_the_server_of_feast_answers_what_predictions_read_from_the_promoted_version(
    feast: Feast, server: httpx.Client
) -> None:
    asked = {"feature_service": "toys.stock_v1", "entities": {"item": ["brick", "none"]}, "full_feature_names": True}
    answer = server.post("/get-online-features", json=asked).raise_for_status().json()
    rows = [[column["values"][place] for column in answer["results"]] for place in range(2)]
    known, unknown = (dict(zip(answer["metadata"]["feature_names"], row, strict=True)) for row in rows)
    assert known == expected("shop", 20)[0]
    assert unknown == {"item": "none"} | dict.fromkeys(feast.stock.full_names)
    read = feast.stock.at(versions.current(feast.settings, feast.stock))
    [reading] = OnlineFeatures(feast.settings, read).read([{"item": "brick"}])
    assert known == {"item": "brick"} | reading.values()


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("get-online-features", {"features": ["toys.takings:price"], "entities": {"item": ["brick"]}},
         "more protected than internal"),
        ("write-to-online-store", {"feature_view_name": "toys.stock", "df": {
            "item": ["brick"], "event_timestamp": ["2026-03-02T00:00:00Z"], "text": ["a"], "small": [1], "count": [1],
            "weight": [1.0], "price": [1.0], "sold": [True]}}, "goldpath materialize features/DOMAIN/online"),
        ("materialize", {"start_ts": "2013-01-01T00:00:00", "end_ts": "2013-01-02T00:00:00",
                         "feature_views": ["weather.station_conditions"]},
         "goldpath materialize features/DOMAIN/online"),
    ],
    ids=["protected", "write", "materialize"],
)  # fmt: skip
def test_the_server_of_feast_refuses_protected_features_and_writing(
    server: httpx.Client, path: str, body: dict[str, Any], words: str
) -> None:
    answer = server.post(f"/{path}", json=body)
    assert answer.is_server_error
    assert words in answer.text


def test_feast_plans_nothing_where_the_code_declares_what_the_home_has(feast: Feast) -> None:
    planned = feast("plan", "--skip-source-validation")
    assert planned.returncode == 0, planned.stderr
    changes = {line.strip() for line in planned.stdout.splitlines() if line.strip()}
    views = {f"Deleted feature view toys.{name}" for name in ("stock", "stock_v2", "takings")}
    services = {f"Deleted feature service toys.{name}" for name in ("stock_v1", "takings_v1")}
    assert changes == {"Deleted entity toys.item", *views, *services, "No changes to infrastructure"}


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
