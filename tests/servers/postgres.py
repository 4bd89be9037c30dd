"""PostgreSQL: a server with a password on a free loopback port, whose data is in a temporary folder."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection

from pipelines.machine.ports import LOOPBACK, free_port

USER = "shop"
BINARIES = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/pgsql-*/bin")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server.

    Attributes:
        port: Its loopback port.
        password: The password of USER.
        folder: The folder with its data and its log.
        account: The system user that runs it; None for the user of this process.
    """

    port: int
    password: str
    folder: Path
    account: str | None

    @property
    def address(self) -> str:
        return f"postgresql://{USER}:{self.password}@{LOOPBACK}:{self.port}/postgres"

    def execute(self, *statements: str) -> None:
        """Runs statements in one transaction."""
        with self.connected() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection with one transaction, which is committed at the end."""
        connection = psycopg2.connect(self.address)
        try:
            with connection:
                yield connection
        finally:
            connection.close()


@contextmanager
def running() -> Iterator[Postgres]:
    """Runs a server until the block ends."""
    account = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    password = secrets.token_urlsafe(12)
    try:
        (folder / "password").write_text(password, encoding="utf-8")
        if account:
            owner = pwd.getpwnam(account)
            for path in (folder, folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        data = folder / "data"
        _run(
            account, "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", "--pwfile", folder / "password",
            "-E", "UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        port = free_port()
        options = f"-c listen_addresses={LOOPBACK} -c port={port} -c unix_socket_directories= -c fsync=off"
        _run(account, "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start")
        try:
            yield Postgres(port, password, folder, account)
        finally:
            _run(account, "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def _run(account: str | None, program: str, *arguments: object) -> None:
    process = subprocess.run(
        [str(_binary(program)), *map(str, arguments)], user=account, cwd="/", stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, f"{program}: {process.stdout}"


def _binary(program: str) -> Path:
    """The newest installed program of that name, in PostgreSQL's folders by version, else on the PATH."""
    on_path = shutil.which(program)
    paths = [path for pattern in BINARIES for path in sorted(Path("/").glob(f"{pattern.lstrip('/')}/{program}"))]
    assert paths or on_path, f"{program} is not installed; install the package postgresql"
    return paths[-1] if paths else Path(str(on_path))
