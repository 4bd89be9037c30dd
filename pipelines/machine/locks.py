"""Locks between the processes and threads of one machine: files that one of them holds at a time.

The operating system releases a lock when its process ends, also when it is killed. The lock file holds the owner's
process id, host, start time and purpose; a process whose time limit has passed names them in its error.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import TransientError

#: A run that holds a table for longer than this is assumed to hang; the run that waits fails with a transient error,
#: and is tried again.
WAIT_SECONDS = 3600.0
POLL_SECONDS = 0.02


class LockTimeout(TransientError):
    """Another process or thread held a lock for longer than the time limit."""


@contextlib.contextmanager
def held(path: Path, *, purpose: str, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Holds a lock while the block runs. Not reentrant: a thread that takes it twice waits for itself.

    Args:
        path: The lock file; it is created, and not removed.
        purpose: What the owner does, for the error of those that wait: `a run of silver/shop/orders`.
        wait_seconds: How long to wait for the lock; with 0, fails at once if it is held.

    Raises:
        LockTimeout: if the lock is not released in time; names its owner.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=wait_seconds)
    try:
        lock.acquire(poll_interval=POLL_SECONDS)
    except Timeout:
        raise LockTimeout(
            object=f"lock {path}",
            observed=f"not free within {wait_seconds:g} s, held by {_owner(path)}",
            expected=f"the lock, for {purpose}",
            next_step="wait for that process, or end it if it hangs; the lock is released when it ends",
        ) from None
    try:
        now = datetime.now(UTC)
        _write(path, f"process {os.getpid()} on {socket.gethostname()} since {now:%F %T} UTC: {purpose}\n".encode())
        yield
    finally:
        lock.release()


def _write(path: Path, content: bytes) -> None:
    """Overwrites a file in place: a file that is emptied first is written to the disk by ext4 when it is closed."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, os.write(descriptor, content))
    finally:
        os.close(descriptor)


def _owner(path: Path) -> str:
    """The owner as it wrote itself into the lock file."""
    return path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
