"""The servers of `goldpath dev`: started on this machine, watched until Ctrl-C, then stopped with their processes.

Ray, Dagster (web pages, daemon and one code server), MLflow and Feast's pages each run in a session of their own, of
which every process is stopped. One door (`dev_door`) shows their pages. Models that were deployed are served again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pipelines import clock
from pipelines.commands.dev_door import Door, Pages
from pipelines.errors import EngineError, GoldpathError
from pipelines.lineage.events import LineageLog
from pipelines.machine import files, ports, ray_environment, ray_head
from pipelines.machine.child_process import ChildProcess
from pipelines.models import artifact_roots
from pipelines.orchestration import dagster_home
from pipelines.settings import PROJECT, Settings

if TYPE_CHECKING:
    from rich.console import Console

DAGSTER_PORT = 3000
MLFLOW_PORT = 5000
FEAST_PORT = 8888
START_SECONDS = 180.0
POLL_SECONDS = 0.5
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: Yields the name of each deployed service, with what serves it again and returns its address.
Redeploy = Callable[[Settings], Iterator[tuple[str, Callable[[], str]]]]


@dataclass(frozen=True, slots=True)
class DevPorts:
    """The loopback ports of the servers; None takes a free one. The prediction service has GOLDPATH_SERVING_PORT."""

    dagster: int = DAGSTER_PORT
    mlflow: int = MLFLOW_PORT
    feast: int = FEAST_PORT
    ray: int | None = None
    ray_dashboard: int = 8265


@dataclass(slots=True)
class Server:
    """A server.

    Attributes:
        name: Its name for people.
        address: Its URL, or host and port.
        note: What a user finds there, or how to get access.
        child: Its process; None for a server that ran before.
        pages: What it shows in a browser, through the door; None if that is nothing.
    """

    name: str
    address: str
    note: str = ""
    child: ChildProcess | None = None
    pages: Pages | None = None


def run(
    settings: Settings,
    *,
    console: Console,
    redeploy: Redeploy,
    server_ports: DevPorts | None = None,
    ray_dashboard: Literal["off", "on"] = "off",
) -> None:
    """Starts all servers, prints their addresses, and prints the end of each asset run until SIGINT or SIGTERM.

    Args:
        settings: The settings, with the home folder that the servers use.
        console: The console to print to.
        redeploy: Yields each service of which a model was deployed.
        server_ports: The ports; None takes the default ones.
        ray_dashboard: Whether to run Ray's dashboard, which takes about 700 MB of memory.

    Raises:
        SettingsError: if a port is taken.
        EngineError: if a server does not start, or ends.
    """
    server_ports = server_ports or DevPorts()
    with Interrupts.installed() as interrupts, contextlib.ExitStack() as stack:
        starter = _ServerStarter(settings, console, interrupts, stack)
        try:
            servers = starter.start(server_ports, ray_dashboard)
            servers += _serve(settings, redeploy, console)
            interrupts.install()  # again, since `ray.init` installs its own handler of SIGTERM
            _show(settings, servers, console)
            _watch(settings, servers, console)
        except (KeyboardInterrupt, SystemExit):
            console.print("\nStopping …")
        finally:
            interrupts.ignore()
    console.print("Stopped; nothing is left running.")


@dataclass(slots=True)
class Interrupts:
    """Raises KeyboardInterrupt on SIGINT and SIGTERM.

    While a child process starts it is deferred (`held`): the child is registered to be stopped before it is raised.
    """

    _holding: bool = False
    _pending: bool = False

    @classmethod
    @contextlib.contextmanager
    def installed(cls) -> Iterator[Interrupts]:
        """Handles the signals while the block runs, and restores their former handlers after it."""
        interrupts = cls()
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        interrupts.install()
        try:
            yield interrupts
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def install(self) -> None:
        """Sets the handlers of both signals."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._receive)

    def ignore(self) -> None:
        """Ignores both signals, so that a second Ctrl-C does not interrupt the stopping of the servers."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Defers the KeyboardInterrupt of a signal to the end of the block."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._pending:
            raise KeyboardInterrupt

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if not self._holding:
            raise KeyboardInterrupt
        self._pending = True


@dataclass(frozen=True, slots=True)
class _ServerStarter:
    """Starts the servers; each one's stop is on the exit stack before the next one starts."""

    settings: Settings
    console: Console
    interrupts: Interrupts
    stack: contextlib.ExitStack

    def start(self, server_ports: DevPorts, ray_dashboard: Literal["off", "on"]) -> list[Server]:
        """Starts the servers and the door; waits until they answer and Dagster has loaded the assets."""
        settings = self.settings
        remote_mlflow = settings.mlflow.startswith(("http://", "https://"))
        running = settings.ray_address or ray_head.running(settings)
        ports.require_free(server_ports.dagster, what="Dagster", option="--port")
        if not remote_mlflow:
            ports.require_free(server_ports.mlflow, what="MLflow", option="--mlflow-port")
        ports.require_free(server_ports.feast, what="Feast", option="--feast-port")
        if ray_dashboard == "on" and not running:
            ports.require_free(server_ports.ray_dashboard, what="the Ray dashboard", option="--ray-dashboard-port")
        if not running:
            ports.require_free(settings.serving_port, what="the prediction service", option="GOLDPATH_SERVING_PORT")
        os.environ["GOLDPATH_HOME"] = str(settings.root)
        dagster_home.prepare(settings)
        ray_environment.prepare_environment(settings)
        # For this account alone; not in the home folder, since the path of a socket can be at most 107 bytes long.
        folder = Path(tempfile.mkdtemp(prefix="goldpath-dev-", dir="/tmp"))
        self.stack.callback(shutil.rmtree, folder, ignore_errors=True)
        servers = [self._launch(lambda: _dagster(settings, server_ports.dagster, folder / "dagster"))]
        if remote_mlflow:
            servers.append(Server("MLflow", _without_login(settings.mlflow)))
        else:
            servers.append(self._launch(lambda: _mlflow(settings, server_ports.mlflow, folder / "mlflow")))
        servers.append(self._launch(lambda: _feast(settings, server_ports.feast, folder / "feast")))
        if running:
            servers.append(Server("Ray", running, "was running before; keeps running when this ends"))
        else:
            servers += self._ray(server_ports, ray_dashboard)
        self._open_door(servers)
        for server in servers:
            if server.child and server.pages:
                self.console.print(f"Waiting for {server.name} …")
                _await_answer(server, server.pages)
        assert servers[0].pages is not None
        load_error = _load_error(servers[0].pages)
        if load_error:
            self.console.print(f"The assets do not load: {load_error}", style="red", highlight=False)
        return servers

    def _open_door(self, servers: list[Server]) -> None:
        """Opens the door to the servers' pages, for whoever has a token that is new with each start."""
        path = token_file(self.settings)
        path.unlink(missing_ok=True)
        token = files.secret(path, lambda: secrets.token_urlsafe(32))
        self.stack.callback(path.unlink, missing_ok=True)
        door = Door([server.pages for server in servers if server.pages], token)
        self.stack.callback(door.close)
        door.open()
        for server in servers:
            if server.pages:
                server.address = f"http://{ports.LOOPBACK}:{server.pages.port}/?token={token}"

    def _launch(self, start: Callable[[], Server]) -> Server:
        """Starts a server and registers its stop, without an interrupt in between."""
        with self.interrupts.held():
            server = start()
            if server.child:
                stop_signal = signal.SIGINT if server.name == "Dagster" else signal.SIGTERM
                self.stack.callback(server.child.stop, stop_signal=stop_signal)
        return server

    def _ray(self, server_ports: DevPorts, dashboard: Literal["off", "on"]) -> list[Server]:
        """Starts a Ray cluster and registers its stop; returns it, and its dashboard if that is on."""
        self.console.print("Starting Ray …")
        head = ray_head.start_head(self.settings, dashboard=dashboard, port=server_ports.ray)
        self.stack.callback(head.stop)
        token = ray_environment.token_file(self.settings)
        servers = [Server("Ray", head.address, f"token in {token}", head.server)]
        if head.dashboard_port:
            login = {"authorization": f"Bearer {token.read_text(encoding='utf-8').strip()}"}
            pages = Pages("Ray", server_ports.ray_dashboard, server_port=head.dashboard_port, headers=login)
            servers.append(Server("Ray dashboard", "", "actors, jobs, logs", pages=pages))
        return servers


