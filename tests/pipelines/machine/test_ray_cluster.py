"""Ray reads its environment once per process, so each cluster here is looked at from a process of its own."""

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
seen = {}
with ray_connection.connect(settings) as cluster:
    import ray

    @ray.remote
    def work():
        import os
        import pipelines.tables
        return {"auth": os.environ["RAY_AUTH_MODE"], "project": pipelines.tables.__file__}

    seen |= {"origin": cluster.origin, "address": cluster.address, "worker": ray.get(work.remote())}
    with ray_connection.connect(settings) as again:
        seen["again"] = again.origin
    seen["still_connected"] = ray.is_initialized()
    seen["cpus"] = ray.cluster_resources()["CPU"]
    processes = psutil.Process().children(recursive=True)
    listening = [c.laddr.ip for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    seen["listening"] = sorted(set(listening))
seen["connected_after"] = ray.is_initialized()
seen["left"] = [p.pid for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
print("SEEN", json.dumps(seen))
"""


def _in_a_process(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**kept, "PYTHONPATH": str(PROJECT), **variables},
    )


def _seen(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert "SEEN" in done.stdout, done.stdout + done.stderr
    return json.loads(done.stdout.rpartition("SEEN")[2])


def _listening(member: psutil.Process) -> set[str]:
    """Where a process listens; nowhere, if it has ended since it was listed."""
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
def test_cluster_of_this_process_is_private_and_ends_with_it(tmp_path: Path) -> None:
    done = _in_a_process(CONNECT, str(tmp_path))
    seen = _seen(done)
    assert seen["origin"] == "started"
    assert set(seen["listening"]) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert seen["worker"]["auth"] == "token"
    assert seen["worker"]["project"] == str(PROJECT / "pipelines" / "tables.py")
    assert seen["cpus"] >= ray_environment.MINIMUM_CPU_SLOTS
    assert (seen["again"], seen["still_connected"]) == ("joined", True)
    assert (seen["connected_after"], seen["left"]) == (False, [])


@pytest.fixture
def head(tmp_path: Path, environment_kept: None) -> Iterator[RayHead]:
    started = ray_head.start_head(Settings(home=tmp_path))
    yield started
    started.stop()


@pytest.mark.ray
@pytest.mark.slow
def test_head_is_found_outlives_its_visitors_and_ends_with_all_it_started(head: RayHead, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert ray_head.running(settings) == head.address
    assert ray_head.head_pid(settings) == head.server.pid
    seen = _seen(_in_a_process(CONNECT, str(tmp_path)))
    assert (seen["origin"], seen["address"]) == ("running", head.address)
    assert ray_head.running(settings) == head.address
    members = head.server.members()
    assert {ip for member in members for ip in _listening(member)} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}

    (tmp_path / "other-token").write_text("0" * 64, encoding="utf-8")
    stranger = _in_a_process(
        f"import ray; ray.init(address={head.address!r}); print('SEEN')",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(tmp_path / "other-token"),
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        RAY_NUM_REDIS_GET_RETRIES="1",
    )
    assert "SEEN" not in stranger.stdout

    head.stop()
    assert head.server.members() == []
    assert ray_head.running(settings) is None
    assert ports.is_free(int(head.address.rpartition(":")[2]))


def test_address_of_a_head_that_died_is_not_used(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = tmp_path / "ray"
    folder.mkdir()
    noted = {"address": "127.0.0.1:6379", "pid": gone.pid, "process_started": 0.0}
    (folder / "address.json").write_text(json.dumps(noted), encoding="utf-8")
    assert ray_head.running(Settings(home=tmp_path)) is None


def test_address_whose_process_number_now_belongs_to_another_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "ray"
    folder.mkdir()
    noted = {"address": "127.0.0.1:6379", "pid": os.getpid(), "process_started": 1.0}
    (folder / "address.json").write_text(json.dumps(noted), encoding="utf-8")
    assert ray_head.running(Settings(home=tmp_path)) is None


def test_token_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    token = ray_environment.token_file(settings).read_text(encoding="utf-8")
    assert len(token) == 64
    assert ray_environment.token_file(settings).read_text(encoding="utf-8") == token
    assert ray_environment.token_file(settings).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "ray").iterdir()] == ["token"]


def test_path_of_a_socket_stays_short_however_deep_the_home_lies(tmp_path: Path) -> None:
    folder = ray_environment.session_folder(Settings(home=tmp_path / ("deep" * 40)))
    socket = folder / "session_2025-01-01_00-00-00_000000_4194304" / "sockets" / "plasma_store"
    assert len(str(socket)) < 107
    folder.rmdir()


def test_only_the_newest_sessions_are_kept_and_one_in_use_always(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    folder = ray_environment.session_folder(settings)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    in_use = folder / f"session_2025-01-01_00-00-00_000000_{os.getpid()}"
    old = [folder / f"session_2025-01-0{day}_00-00-00_000000_{gone.pid}" for day in range(2, 7)]
    for session in (in_use, *old):
        session.mkdir()
    ray_environment.session_folder(settings)
    assert sorted(folder.iterdir()) == [in_use, *old[-ray_environment.KEPT_SESSIONS :]]


def test_taken_port_is_refused_before_anything_starts(tmp_path: Path, environment_kept: None) -> None:
    import socket

    with socket.create_server((ports.LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} for Ray"):
            ray_head.start_head(Settings(home=tmp_path), port=port)
    assert not (tmp_path / "logs").exists()


def test_configured_cluster_keeps_its_own_network_and_token_settings(tmp_path: Path, environment_kept: None) -> None:
    os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
    os.environ.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", None)
    ray_environment.prepare_environment(Settings(home=tmp_path, ray_address="ray-head:6379"))
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ


def test_ray_that_was_imported_before_its_environment_is_refused(tmp_path: Path) -> None:
    code = (
        "import ray, sys; from pipelines.machine import ray_connection; from pipelines.settings import Settings\n"
        "try: ray_connection.connect(Settings(home=sys.argv[1]))\n"
        "except ray_connection.EngineError as error: print('SEEN', error)"
    )
    done = _in_a_process(code, str(tmp_path))
    assert "imported before its environment was set" in done.stdout, done.stdout + done.stderr
    assert "prepare_environment" in done.stdout


def test_configured_cluster_that_does_not_answer_is_an_error_with_its_address(tmp_path: Path) -> None:
    code = (
        "import sys; from pipelines.machine import ray_connection; from pipelines.settings import Settings\n"
        "try: ray_connection.connect(Settings(home=sys.argv[1], ray_address=sys.argv[2]))\n"
        "except ray_connection.EngineError as error: print('SEEN', error)"
    )
    done = _in_a_process(code, str(tmp_path), f"127.0.0.1:{ports.free_port()}")
    assert "GOLDPATH_RAY_ADDRESS" in done.stdout, done.stdout + done.stderr
