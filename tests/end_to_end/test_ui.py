"""`goldpath dev` over a home that the demo filled: the pages that people open, and a real sensor run."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from deltalake import DeltaTable
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from pipelines.machine import ports
from tests.end_to_end.conftest import Road, environment

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

SECONDS_TO_START = 240
SECONDS_FOR_SENSOR_RUN = 300
LAUNCH = """
mutation { startSensor(
  sensorSelector: {repositoryLocationName: "%s", repositoryName: "%s", sensorName: "new_deliveries"}
) { __typename ... on PythonError { message } } }
"""
REPOSITORIES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
RUNS = "{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }"


@dataclass(frozen=True, slots=True)
class Dev:
    """A running `goldpath dev`."""

    dagster: str
    mlflow: str
    serving: str
    home: Path

    def graphql(self, query: str) -> dict[str, Any]:
        answer = httpx.post(f"{self.dagster}/graphql", json={"query": query}, timeout=60).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@pytest.fixture(scope="module")
def dev(road: Road) -> Iterator[Dev]:
    dagster, mlflow, serving = ports.free_port(), ports.free_port(), ports.free_port()
    command = [sys.executable, "-m", "pipelines", "dev", "--port", str(dagster), "--mlflow-port", str(mlflow)]
    settings = environment(road.home, GOLDPATH_SERVING_PORT=str(serving))
    with (road.home / "dev.log").open("wb") as log:
        process = subprocess.Popen(command, env=settings, stdout=log, stderr=log)
    started = Dev(*(f"http://127.0.0.1:{port}" for port in (dagster, mlflow, serving)), home=road.home)
    try:
        for url in (f"{started.dagster}/server_info", f"{started.mlflow}/health", f"{started.serving}/readyz"):
            until(lambda url=url: answers(url), SECONDS_TO_START, lambda: (road.home / "dev.log").read_text()[-3_000:])
        yield started
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def until(condition: Callable[[], object], seconds: float, why: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(1)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1700,1050",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")) as driver:
        yield driver


def shows(browser: webdriver.Chrome, url: str, *texts: str) -> str:
    browser.get(url)

    def body(_: object) -> str:
        return browser.find_element(By.TAG_NAME, "body").text

    WebDriverWait(browser, 90).until(lambda driver: all(text in body(driver) for text in texts), f"{url}: {texts}")
    return body(None)


def test_the_asset_graph_shows_the_zones(dev: Dev, browser: webdriver.Chrome) -> None:
    zones = ("landing", "bronze", "silver", "quarantine", "gold", "features", "training", "models", "serving")
    shows(browser, f"{dev.dagster}/asset-groups", "Global asset lineage", *zones)


def test_a_materialization_shows_rows_cost_and_version(dev: Dev, browser: webdriver.Chrome) -> None:
    url = f"{dev.dagster}/assets/silver/flights/planes?view=events"
    shows(browser, url, "rows_clean", "cost", "cpu_seconds", "version")


def test_an_asset_shows_grain_owner_and_columns(dev: Dev, browser: webdriver.Chrome) -> None:
    text = shows(browser, f"{dev.dagster}/assets/gold/flights/departures", "Grain:", "flight-data", "arrived_late")
    assert "cc-1200" in text


def test_a_contract_is_one_check_with_its_rules(dev: Dev, browser: webdriver.Chrome) -> None:
    url = f"{dev.dagster}/assets/silver/flights/weather?view=checks"
    shows(browser, url, "contract", "rows clean")


def test_mlflow_shows_the_champion(dev: Dev, browser: webdriver.Chrome) -> None:
    shows(browser, f"{dev.mlflow}/#/models/flights.arrival_delay", "flights.arrival_delay", "champion")


def test_the_service_answers_with_its_token_only(dev: Dev, road: Road) -> None:
    question = road.report["prediction"]["request"]
    refused = httpx.post(f"{dev.serving}/v1/predict", json=question, timeout=30)
    token = (dev.home / "serving" / "token").read_text(encoding="utf-8").strip()
    answer = httpx.post(
        f"{dev.serving}/v1/predict", json=question, headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    assert refused.status_code == 401
    assert answer.json()["flight_id"] == road.report["prediction"]["flight_id"]


def test_the_sensor_that_a_user_switches_on_takes_a_new_file(dev: Dev) -> None:
    folder = dev.home / "landing/flights/airlines/dt=2013-11-20"
    folder.mkdir(parents=True)
    (folder / ".airlines.csv").write_text("carrier,name\n9E,Endeavor Air Inc.\nZZ,Zigzag Air\n", encoding="utf-8")
    (folder / ".airlines.csv").rename(folder / "airlines.csv")
    repository = dev.graphql(REPOSITORIES)["repositoriesOrError"]["nodes"][0]
    dev.graphql(LAUNCH % (repository["location"]["name"], repository["name"]))

    def reference_run_succeeded() -> bool:
        runs = dev.graphql(RUNS)["runsOrError"]["results"]
        assert not [run for run in runs if run["jobName"] == "reference" and run["status"] == "FAILURE"]
        return any(run["jobName"] == "reference" and run["status"] == "SUCCESS" for run in runs)

    until(reference_run_succeeded, SECONDS_FOR_SENSOR_RUN, lambda: str(dev.graphql(RUNS))[:3_000])
    names = DeltaTable(str(dev.home / "lakehouse/silver/flights/airlines")).to_pyarrow_table()["name"].to_pylist()
    assert sorted(names) == ["Endeavor Air Inc.", "Zigzag Air"]


def test_no_secret_stands_in_any_log(dev: Dev) -> None:
    secrets = [(dev.home / "serving" / "token").read_text(encoding="utf-8").strip()]
    secrets += [path.read_text(encoding="utf-8").strip() for path in (dev.home / "ray").glob("token")]
    for path in [dev.home / "dev.log", *dev.home.rglob("*.log"), *dev.home.rglob("*.jsonl"), *dev.home.rglob("*.json")]:
        text = path.read_text(encoding="utf-8", errors="replace")
        for secret in secrets:
            assert not re.search(re.escape(secret), text), path