def token_file(settings: Settings) -> Path:
    """The file with the token of the door, while `goldpath dev` runs; readable only by its owner."""
    return settings.root / "dev" / "token"


def _dagster(settings: Settings, port: int, unix_socket: Path) -> Server:
    command = [sys.executable, "-m", "pipelines.orchestration.dagster_servers", "dev", str(unix_socket)]
    command += ["--workspace", str(PROJECT / "workspace.yaml"), "--host", ports.LOOPBACK, "--port", str(port)]
    child = ChildProcess.start("Dagster", command, log=settings.root / "logs" / "dagster.log", cwd=PROJECT)
    return Server("Dagster", "", "assets, runs, checks, lineage", child, Pages("Dagster", port, unix_socket))


def _mlflow(settings: Settings, port: int, unix_socket: Path) -> Server:
    (settings.root / "mlflow").mkdir(parents=True, exist_ok=True)
    artifact_roots.rebase(settings)
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--uvicorn-opts", f"--uds {unix_socket}"]
    command += ["--host", ports.LOOPBACK, "--port", str(port)]
    command += ["--artifacts-destination", artifact_roots.root(settings).as_uri()]
    # Not on the command line, which every account can read: the address of a database may hold a password.
    env = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": settings.mlflow,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    child = ChildProcess.start("MLflow", command, log=settings.root / "logs" / "mlflow.log", cwd=PROJECT, env=env)
    return Server("MLflow", "", "experiments, models, registry", child, Pages("MLflow", port, unix_socket))


