"""A standalone Spark cluster on loopback: a master, two workers with an executor each, and a Spark Connect server."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.engine.java import find_java
from pipelines.engine.spark import DELTA_CONF
from pipelines.machine.child_process import ChildProcess
from pipelines.machine.ports import LOOPBACK, free_port
from tests.servers import listening

WORKERS = 2
EXECUTOR_MEMORY = "1g"
MASTER, WORKER = "org.apache.spark.deploy.master.Master", "org.apache.spark.deploy.worker.Worker"
CONNECT = "org.apache.spark.sql.connect.service.SparkConnectServer"
TOKEN = "of-this-test"


@dataclass(frozen=True, slots=True)
class SparkCluster:
    """A running cluster.

    Attributes:
        folder: The folder of logs and temporary files.
        master: The URL of the master, for drivers: `spark://…`.
        page: The URL of the master's web page.
        workers: The processes of the workers.
    """

    folder: Path
    master: str
    page: str
    workers: list[ChildProcess]

    def state(self) -> dict[str, Any]:
        """The master's state as JSON, with the lists `workers` and `activeapps`."""
        without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with without_proxy.open(f"{self.page}/json/", timeout=10) as answer:
            state: dict[str, Any] = json.load(answer)
        return state

    def alive(self) -> list[dict[str, Any]]:
        """The workers that the master considers alive."""
        return [worker for worker in self.state()["workers"] if worker["state"] == "ALIVE"]

    @contextlib.contextmanager
    def connect_server(self, jars: Sequence[Path]) -> Iterator[str]:
        """Runs a Spark Connect server whose tasks run on the cluster, as users start one; yields its address."""
        port = free_port()
        settings = DELTA_CONF | {
            "spark.jars": ",".join(map(str, jars)),
            "spark.connect.grpc.binding.address": LOOPBACK,
            "spark.connect.grpc.binding.port": str(port),
            "spark.connect.authenticate.token": TOKEN,
            "spark.executor.memory": EXECUTOR_MEMORY,
            "spark.sql.warehouse.dir": str(self.folder / "warehouse"),
            "spark.ui.enabled": "false",
            "spark.log.level": "WARN",
        }
        options = [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
        command = ["spark-submit", "--master", self.master, *options, "--class", CONNECT, "spark-internal"]
        with _running("connect", command, folder=self.folder, port=port):
            yield f"sc://localhost:{port}/;token={TOKEN}"


@contextlib.contextmanager
def running(folder: Path, *, workers: int = WORKERS) -> Iterator[SparkCluster]:
    """Runs a cluster whose workers have one core each until the block ends."""
    port, page = free_port(), free_port()
    master = f"spark://{LOOPBACK}:{port}"
    with contextlib.ExitStack() as stack:
        at = ["--host", LOOPBACK, "--port", str(port), "--webui-port", str(page)]
        stack.enter_context(_running("master", ["spark-class", MASTER, *at], folder=folder, port=page))
        processes = []
        for number in range(workers):
            worker_page = free_port()
            options = ["--host", LOOPBACK, "--cores", "1", "--memory", "1500m", "--webui-port", str(worker_page)]
            command = ["spark-class", WORKER, *options, "--work-dir", str(folder / f"work_{number}"), master]
            process = _running(f"worker_{number}", command, folder=folder, port=worker_page)
            processes.append(stack.enter_context(process))
        yield SparkCluster(folder, master, f"http://{LOOPBACK}:{page}", processes)


@contextlib.contextmanager
def _running(name: str, command: Sequence[str], *, folder: Path, port: int) -> Iterator[ChildProcess]:
    import pyspark

    home = Path(pyspark.__file__).parent
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SPARK_", "PYSPARK_"))}
    own = {
        "JAVA_HOME": str(find_java().home(folder)),
        "SPARK_HOME": str(home),
        "SPARK_CONF_DIR": str(folder),
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_LOCAL_DIRS": str(folder / "tmp"),
        "SPARK_DAEMON_MEMORY": "512m",
        "PYSPARK_PYTHON": sys.executable,
    }
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    program, *arguments = command
    child = ChildProcess.start(
        name, [str(home / "bin" / program), *arguments], log=folder / f"{name}.log", env=inherited | own, cwd=folder
    )
    try:
        yield listening(child, port)
    finally:
        child.stop()
