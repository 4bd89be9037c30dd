"""Ray clusters on this machine. Ray reads its environment once per process, so each test connects from a new process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.errors import SettingsError
from pipelines.machine import ports, ray_environment, ray_head
from pipelines.machine.ray_head import RayHead
from pipelines.settings import PROJECT, Settings

CONNECT = """
import json, sys
import psutil
from pipelines.machine import ray_connection
from pipelines.settings import PROJECT, Settings

settings = Settings(home=sys.argv[1])
report = {}
with ray_connection.connect(settings) as cluster:
    import ray

    @ray.remote
    def work():
        import os
        import pipelines.tables
        return {"auth": os.environ["RAY_AUTH_MODE"], "project": pipelines.tables.__file__}

    report |= {"origin": cluster.origin, "address": cluster.address, "worker": ray.get(work.remote())}
    with ray_connection.connect(settings) as second:
        report["second_origin"] = second.origin
    report["still_connected"] = ray.is_initialized()
    report["cpus"] = ray.cluster_resources()["CPU"]
    processes = psutil.Process().children(recursive=True)
    listening = [c.laddr.ip for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    report["listening"] = sorted(set(listening))
report["connected_after"] = ray.is_initialized()
report["left"] = [p.pid for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
print("REPORT", json.dumps(report))
"""


BESIDE = """
import json, sys, time
import psutil
from pathlib import Path
from pipelines.machine import ray_connection
from pipelines.settings import Settings

settings = Settings(home=Path(sys.argv[1]))
with ray_connection.connected_beside(settings, imports=["wave"]):
    with ray_connection.connect(settings) as cluster:
        report = {"origin": cluster.origin, "imported": "wave" in sys.modules}
    import ray
    time.sleep(1)  # long enough for the kernel to end processes whose parent thread has ended
    report["still_connected"] = ray.get(ray.remote(lambda: "answer").remote(), timeout=120)
    processes = psutil.Process().children(recursive=True)
report["connected_after"] = ray.is_initialized()
report["left"] = [p.pid for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
print("REPORT", json.dumps(report))
"""


def _run_python(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the code in a new process, without this one's variables for Ray."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**inherited, "PYTHONPATH": str(PROJECT), **variables},
    )


def _report(process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert "REPORT" in process.stdout, process.stdout + process.stderr
    return json.loads(process.stdout.rpartition("REPORT")[2])


def _listening(member: psutil.Process) -> set[str]:
    """The addresses on which a process listens; none if it has ended since it was listed."""
    try:
        return {c.laddr.ip for c in member.net_connections() if c.status == psutil.CONN_LISTEN}
    except psutil.NoSuchProcess:
        return set()


@pytest.fixture(autouse=True)
def no_session_left(tmp_path: Path) -> Iterator[None]:
    yield
    shutil.rmtree(ray_environment.session_folder(Settings(home=tmp_path)))


@pytest.fixture
def environment_kept() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.ray
@pytest.mark.slow
def test_a_cluster_started_by_a_process_listens_on_loopback_only_and_ends_with_the_process(tmp_path: Path) -> None:
    report = _report(_run_python(CONNECT, str(tmp_path)))
    assert report["origin"] == "started"
    assert set(report["listening"]) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert report["worker"]["auth"] == "token"
    assert report["worker"]["project"] == str(PROJECT / "pipelines" / "tables.py")
    assert report["cpus"] >= ray_environment.MINIMUM_CPU_SLOTS
    assert (report["second_origin"], report["still_connected"]) == ("joined", True)
    assert (report["connected_after"], report["left"]) == (False, [])


@pytest.mark.ray
@pytest.mark.slow
def test_a_cluster_that_starts_beside_other_work_is_joined_by_it_and_ends_with_it(tmp_path: Path) -> None:
    report = _report(_run_python(BESIDE, str(tmp_path)))
    assert (report["origin"], report["imported"], report["still_connected"]) == ("joined", True, "answer")
    assert (report["connected_after"], report["left"]) == (False, [])


@pytest.fixture
def head(tmp_path: Path, environment_kept: None) -> Iterator[RayHead]:
    started = ray_head.start_head(Settings(home=tmp_path))
    yield started
    started.stop()


@pytest.mark.ray
@pytest.mark.slow
def test_a_head_is_found_keeps_running_after_a_connection_and_stops_with_its_processes(
    head: RayHead, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    assert ray_head.running(settings) == head.address
    assert ray_head.head_pid(settings) == head.server.pid
    report = _report(_run_python(CONNECT, str(tmp_path)))
    assert (report["origin"], report["address"]) == ("running", head.address)
    assert ray_head.running(settings) == head.address
    members = head.server.members()
    assert {ip for member in members for ip in _listening(member)} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}

    (tmp_path / "other-token").write_text("0" * 64, encoding="utf-8")
    stranger = _run_python(
        f"import ray; ray.init(address={head.address!r}); print('CONNECTED')",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(tmp_path / "other-token"),
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        RAY_NUM_REDIS_GET_RETRIES="1",
    )
    assert "CONNECTED" not in stranger.stdout

    head.stop()
    assert head.server.members() == []
    assert ray_head.running(settings) is None
    assert ports.is_free(int(head.address.rpartition(":")[2]))


@pytest.fixture
def ended_pid() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _write_address(home: Path, pid: int, started: float) -> None:
    folder = home / "ray"
    folder.mkdir()
    record = {"address": "127.0.0.1:6379", "pid": pid, "process_started": started}
    (folder / "address.json").write_text(json.dumps(record), encoding="utf-8")


def test_the_address_of_a_head_that_has_ended_is_not_used(tmp_path: Path, ended_pid: int) -> None:
    _write_address(tmp_path, ended_pid, 0.0)
    assert ray_head.running(Settings(home=tmp_path)) is None


def test_an_address_whose_process_id_now_belongs_to_another_process_is_not_used(tmp_path: Path) -> None:
    _write_address(tmp_path, os.getpid(), 1.0)
    assert ray_head.running(Settings(home=tmp_path)) is None
    assert ray_head.head_pid(Settings(home=tmp_path)) is None


def test_the_token_is_created_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    token = ray_environment.token_file(settings).read_text(encoding="utf-8")
    assert len(token) == 64
    assert ray_environment.token_file(settings).read_text(encoding="utf-8") == token
    assert ray_environment.token_file(settings).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "ray").iterdir()] == ["token"]


def test_the_path_of_a_socket_is_short_enough_for_a_deep_home_folder(tmp_path: Path) -> None:
    folder = ray_environment.session_folder(Settings(home=tmp_path / ("deep" * 40)))
    socket = folder / "session_2025-01-01_00-00-00_000000_4194304" / "sockets" / "plasma_store"
    assert len(str(socket)) < 107
    folder.rmdir()


def test_the_newest_sessions_and_those_in_use_are_kept(tmp_path: Path, ended_pid: int) -> None:
    settings = Settings(home=tmp_path)
    folder = ray_environment.session_folder(settings)
    in_use = folder / f"session_2025-01-01_00-00-00_000000_{os.getpid()}"
    ended = [folder / f"session_2025-01-0{day}_00-00-00_000000_{ended_pid}" for day in range(2, 7)]
    for session in (in_use, *ended):
        session.mkdir()
    ray_environment.session_folder(settings)
    assert sorted(folder.iterdir()) == [in_use, *ended[-ray_environment.KEPT_SESSIONS :]]


def test_a_head_with_a_taken_port_is_refused_before_a_process_starts(tmp_path: Path, environment_kept: None) -> None:
    import socket

    with socket.create_server((ports.LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} for Ray"):
            ray_head.start_head(Settings(home=tmp_path), port=port)
    assert not (tmp_path / "logs").exists()


def test_the_environment_for_a_configured_cluster_has_no_network_or_token_settings(
    tmp_path: Path, environment_kept: None
) -> None:
    os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
    os.environ.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", None)
    ray_environment.prepare_environment(Settings(home=tmp_path, ray_address="ray-head:6379"))
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ


def test_a_connection_is_refused_if_ray_was_imported_before_its_environment_was_set(tmp_path: Path) -> None:
    code = (
        "import ray, sys; from pipelines.machine import ray_connection; from pipelines.settings import Settings\n"
        "try: ray_connection.connect(Settings(home=sys.argv[1]))\n"
        "except ray_connection.EngineError as error: print(error)"
    )
    process = _run_python(code, str(tmp_path))
    assert "imported before its environment was set" in process.stdout, process.stdout + process.stderr
    assert "prepare_environment" in process.stdout


def test_a_configured_cluster_that_does_not_answer_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    code = (
        "import sys; from pipelines.machine import ray_connection; from pipelines.settings import Settings\n"
        "try: ray_connection.connect(Settings(home=sys.argv[1], ray_address=sys.argv[2]))\n"
        "except ray_connection.EngineError as error: print(error)"
    )
    process = _run_python(code, str(tmp_path), f"127.0.0.1:{ports.free_port()}")
    assert "GOLDPATH_RAY_ADDRESS" in process.stdout, process.stdout + process.stderr
