"""Loopback ports: whether one is free, and who holds it."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time

from pipelines.errors import SettingsError

LOOPBACK = "127.0.0.1"
#: Above the ports of Ray's workers, and below those that Linux gives to programs which name none, as Ray's daemons.
CHOSEN = range(20_000, 32_768)


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A loopback port on which no process listens at this moment, and that no program gets which names none."""
    port = secrets.choice(CHOSEN)
    while not is_free(port):
        port = secrets.choice(CHOSEN)
    return port


def holder(port: int) -> str | None:
    """The process that listens on the port, as `name (pid 123)`; None if there is none or this user may not see it."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return None


def require_free(port: int, *, what: str, option: str) -> None:
    """Raises SettingsError if a process listens on the port.

    Args:
        port: The loopback port.
        what: The server that needs it, for the error: `Ray`.
        option: The command-line option or environment variable that chooses another port, for the error.
    """
    if is_free(port):
        return
    raise SettingsError(
        object=f"port {port} for {what}",
        observed=f"{holder(port) or 'another program'} listens on it",
        expected="a free port on 127.0.0.1",
        next_step=f"end that program, or choose another port with {option}",
    )


def wait_open(port: int, *, seconds: float, host: str = LOOPBACK) -> bool:
    """Waits until a server accepts connections on the port; returns False if none does within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=seconds):
            return True
        time.sleep(0.1)
    return False
