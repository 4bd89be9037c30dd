from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from pipelines.commands.examination import PROJECT
from pipelines.machine import ports, ray_environment, ray_head
from pipelines.settings import Settings


class Dev:
    """A running `goldpath dev`, whose output is read line by line."""

    def __init__(self, home: Path, *options: str, serving_port: int) -> None:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("GOLDPATH_", "RAY_", "DAGSTER_"))}
        kept |= {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "NO_COLOR": "1"}
        kept |= {"GOLDPATH_HOME": str(home), "GOLDPATH_SERVING_PORT": str(serving_port)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from pipelines.commands.app import app; app()", "dev", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=kept,
        )
        self.output = ""

    def read_until(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return
        pytest.fail(f"{text!r} did not come:\n{self.output}")

    def rest(self) -> int:
        self.output += self.process.communicate(timeout=120)[0]
        return self.process.returncode

    def descendants(self) -> list[psutil.Process]:
        """What it started, also what has left it since: every member of its children's sessions."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        sessions = {os.getsid(child.pid) for child in children} - {os.getsid(0)}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(process.pid) in sessions:
                    found.append(process)
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.rest()


def _living(processes: list[psutil.Process]) -> list[int]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


@pytest.fixture
def dagster_port() -> int:
    return ports.free_port()


@pytest.fixture
def mlflow_port() -> int:
    return ports.free_port()


@pytest.fixture
def dev(tmp_path: Path, dagster_port: int, mlflow_port: int) -> Iterator[Dev]:
    options = ["--port", str(dagster_port), "--mlflow-port", str(mlflow_port)]
    started = Dev(tmp_path / "home", *options, serving_port=ports.free_port())
    yield started
    started.close()
    shutil.rmtree(ray_environment.session_folder(Settings(home=tmp_path / "home")))


@pytest.mark.ray
@pytest.mark.slow
def test_every_server_answers_and_ctrl_c_leaves_none(
    dev: Dev, tmp_path: Path, dagster_port: int, mlflow_port: int
) -> None:
    dev.read_until("Ctrl-C stops everything")
    settings = Settings(home=tmp_path / "home")
    dagster, mlflow = (f"http://{ports.LOOPBACK}:{port}" for port in (dagster_port, mlflow_port))
    assert httpx.get(f"{dagster}/server_info").status_code == 200
    assert httpx.get(f"{mlflow}/health").text == "OK"
    address = ray_head.running(settings)
    assert address is not None
    for shown in (dagster, mlflow, address, str(ray_environment.token_file(settings))):
        assert shown in dev.output
    assert ray_environment.token_file(settings).read_text(encoding="utf-8") not in dev.output
    assert "do not load" not in dev.output
    query = "{ repositoriesOrError { __typename ... on RepositoryConnection { nodes { name location { name } } } } }"
    located = httpx.post(f"{dagster}/graphql", json={"query": query}, timeout=60).json()["data"]["repositoriesOrError"]
    assert [node["location"]["name"] for node in located["nodes"]] == ["goldpath"]
    started = dev.descendants()
    assert len(started) > 8
    dev.process.send_signal(signal.SIGINT)
    assert dev.rest() == 0
    assert "nothing is left running" in dev.output
    assert _living(started) == []
    assert all(ports.is_free(port) for port in (dagster_port, mlflow_port, int(address.rpartition(":")[2])))
    assert ray_head.running(settings) is None


@pytest.mark.ray
@pytest.mark.slow
def test_sigterm_while_it_starts_leaves_none(dev: Dev, tmp_path: Path) -> None:
    dev.read_until("Starting Ray")
    time.sleep(2)
    started = dev.descendants()
    dev.process.send_signal(signal.SIGTERM)
    assert dev.rest() == 0
    assert _living(started) == []
    folders = (str(tmp_path), str(ray_environment.session_folder(Settings(home=tmp_path / "home"))))
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert [command for command in commands if any(folder in command for folder in folders)] == []


@pytest.mark.ray
@pytest.mark.slow
def test_server_that_dies_is_reported_with_its_log_and_ends_the_others(dev: Dev) -> None:
    dev.read_until("Ctrl-C stops everything")
    started = dev.descendants()
    mlflow = next(process for process in started if "mlflow" in process.cmdline())
    mlflow.kill()
    assert dev.rest() == 1
    assert "EngineError: MLflow" in dev.output
    assert "mlflow.log" in dev.output
    assert _living(started) == []


def test_taken_port_is_refused_with_its_holder_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        refused = Dev(tmp_path / "home", "--port", str(port), serving_port=ports.free_port())
        assert refused.rest() == 1
    assert f"port {port} for Dagster" in refused.output
    assert f"(pid {os.getpid()})" in refused.output
    assert "--port" in refused.output
    assert not (tmp_path / "home" / "logs").exists()
