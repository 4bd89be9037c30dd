"""A lock has one owner at a time, names it to a process that waits, and is released when its owner is killed."""

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


def test_only_one_of_four_threads_holds_a_lock_at_a_time(tmp_path: Path) -> None:
    holders, most_holders, counter = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal holders, most_holders
        for _ in range(20):
            with locks.held(tmp_path / "lock", purpose="a test"):
                with counter:
                    holders += 1
                    most_holders = max(most_holders, holders)
                with counter:
                    holders -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (holders, most_holders) == (0, 1)


def test_a_timeout_names_the_owner_and_the_lock_is_free_after_the_owner_is_killed(tmp_path: Path) -> None:
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
