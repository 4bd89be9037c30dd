"""A Ray cluster in separate processes on this machine, which other processes find by `<home>/ray/address.json`."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import EngineError
from pipelines.machine import files, ports
from pipelines.machine.child_process import ChildProcess
from pipelines.machine.ray_environment import OBJECT_STORE_BYTES, cpu_slots, prepare_environment, session_folder
from pipelines.settings import PROJECT, Settings

START_SECONDS = 180.0


@dataclass(slots=True)
class RayHead:
    """A Ray cluster in separate processes, which keeps running when a connection to it ends.

    Attributes:
        address: Host and port of the cluster.
        dashboard_port: The loopback port of Ray's dashboard, which asks for the token; None where it is off.
        server: The process of the head, with its session.
        address_file: The file that tells other processes the address.
    """

    address: str
    dashboard_port: int | None
    server: ChildProcess
    address_file: Path

    def stop(self) -> None:
        """Ends the cluster with everything that runs on it, and removes the address file."""
        self.server.stop()
        with contextlib.suppress(FileNotFoundError):
            self.address_file.unlink()


def running(settings: Settings) -> str | None:
    """The address of the living cluster that `start_head` started for this home folder; None if there is none.

    The cluster of the home folder that this one was copied from is another one's.
    """
    record = _living_head(settings)
    return record["address"] if record else None


def head_pid(settings: Settings) -> int | None:
    """The process id of that cluster's head; None if there is none."""
    record = _living_head(settings)
    return int(record["pid"]) if record else None


def _living_head(settings: Settings) -> dict[str, Any] | None:
    """The address file's record, if its process is alive, is not a later one with its id, and accepts connections."""
    import psutil

    try:
        record = json.loads(_address_file(settings).read_text(encoding="utf-8"))
        head = psutil.Process(record["pid"])
        same = head.create_time() == record["process_started"] and head.status() != psutil.STATUS_ZOMBIE
        same = same and record["home"] == str(settings.root)
    except (FileNotFoundError, NotADirectoryError, psutil.NoSuchProcess):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(
            object=f"file {_address_file(settings)}",
            observed=f"it is damaged: {type(error).__name__}: {error}",
            expected="the address of the Ray cluster that runs for this home folder",
            next_step="end that cluster if it still runs, then: goldpath repair",
        ) from None
    alive = same and ports.wait_open(int(record["address"].rpartition(":")[2]), seconds=2)
    return record if alive else None


def start_head(settings: Settings, *, dashboard: Literal["off", "on"] = "off", port: int | None = None) -> RayHead:
    """Starts a cluster in separate processes and writes its address for `connect`; the caller ends it with `stop`.

    Args:
        settings: Their home folder holds the token, the address file and the log.
        dashboard: Whether to start Ray's dashboard, which takes about 700 MB of memory.
        port: The cluster's loopback port; None takes a free one.

    Raises:
        SettingsError: if a port is taken.
        EngineError: if the cluster does not start within START_SECONDS.
    """
    if port is not None:
        ports.require_free(port, what="Ray", option="--ray-port")
    prepare_environment(settings)
    address, dashboard_port = f"{ports.LOOPBACK}:{port or ports.free_port()}", ports.free_port()
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
        _write_address(settings, address, server.pid)
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


def _write_address(settings: Settings, address: str, pid: int) -> None:
    import psutil

    record = {"address": address, "pid": pid, "process_started": psutil.Process(pid).create_time()}
    record["home"] = str(settings.root)
    files.replace(_address_file(settings), json.dumps(record))


def _address_file(settings: Settings) -> Path:
    return settings.root / "ray" / "address.json"
