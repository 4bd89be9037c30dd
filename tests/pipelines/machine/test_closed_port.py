"""A closed port keeps the connections that its process has, admits nobody else, and tells who was there before."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipelines.errors import EngineError
from pipelines.machine import closed_port
from pipelines.machine.ports import LOOPBACK

NOBODY = 65534
CONNECT = """
import encodings.idna, os, socket, sys  # an unprivileged account may not be able to import it
if os.getuid() == 0:
    os.setuid(65534)
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=float(sys.argv[2])):
    print("connected", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server


def stranger(port: int, seconds: float = 0.3) -> subprocess.Popen[bytes]:
    """Another process, of another account where this one may start such, that connects and stays."""
    return subprocess.Popen(
        [sys.executable, "-c", CONNECT, str(port), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def test_a_closed_port_keeps_its_connections_and_admits_no_other_process(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with socket.create_connection((LOOPBACK, port)) as client, listener.accept()[0] as connection:
        closed_port.close(port)
        with stranger(port) as process:
            output, _ = process.communicate()
        assert (output, process.returncode) == (b"", 1)
        assert not closed_port.admits(port)
        client.sendall(b"question")
        assert connection.recv(20) == b"question"
        connection.sendall(b"answer")
        assert client.recv(20) == b"answer"


def test_a_process_that_connected_before_is_named(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with socket.create_connection((LOOPBACK, port)), stranger(port, 10) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"connected\n"
        owner = pwd.getpwuid(NOBODY if os.getuid() == 0 else os.getuid()).pw_name
        with pytest.raises(EngineError, match=rf"another process .* connected to it \({owner}\)"):
            closed_port.close(port)
        process.communicate()


def test_this_kernel_closes_ports_and_others_stay_open(listener: socket.socket) -> None:
    assert closed_port.can_close()
    assert closed_port.admits(listener.getsockname()[1])


def test_the_other_accounts_are_those_that_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def account(name: str, uid: int, shell: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", uid, uid, "", f"/home/{name}", shell))

    accounts = [
        account("root", 0, "/bin/bash"),
        account("daemon", 2, "/usr/sbin/nologin"),
        account("me", os.getuid(), "/bin/bash"),
        account("ann", 1100, "/bin/zsh"),
        account("service", 1101, "/usr/sbin/nologin"),
        account("nobody", NOBODY, "/bin/sh"),
    ]
    monkeypatch.setattr(pwd, "getpwall", lambda: accounts)
    assert closed_port.other_accounts() == ["ann"]