def _feast(settings: Settings, port: int, unix_socket: Path) -> Server:
    command = [sys.executable, "-m", "feature_repo.web_pages", str(unix_socket)]
    child = ChildProcess.start("Feast", command, log=settings.root / "logs" / "feast.log", cwd=PROJECT)
    return Server("Feast", "", "feature views, entities, services", child, Pages("Feast", port, unix_socket))


def _without_login(address: str) -> str:
    """An address without the user and the password that it may hold."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _await_answer(server: Server, pages: Pages) -> None:
    """Waits until a started server answers; raises EngineError if it ends, or does not answer in time."""
    import httpx

    assert server.child is not None
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(httpx.HTTPError), pages.client() as client:
            if client.get("/", timeout=5).is_success:
                return
        _require_alive(server)
        if time.monotonic() > deadline:
            raise EngineError(
                object=server.name,
                observed=f"no answer in {START_SECONDS:.0f} s",
                expected="HTTP 200",
                next_step=f"read {server.child.log}, which ends with:\n{server.child.log_tail()}",
            )
        time.sleep(0.2)


def _load_error(dagster: Pages) -> str | None:
    """Waits until Dagster has loaded the code location; returns the error that it met, None if there is none."""
    query = """{ workspaceOrError { ... on Workspace { locationEntries {
        loadStatus locationOrLoadError { ... on PythonError { message } } } } } }"""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with dagster.client() as client:
            answer = client.post("/graphql", json={"query": query}, timeout=START_SECONDS).json()
        entries = answer["data"]["workspaceOrError"]["locationEntries"]
        if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
            return next(filter(None, (entry["locationOrLoadError"].get("message") for entry in entries)), None)
        time.sleep(0.2)
    return f"no answer in {START_SECONDS:.0f} s"


def _require_alive(server: Server) -> None:
    """Raises EngineError if the server was started here and has ended."""
    if server.child and server.child.exit_code is not None:
        raise EngineError(
            object=server.name,
            observed=f"it ended with code {server.child.exit_code}",
            expected="a server that runs until it is stopped",
            next_step=f"read {server.child.log}, which ends with:\n{server.child.log_tail()}",
        )


def _serve(settings: Settings, redeploy: Redeploy, console: Console) -> list[Server]:
    """Serves again what was deployed last of each service."""
    servers = []
    for service, deploy in redeploy(settings):
        console.print(f"Starting the service {service} …")
        try:
            url = deploy()
        except GoldpathError as error:  # the rest of the platform, and other services, are of use without it
            console.print(
                "[red]The model that was deployed last does not serve:[/]", str(error), highlight=False, markup=False
            )
            servers.append(Server(service, "-", "not running; see above"))
            continue
        configured = service in settings.serving_tokens
        kept = "GOLDPATH_SERVING_TOKENS" if configured else settings.root / "serving" / "tokens" / service
        servers.append(Server(service, url, f"token in {kept}"))
    return servers or [Server("Predictions", "-", "none was deployed yet: goldpath materialize serving/DOMAIN/MODEL")]


def _show(settings: Settings, servers: list[Server], console: Console) -> None:
    """Prints the servers with their addresses, and where their logs are."""
    for server in servers:
        console.print(server.name, style="bold", end="", highlight=False)
        console.print(f"  {server.note}" if server.note else "", highlight=False, soft_wrap=True)
        console.print(f"  {server.address}", highlight=False, soft_wrap=True)  # whole, however narrow the terminal is
    if replay := clock.replay(settings):
        console.print(f"note: {replay}", style="yellow")
    console.print(f"Logs are in {settings.root / 'logs'}. Ctrl-C stops everything.", soft_wrap=True)


def _watch(settings: Settings, servers: list[Server], console: Console) -> None:
    """Prints a line for each asset run that ends; raises EngineError if a server ends."""
    marks = {"COMPLETE": "done", "FAIL": "failed"}
    log = LineageLog(settings)
    offset = log.path.stat().st_size if log.path.exists() else 0
    while True:
        time.sleep(POLL_SECONDS)
        for server in servers:
            _require_alive(server)
        for end, event in log.events_from(offset):
            offset = end
            if event["eventType"] in marks:
                console.print(f"{marks[event['eventType']]} {event['job']['name']}", highlight=False)
