"""A child process is stopped with every process of its session, and its output and exit code are kept."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines.machine.child_process import ChildProcess

#: A server with a child process that has its own process group and ignores SIGTERM, as Ray's and Dagster's can.
STUBBORN = """
import os, signal, subprocess, sys, time
worker = "import os, signal, time; os.setpgid(0, 0); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", worker])
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def stubborn(tmp_path: Path) -> ChildProcess:
    child = ChildProcess.start("stubborn", [sys.executable, "-c", STUBBORN], log=tmp_path / "logs" / "stubborn.log")
    deadline = time.monotonic() + 30
    while len(child.members()) < 2 or "up" not in child.log_tail():
        assert time.monotonic() < deadline, child.log_tail()
        time.sleep(0.05)
    return child


def test_stop_kills_processes_that_left_the_group_and_ignore_the_signal(stubborn: ChildProcess) -> None:
    members = stubborn.members()
    stubborn.stop(seconds=5)
    assert [process.pid for process in members if psutil.pid_exists(process.pid) and _is_alive(process)] == []


def test_stop_of_a_killed_server_ends_its_child_processes(stubborn: ChildProcess) -> None:
    stubborn.process.kill()
    stubborn.process.wait()
    assert len(stubborn.members()) == 1
    stubborn.stop(seconds=5)
    assert stubborn.members() == []


def test_a_second_stop_does_nothing(stubborn: ChildProcess) -> None:
    stubborn.stop(seconds=5)
    stubborn.stop(seconds=5)
    assert stubborn.exit_code is not None


def test_output_and_exit_code_are_kept(tmp_path: Path) -> None:
    code = "import sys; print('line one'); print('line two', file=sys.stderr); sys.exit(3)"
    child = ChildProcess.start("short", [sys.executable, "-u", "-c", code], log=tmp_path / "short.log")
    child.process.wait()
    assert child.exit_code == 3
    assert child.log_tail(1) == "line two"


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
