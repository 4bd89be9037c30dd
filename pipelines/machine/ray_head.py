"""A Ray cluster in processes of its own on this machine: started, found again by its note, ended."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.errors import EngineError
from pipelines.machine import files, ports
from pipelines.machine.child_process import ChildProcess
from pipelines.machine.ray_environment import OBJECT_STORE_BYTES, cpu_slots, prepare_environment, session_folder
from pipelines.settings import PROJECT, Settings

START_SECONDS = 180.0


@dataclass(slots=True)
class RayHead:
    """A Ray cluster in processes of its own, that outlives connections to it."""

    address: str
    dashboard_port: int | None
    server: ChildProcess
    address_file: Path

    def stop(self) -> None:
        """Ends the cluster and everything that runs on it."""
        self.server.stop()
        with contextlib.suppress(FileNotFoundError):
            self.address_file.unlink()


def running(settings: Settings) -> str | None:
    """The address of the cluster that `start_head` left running for this home folder, if it is alive."""
    import psutil

    try:
        noted = json.loads(_address_file(settings).read_text(encoding="utf-8"))
        head = psutil.Process(noted["pid"])
        same = head.create_time() == noted["process_started"] and head.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, NotADirectoryError, psutil.NoSuchProcess):
        return None
    alive = same and ports.wait_open(int(noted["address"].rpartition(":")[2]), seconds=2)
    return noted["address"] if alive else None


def start_head(
    settings: Settings, *, dashboard: Literal["off", "on"] = "off", port: int | None = None, dashboard_port: int = 8265
) -> RayHead:
    """Starts a cluster in processes of its own and notes its address for `connect`; the caller ends it with `stop`.

    Args:
        settings: Whose home folder holds the token, the address and the log.
        dashboard: Ray's own pages; they take about 700 MB.
        port: The cluster's loopback port; None takes a free one.
        dashboard_port: The port of those pages.

    Raises:
        SettingsError: if a port is taken.
        EngineError: if it does not come up.
    """
    if port is not None:
        ports.require_free(port, what="Ray", option="--ray-port")
    if dashboard == "on":
        ports.require_free(dashboard_port, what="the Ray dashboard", option="--ray-dashboard-port")
    prepare_environment(settings)
    address = f"{ports.LOOPBACK}:{port or ports.free_port()}"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    options: Mapping[str, object] = {
        "node-ip-address": ports.LOOPBACK,
        "port": address.rpartition(":")[2],
        "num-cpus": cpu_slots(),
        "object-store-memory": OBJECT_STORE_BYTES,
        "include-dashboard": dashboard == "on",
        "dashboard-port": dashboard_port,
        "dashboard-agent-listen-port": 0,
        "ray-client-server-port": ports.free_port(),
        "min-worker-port": 0,
        "max-worker-port": 0,
        "temp-dir": session_folder(settings),
        "log-color": "false",
    }
    command += [f"--{name}={value}" for name, value in options.items()]
    server = ChildProcess.start("ray", command, log=settings.root / "logs" / "ray.log", cwd=PROJECT)
    try:
        _await_head(server)
        _note(settings, address, server.pid)
    except BaseException:
        server.stop()
        raise
    return RayHead(address, dashboard_port if dashboard == "on" else None, server, _address_file(settings))


def _await_head(server: ChildProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "Ray runtime started" not in server.log.read_text(encoding="utf-8", errors="replace"):
        if server.exit_code is not None or time.monotonic() > deadline:
            raise EngineError(
                object="Ray head",
                observed=f"it ended with code {server.exit_code}"
                if server.exit_code is not None
                else "it did not start",
                expected=f"a running cluster within {START_SECONDS:.0f} s",
                next_step=f"read {server.log}, which ends with:\n{server.log_tail()}",
            )
        time.sleep(0.1)


def _note(settings: Settings, address: str, pid: int) -> None:
    import psutil

    note = {"address": address, "pid": pid, "process_started": psutil.Process(pid).create_time()}
    files.replace(_address_file(settings), json.dumps(note))


def _address_file(settings: Settings) -> Path:
    return settings.root / "ray" / "address.json"


def head_pid(settings: Settings) -> int | None:
    """The process of the head that `start_head` left running for this home folder; None where none runs."""
    if running(settings) is None:
        return None
    return int(json.loads(_address_file(settings).read_text(encoding="utf-8"))["pid"])
