"""`goldpath dev` on the home folder of the demo: pages in a browser, the service, and a run that the sensor starts."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from deltalake import DeltaTable
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from pipelines import clock
from pipelines.machine import ports
from pipelines.settings import Settings
from tests.end_to_end.conftest import Demo
from tests.end_to_end.programs import environment

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

START_SECONDS = 240
#: The route of the service that the demo deploys.
SERVICE = "/flights/arrival_delay"
SENSOR_RUN_SECONDS = 300
START_SENSOR = """
mutation { startSensor(
  sensorSelector: {repositoryLocationName: "%s", repositoryName: "%s", sensorName: "flights_new_deliveries"}
) { __typename ... on PythonError { message } } }
"""
REPOSITORIES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
RUNS = "{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }"


@dataclass(frozen=True, slots=True)
class Dev:
    """The URLs of a running `goldpath dev`, its home folder, and the file with its output."""

    dagster: str
    mlflow: str
    serving: str
    home: Path
    output: Path

    @property
    def token(self) -> str:
        """The token of the door; empty until it is open."""
        path = self.home / "dev" / "token"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def graphql(self, query: str) -> dict[str, Any]:
        login = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.post(f"{self.dagster}/graphql", json={"query": query}, headers=login, timeout=60).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@pytest.fixture(scope="module")
def dev(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    dagster, mlflow, feast, serving = (ports.free_port() for _ in range(4))
    command = [sys.executable, "-m", "pipelines", "dev", "--port", str(dagster), "--mlflow-port", str(mlflow)]
    command += ["--feast-port", str(feast)]
    path = tmp_path_factory.mktemp("dev") / "dev.log"
    env = environment(demo.home, GOLDPATH_SERVING_PORT=str(serving))
    with path.open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    dev = Dev(*(f"http://127.0.0.1:{port}" for port in (dagster, mlflow, serving)), home=demo.home, output=path)
    try:
        for url in (f"{dev.dagster}/server_info", f"{dev.mlflow}/health", f"{dev.serving}{SERVICE}/readyz"):
            wait(
                lambda url=url: answers(url, dev.token),
                START_SECONDS,
                lambda: path.read_text()[-3_000:],
            )
        yield dev
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0


def answers(url: str, token: str) -> bool:
    try:
        return httpx.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def wait(condition: Callable[[], object], seconds: float, message: Callable[[], str]) -> None:
    """Waits until a condition is true; fails with a message if it is not within the seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message()
        time.sleep(1)


