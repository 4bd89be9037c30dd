"""`goldpath dev` starts servers that answer, and leaves no process behind, however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from pipelines.commands.dev_servers import token_file
from pipelines.machine import ports, ray_environment, ray_head
from pipelines.settings import Settings
from pipelines.upkeep import home_files
from tests.goldpath_process import environment

#: As processes name it, those that listen with a socket of IPv6 too.
LOOPBACK = ("127.0.0.1", "::ffff:127.0.0.1", "::1")


class Dev:
    """A running `goldpath dev`, whose output is read line by line."""

    def __init__(self, home: Path, *options: str, serving_port: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", "dev", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(home, PYTHONUNBUFFERED="1", COLUMNS="60", GOLDPATH_SERVING_PORT=str(serving_port)),
        )
        self.output = ""

    def read_until(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return
        pytest.fail(f"the output lacks {text!r}:\n{self.output}")

    def wait(self) -> int:
        """Reads the rest of the output; returns the exit code."""
        self.output += self.process.communicate(timeout=120)[0]
        return self.process.returncode

    def descendants(self) -> list[psutil.Process]:
        """All processes of its children's sessions, including those whose parent has ended."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        sessions = {os.getsid(child.pid) for child in children} - {os.getsid(0)}
        descendants = []
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(process.pid) in sessions:
                    descendants.append(process)
        return descendants

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.wait()


def _living_pids(processes: list[psutil.Process]) -> list[int]:
    living = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                living.append(process.pid)
    return living


def _listening(process: psutil.Process) -> list[Any]:
    return [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]


#: What the command lines of MLflow's and Feast's servers hold.
BEHIND_THE_DOOR = {"mlflow", "uvicorn", "feature_repo.web_pages"}


@pytest.fixture
def dagster_port() -> int:
    return ports.free_port()


@pytest.fixture
def mlflow_port() -> int:
    return ports.free_port()


@pytest.fixture
def feast_port() -> int:
    return ports.free_port()


@pytest.fixture
def dev(tmp_path: Path, dagster_port: int, mlflow_port: int, feast_port: int) -> Iterator[Dev]:
    options = ["--port", str(dagster_port), "--mlflow-port", str(mlflow_port), "--feast-port", str(feast_port)]
    dev = Dev(tmp_path / "home", *options, serving_port=ports.free_port())
    yield dev
    dev.close()
    shutil.rmtree(ray_environment.session_folder(Settings(home=tmp_path / "home")))


@pytest.mark.ray
@pytest.mark.slow
def test_every_server_answers_and_no_process_is_left_after_ctrl_c(
    dev: Dev, tmp_path: Path, dagster_port: int, mlflow_port: int, feast_port: int
) -> None:
    dev.read_until("Ctrl-C stops everything")
    settings = Settings(home=tmp_path / "home")
    own_ports = (dagster_port, mlflow_port, feast_port)
    dagster, mlflow, feast = (f"http://{ports.LOOPBACK}:{port}" for port in own_ports)
    token = token_file(settings).read_text(encoding="utf-8")
    login = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{dagster}/server_info", headers=login).status_code == 200
    assert httpx.get(f"{mlflow}/health", headers=login).text == "OK"
    views = httpx.get(f"{feast}/api/v1/feature_views?project=goldpath", headers=login).json()["featureViews"]
    assert {"flights.origin_weather", "weather.station_conditions"} <= {view["spec"]["name"] for view in views}
    assert httpx.delete(f"{feast}/api/v1/feature_views/flights.origin_weather", headers=login).status_code == 405
    assert [httpx.get(url).status_code for url in (dagster, mlflow, feast)] == [401, 401, 401]
    address = ray_head.running(settings)
    assert address is not None
    for text in (
        f"{dagster}/?token={token}",
        f"{mlflow}/?token={token}",
        f"{feast}/?token={token}",
        address,
        str(ray_environment.token_file(settings)),
    ):
        assert text in dev.output
    assert ray_environment.token_file(settings).read_text(encoding="utf-8") not in dev.output
    assert "do not load" not in dev.output
    assert [path for path, kind in home_files.walk(settings.root) if kind is None] == []
    query = "{ repositoriesOrError { __typename ... on RepositoryConnection { nodes { name location { name } } } } }"
    data = httpx.post(f"{dagster}/graphql", json={"query": query}, headers=login, timeout=60).json()["data"]
    assert [node["location"]["name"] for node in data["repositoriesOrError"]["nodes"]] == ["goldpath"]
    processes = dev.descendants()
    assert len(processes) > 8
    # The address of MLflow's database may hold a password, and every account can read a command line.
    secrets = (token, ray_environment.token_file(settings).read_text(encoding="utf-8"), settings.mlflow)
    assert [process for process in processes if any(secret in " ".join(process.cmdline()) for secret in secrets)] == []
    open_to_all = {(p.name(), c.laddr) for p in processes for c in _listening(p) if c.laddr.ip not in LOOPBACK}
    assert open_to_all == set()
    by_name = {c.laddr.port for p in processes for c in _listening(p) if BEHIND_THE_DOOR & set(p.cmdline())}
    assert by_name == set()  # their pages are on Unix sockets alone
    dev.process.send_signal(signal.SIGINT)
    assert dev.wait() == 0
    assert "nothing is left running" in dev.output
    assert _living_pids(processes) == []
    assert all(ports.is_free(port) for port in (*own_ports, int(address.rpartition(":")[2])))
    assert ray_head.running(settings) is None


@pytest.mark.ray
@pytest.mark.slow
def test_no_process_is_left_after_sigterm_during_the_start(dev: Dev, tmp_path: Path) -> None:
    dev.read_until("Starting Ray")
    time.sleep(2)
    processes = dev.descendants()
    dev.process.send_signal(signal.SIGTERM)
    assert dev.wait() == 0
    assert _living_pids(processes) == []
    folders = (str(tmp_path), str(ray_environment.session_folder(Settings(home=tmp_path / "home"))))
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert [command for command in commands if any(folder in command for folder in folders)] == []


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_server_is_reported_with_its_log_and_the_others_are_stopped(dev: Dev) -> None:
    dev.read_until("Ctrl-C stops everything")
    processes = dev.descendants()
    mlflow = next(process for process in processes if "mlflow" in process.cmdline())
    mlflow.kill()
    assert dev.wait() == 1
    assert "EngineError: MLflow" in dev.output
    assert "mlflow.log" in re.sub(r"[\s│]", "", dev.output)  # the panel wraps a path
    assert _living_pids(processes) == []


def test_a_taken_port_is_an_error_that_names_its_holder_before_a_server_starts(tmp_path: Path) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        dev = Dev(tmp_path / "home", "--port", str(port), serving_port=ports.free_port())
        assert dev.wait() == 1
    assert f"port {port} for Dagster" in dev.output
    assert f"(pid {os.getpid()})" in dev.output
    assert "--port" in dev.output
    assert not (tmp_path / "home" / "logs").exists()
