"""Locks between the processes and threads of one machine: a file that one of them holds at a time.

The operating system releases a lock when its process ends, however it ends. The lock file holds the owner's process id,
host, start time and purpose, which a waiting process shows when its time limit has passed.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import TransientError

#: A run that holds a table for longer than this is taken to hang; whoever waits fails transiently and is tried again.
WAIT_SECONDS = 3600.0
POLL_SECONDS = 0.02


class LockTimeout(TransientError):
    """Another process or thread held a lock for longer than the time limit."""


@contextlib.contextmanager
def held(path: Path, *, purpose: str, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Holds a lock while the block runs. Not reentrant: a thread that holds it would wait for itself.

    Args:
        path: The lock file; it is created, and stays.
        purpose: What the holder does, for those that wait: `a run of silver/shop/orders`.
        wait_seconds: How long to wait for it; 0 fails at once where another holds it.

    Raises:
        LockTimeout: naming the owner, if it is not free in time.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=wait_seconds)
    try:
        lock.acquire(poll_interval=POLL_SECONDS)
    except Timeout:
        raise LockTimeout(
            object=f"lock {path}",
            observed=f"not free within {wait_seconds:.0f} s, held by {_owner(path)}",
            expected=f"the lock, for {purpose}",
            next_step="wait for that process, or end it if it hangs; the lock is released when it ends",
        ) from None
    try:
        now = datetime.now(UTC)
        path.write_text(f"process {os.getpid()} on {socket.gethostname()} since {now:%F %T} UTC: {purpose}\n", "utf-8")
        yield
    finally:
        lock.release()


def _owner(path: Path) -> str:
    """What the last owner wrote."""
    return path.read_text(encoding="utf-8").strip() or "another process"