@pytest.fixture(scope="module")
def browser(dev: Dev, tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser in which the printed link was opened."""
    options = webdriver.ChromeOptions()
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1700,1050",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")) as driver:
        driver.get(f"{dev.dagster}/?token={dev.token}")
        yield driver


def open_page(browser: webdriver.Chrome, url: str, *texts: str) -> str:
    """Opens a page and waits until it shows all the texts; returns the text of the page."""
    browser.get(url)

    def body(_: object) -> str:
        return browser.find_element(By.TAG_NAME, "body").text

    WebDriverWait(browser, 90).until(lambda driver: all(text in body(driver) for text in texts), f"{url}: {texts}")
    return body(None)


def test_the_asset_graph_shows_the_zones(dev: Dev, browser: webdriver.Chrome) -> None:
    zones = ("landing", "bronze", "silver", "quarantine", "gold", "features", "training", "models", "serving")
    groups = [f"flights_{zone}" for zone in zones]
    open_page(browser, f"{dev.dagster}/asset-groups", "Global asset lineage", *groups, "weather_silver")


def test_the_pages_are_updated_through_a_websocket(dev: Dev, browser: webdriver.Chrome) -> None:
    open_page(browser, f"{dev.dagster}/runs", "Runs")
    acknowledged = browser.execute_async_script("""
        const done = arguments[0], socket = new WebSocket(`ws://${location.host}/graphql`, "graphql-ws");
        socket.onopen = () => socket.send(JSON.stringify({type: "connection_init", payload: {}}));
        socket.onmessage = message => done(JSON.parse(message.data).type);
        socket.onclose = () => done("closed");""")
    assert acknowledged == "connection_ack"


def test_a_materialization_shows_rows_cost_and_version(dev: Dev, browser: webdriver.Chrome) -> None:
    url = f"{dev.dagster}/assets/silver/flights/planes?view=events"
    open_page(browser, url, "rows_clean", "cost", "cpu_seconds", "version")


def test_an_asset_shows_grain_owner_and_columns(dev: Dev, browser: webdriver.Chrome) -> None:
    url = f"{dev.dagster}/assets/gold/flights/departures"
    assert "cc-1200" in open_page(browser, url, "Grain:", "flight-data", "arrived_late")


def test_a_contract_is_shown_as_one_check(dev: Dev, browser: webdriver.Chrome) -> None:
    url = f"{dev.dagster}/assets/silver/weather/observations?view=checks"
    open_page(browser, url, "contract", "rows clean")


def test_mlflow_shows_the_champion(dev: Dev, browser: webdriver.Chrome) -> None:
    open_page(browser, f"{dev.mlflow}/#/models/flights.arrival_delay", "flights.arrival_delay", "champion")


def test_the_service_answers_only_requests_with_its_token(dev: Dev, demo: Demo) -> None:
    url, now = f"{dev.serving}{SERVICE}/v1/predict", clock.now(Settings(home=dev.home))
    departure = {"scheduled_departure": (now + timedelta(hours=2)).isoformat(), "scheduled_arrival": None}
    request = demo.report["prediction"]["request"] | departure
    token = (dev.home / "serving/tokens/flights.arrival_delay").read_text(encoding="utf-8").strip()
    assert httpx.post(url, json=request, timeout=30).status_code == 401
    answer = httpx.post(url, json=request, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert answer.json()["as_of"] == now.isoformat()
    flight = demo.report["prediction"]["subject"]
    assert answer.json()["subject"][len("2013-11-01") :] == flight[len("2013-11-01") :]


def test_the_sensor_takes_a_new_file_after_a_user_switched_it_on(dev: Dev) -> None:
    folder = dev.home / "landing/flights/airlines/dt=2013-11-20"
    folder.mkdir(parents=True)
    (folder / ".airlines.csv").write_text("carrier,name\n9E,Endeavor Air Inc.\nZZ,Zigzag Air\n", encoding="utf-8")
    (folder / ".airlines.csv").rename(folder / "airlines.csv")
    repository = dev.graphql(REPOSITORIES)["repositoriesOrError"]["nodes"][0]
    dev.graphql(START_SENSOR % (repository["location"]["name"], repository["name"]))

    def reference_run_succeeded() -> bool:
        runs = dev.graphql(RUNS)["runsOrError"]["results"]
        assert not [run for run in runs if run["jobName"] == "flights_reference" and run["status"] == "FAILURE"]
        return any(run["jobName"] == "flights_reference" and run["status"] == "SUCCESS" for run in runs)

    wait(reference_run_succeeded, SENSOR_RUN_SECONDS, lambda: str(dev.graphql(RUNS))[:3_000])
    names = DeltaTable(str(dev.home / "lakehouse/silver/flights/airlines")).to_pyarrow_table()["name"].to_pylist()
    assert sorted(names) == ["Endeavor Air Inc.", "Zigzag Air"]


def test_no_log_or_report_contains_a_token(dev: Dev) -> None:
    secrets = [(dev.home / "serving/tokens/flights.arrival_delay").read_text(encoding="utf-8").strip()]
    secrets += [path.read_text(encoding="utf-8").strip() for path in (dev.home / "ray").glob("token")]
    for path in [dev.output, *dev.home.rglob("*.log"), *dev.home.rglob("*.jsonl"), *dev.home.rglob("*.json")]:
        text = path.read_text(encoding="utf-8", errors="replace")
        for secret in secrets:
            assert not re.search(re.escape(secret), text), path
