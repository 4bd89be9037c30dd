"""One way to a Ray cluster: the one that is configured, else the one that runs on this machine, else a new one.

A cluster on this machine listens on loopback alone and asks for a token, which lies in `<home>/ray/token`. Whoever
started a cluster ends it; everybody else only disconnects.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.errors import EngineError
from pipelines.machine import ports
from pipelines.machine.child_process import ChildProcess
from pipelines.settings import PROJECT, Settings

NAMESPACE = "goldpath"
OBJECT_STORE_BYTES = 256 * 2**20
#: CPUs are slots to Ray: with fewer than four, a served model and a training run with two workers wait for each other.
MINIMUM_CPU_SLOTS = 4
START_SECONDS = 180.0
ANSWER_SECONDS = 10.0
KEPT_SESSIONS = 3
START_ATTEMPTS = 3

Origin = Literal["configured", "running", "started", "joined"]


@dataclass(slots=True)
class RayCluster:
    """This process's connection.

    `origin` says where the cluster came from: `configured` by GOLDPATH_RAY_ADDRESS, found `running` on this machine,
    `started` by this process, or `joined` because this process was connected already.
    """

    address: str
    origin: Origin

    def shutdown(self) -> None:
        """Ends what `connect` began: the cluster if it was started, else the connection; nothing if it was joined."""
        import ray

        if self.origin != "joined" and ray.is_initialized():
            ray.shutdown()

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


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


def connect(settings: Settings) -> RayCluster:
    """Connects this process to a Ray cluster, and starts one in it where there is none.

    Raises:
        EngineError: if the configured or running cluster does not answer, or Ray was imported too early.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return RayCluster(sys.modules["ray"].get_runtime_context().gcs_address, "joined")
    prepare_environment(settings)
    import ray

    if settings.ray_address:
        return _join(settings.ray_address, "configured")
    _require_loopback()
    address = running(settings)
    if address:
        return _join(address, "running")
    _start_here(settings)
    return RayCluster(ray.get_runtime_context().gcs_address, "started")


def _start_here(settings: Settings) -> None:
    """Starts a head in this process. On a machine that is busy or new, its servers can miss Ray's own 30 seconds."""
    import ray

    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            ray.init(
                address="local",
                num_cpus=cpu_slots(),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                namespace=NAMESPACE,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=str(session_folder(settings)),
            )
            return
        except (RuntimeError, TimeoutError) as error:
            ray.shutdown()
            if attempt == START_ATTEMPTS:
                raise EngineError(
                    object="Ray on this machine",
                    observed=str(error).splitlines()[0],
                    expected=f"a cluster that starts within {START_ATTEMPTS} attempts",
                    next_step="free some of the machine's processor time and run it again",
                ) from error


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


def prepare_environment(settings: Settings) -> None:
    """Sets what Ray reads from the environment, for this process and its children.

    Ray reads most of it while it is imported: call this first. For a configured cluster nothing is set about
    network and token, since whoever runs that cluster also says how to reach it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if settings.ray_address:
        return
    # Single-node mode, for which Ray has no other name: everything listens on loopback, not on every interface.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    token = str(token_file(settings))
    moved = os.environ.get("RAY_AUTH_TOKEN_PATH") not in (None, token)
    os.environ["RAY_AUTH_TOKEN_PATH"] = token
    if moved and "ray" in sys.modules:
        # Ray keeps the first token that it read, also when this process turns to another home folder.
        from ray._raylet import AuthenticationTokenLoader  # ty: ignore[import-not-found]

        AuthenticationTokenLoader.instance().reset_cache()
    if "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
    elif os.environ.get("RAY_AUTH_MODE") != "token":
        # Too late for a loaded Ray to read it; left unset, `ray.init` turns token authentication on by itself.
        os.environ.pop("RAY_AUTH_MODE", None)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(PROJECT) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *filter(None, paths)])


def token_file(settings: Settings) -> Path:
    """The file with this home's cluster token, readable by its owner alone; made on first use."""
    path = settings.root / "ray" / "token"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32))
        # A link fails where another process was first; its token then holds.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
        temporary.unlink()
    return path


def cpu_slots() -> int:
    """How many CPUs a cluster on this machine offers."""
    return max(MINIMUM_CPU_SLOTS, os.cpu_count() or 1)


def session_folder(settings: Settings) -> Path:
    """Where Ray keeps logs and sockets: outside the home folder, since the path of a socket may hold 107 bytes.

    Only the newest few sessions are kept. Raises EngineError if another user owns the folder.
    """
    name = f"goldpath-ray-{hashlib.sha256(str(settings.root).encode()).hexdigest()[:10]}"
    base = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    folder = base / name
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise EngineError(
            object=f"Ray's session folder {folder}",
            observed="it belongs to another user",
            expected="a folder of this user's",
            next_step="remove it, or choose another GOLDPATH_HOME",
        )
    sessions = sorted(path for path in folder.glob("session_2*") if path.is_dir())
    for session in sessions[:-KEPT_SESSIONS]:
        if not _in_use(session):
            shutil.rmtree(session, ignore_errors=True)
    return folder


def _in_use(session: Path) -> bool:
    """Whether the process that made the session, whose id ends its name, is alive."""
    import psutil

    return psutil.pid_exists(int(session.name.rpartition("_")[2]))


def _require_loopback() -> None:
    """Raises EngineError if Ray was loaded before it could be told to keep to loopback: it would wait for ever."""
    from ray.util import get_node_ip_address

    if get_node_ip_address() != ports.LOOPBACK:
        raise EngineError(
            object="Ray in this process",
            observed=f"it was imported before its environment was set, and would use {get_node_ip_address()}",
            expected=f"a cluster on {ports.LOOPBACK} alone",
            next_step="call pipelines.machine.ray_cluster.prepare_environment before the first `import ray`",
        )


def _join(address: str, origin: Origin) -> RayCluster:
    import ray
    from ray.exceptions import RayError

    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        # Ray itself tries a dead address for a quarter of an hour.
        if port.isdigit() and not ports.wait_open(int(port), seconds=ANSWER_SECONDS, host=host):
            raise ConnectionError(f"nobody accepts connections within {ANSWER_SECONDS:.0f} s")
        ray.init(address=address, namespace=NAMESPACE, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, RayError) as error:
        raise EngineError(
            object=f"Ray cluster {address}",
            observed=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            expected="a cluster that answers",
            next_step="start `goldpath dev`" if origin == "running" else "correct GOLDPATH_RAY_ADDRESS, or unset it",
        ) from error
    return RayCluster(address, origin)


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

    path = _address_file(settings)
    temporary = path.with_suffix(".tmp")
    noted = {"address": address, "pid": pid, "process_started": psutil.Process(pid).create_time()}
    temporary.write_text(json.dumps(noted), encoding="utf-8")
    temporary.replace(path)


def _address_file(settings: Settings) -> Path:
    return settings.root / "ray" / "address.json"


def head_pid(settings: Settings) -> int | None:
    """The process of the head that `start_head` left running for this home folder; None where none runs."""
    if running(settings) is None:
        return None
    return int(json.loads(_address_file(settings).read_text(encoding="utf-8"))["pid"])
