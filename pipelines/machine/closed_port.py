"""Closes a listening loopback port of this process to every further connection, and lists the machine's other accounts.

For a server that has no login of its own: its one client connects, then the port is closed. A loopback port belongs to
no account, so without this every account of the machine could use the server. Linux alone; needs no privilege.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import EngineError
from pipelines.machine.ports import LOOPBACK

#: Options of Linux's sockets for which Python has no names (asm-generic/socket.h).
SO_ATTACH_FILTER, SO_LOCK_FILTER = 26, 44
#: A classic BPF program of one instruction, "return 0": the kernel drops each packet that reaches the listening socket.
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
#: How long a connection to a loopback port may take; the kernel makes one in microseconds, or none.
CONNECT_SECONDS = 0.05
#: TCP states of a connection that its client has: established, being established, closed by the client alone.
CONNECTED = ("01", "03", "08")
LISTENING = "0A"
FIRST_USER = 1000
NO_LOGIN = ("nologin", "false", "sync")


@dataclass(frozen=True, slots=True)
class _Row:
    """One TCP socket of this machine, from /proc/net/tcp or tcp6."""

    local: int
    remote: int
    state: str
    owner: int
    inode: int


def close(port: int) -> None:
    """Closes the port on which this process listens; the connections that exist stay.

    Raises:
        EngineError: if a process other than this one is connected.
    """
    own = _own_sockets()
    for row in _rows():
        if row.local == port and row.state == LISTENING and row.inode in own:
            with socket.socket(fileno=os.dup(own[row.inode])) as listener:
                drop(listener)
    rows = _rows()
    own = _own_sockets()
    clients = {row.local for row in rows if row.remote == port and row.inode in own}
    strangers = [row for row in rows if row.local == port and row.state in CONNECTED and row.remote not in clients]
    if strangers:
        owners = {row.owner for row in rows if row.remote == port and row.local in {s.remote for s in strangers}}
        names = ", ".join(sorted(map(_name, owners))) or "an unknown account"
        raise EngineError(
            object=f"port {port} of the embedded engine",
            observed=f"another process of this machine connected to it ({names})",
            expected="this process alone",
            next_step="find out who connects to ports that they do not own, then run it again",
        )


def drop(listener: socket.socket) -> None:
    """Makes the kernel drop every further packet to a listening socket, for good."""
    with contextlib.suppress(OSError):  # a kernel without it: `admits` tells
        program = ctypes.create_string_buffer(DROP_ALL)
        listener.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(DROP_ALL) // 8, ctypes.addressof(program))
        )
        listener.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)


def admits(port: int) -> bool:
    """Whether a new connection to the loopback port is accepted."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def can_close() -> bool:
    """Whether this kernel closes ports so; tried on a port that is free."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        drop(listener)
        return not admits(listener.getsockname()[1])


def other_accounts() -> list[str]:
    """The accounts of this machine that a person can log in to, but for this one's and root's, by name."""
    return sorted(
        account.pw_name
        for account in pwd.getpwall()
        if FIRST_USER <= account.pw_uid < 2**16 - 2
        and account.pw_uid != os.getuid()
        and Path(account.pw_shell).name not in NO_LOGIN
    )


def _rows() -> list[_Row]:
    # A client may reach a port of IPv4 from a socket of IPv6, as gRPC does.
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    lines = [table.read_text(encoding="ascii").splitlines()[1:] for table in tables if table.exists()]
    fields = [line.split() for table in lines for line in table]
    return [_Row(_port(f[1]), _port(f[2]), f[3], owner=int(f[7]), inode=int(f[9])) for f in fields]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _own_sockets() -> dict[int, int]:
    """The descriptors of this process's sockets, by inode."""
    descriptors = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            kind, _, inode = str(entry.readlink()).partition(":[")
            if kind == "socket":
                descriptors[int(inode.rstrip("]"))] = int(entry.name)
    return descriptors


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
