"""A lock has one owner at a time, tells who that is, and is free when its owner is gone."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipelines.machine import locks
from pipelines.settings import PROJECT

HOLDER = """
import sys, time
from pathlib import Path
from pipelines.machine import locks
with locks.held(Path(sys.argv[1]), purpose="a run of bronze/toys/parts"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_of_two_threads_the_second_waits_for_the_first(tmp_path: Path) -> None:
    inside, most, counter = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locks.held(tmp_path / "lock", purpose="a test"):
                with counter:
                    inside += 1
                    most = max(most, inside)
                with counter:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)


def test_a_lock_names_its_owner_when_the_time_limit_has_passed_and_is_free_once_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "parts.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(locks.LockTimeout, match=rf"process {holder.pid} on .*: a run of bronze/toys/parts"),
            locks.held(path, purpose="a test", wait_seconds=0.1),
        ):
            pass
        holder.kill()
    with locks.held(path, purpose="a test", wait_seconds=5):
        assert "a test" in path.read_text(encoding="utf-8")
