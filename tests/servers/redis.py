"""Redis, from Debian's package, with a password."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.machine.child_process import ChildProcess
from pipelines.machine.ports import LOOPBACK, free_port
from tests.servers import listening, missing


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server."""

    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    @property
    def feast(self) -> str:
        """The connection string for Feast's online store."""
        return f"{LOOPBACK}:{self.port},password={self.password}"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[RedisServer]:
    """Runs a server that keeps all data in memory until the block ends."""
    program = shutil.which("redis-server")
    if program is None:
        raise missing("Redis", "redis-server on the PATH")
    server = RedisServer(free_port(), secrets.token_hex(12))
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "redis.conf"
    configuration.write_text(
        f'bind {LOOPBACK}\nport {server.port}\nrequirepass {server.password}\nsave ""\nappendonly no\ndir "{folder}"\n',
        encoding="utf-8",
    )
    child = ChildProcess.start("Redis", [program, str(configuration)], log=folder / "redis.log")
    try:
        listening(child, server.port)
        yield server
    finally:
        child.stop()
