"""Sail, a Spark Connect server in Rust that runs inside this process.

It listens on a loopback port and has no login: whoever connects computes, reads and writes as this process. So the
port is closed as soon as this process's client has connected (`closed_port`), and that one connection is kept open.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import EngineError
from pipelines.machine import closed_port, environment
from pipelines.machine.ports import LOOPBACK

#: Sail ends a session that was idle for this long, by default 15 minutes; each later query fails: "is not running".
SESSION_TIMEOUT_SECONDS = 365 * 24 * 3600


class SailServer:
    """A running server on a free loopback port, which serves whoever connects until `close_port`."""

    def __init__(self, server: Any) -> None:
        self._server = server
        _, self._port = server.listening_address
        self.remote = f"sc://{LOOPBACK}:{self._port}"

    @classmethod
    def start(cls, *, home: Path, threads: int) -> SailServer:
        """Starts the server.

        Args:
            home: Goldpath's home folder; sorts and joins that do not fit into memory spill to `sail/` in it.
            threads: Number of worker threads, and of shuffle partitions.
        """
        spill = home / "sail"
        spill.mkdir(parents=True, exist_ok=True)
        variables = {
            "TOKIO_WORKER_THREADS": str(threads),
            "SAIL_EXECUTION__DEFAULT_PARALLELISM": str(threads),
            "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(SESSION_TIMEOUT_SECONDS),
            # For a table of many small files, one task per column of each file costs more than it saves.
            "SAIL_PARQUET__ALLOW_SINGLE_FILE_PARALLELISM": "false",
            "SAIL_RUNTIME__TEMPORARY_FILES__PATHS": json.dumps([str(spill)]),
            "RUST_LOG": os.environ.get("RUST_LOG", "error"),
        }
        with environment.during(variables):
            from pysail.spark import SparkConnectServer

            server = SparkConnectServer(LOOPBACK, 0)
            server.start(background=True)
        return cls(server)

    def close_port(self, *, if_it_stays_open: Literal["refuse", "allow"]) -> None:
        """Lets nobody connect any more; the connections of this process stay.

        Args:
            if_it_stays_open: Whether to go on where the kernel cannot close a port and the machine has other accounts.

        Raises:
            EngineError: if another process was connected already, or the port stays open and that is refused.
        """
        closed_port.close(self._port)
        others = closed_port.other_accounts() if if_it_stays_open == "refuse" else []
        if others and closed_port.admits(self._port):
            raise EngineError(
                object=f"port {self._port} of the embedded engine",
                observed=f"this kernel cannot close it to the other accounts of this machine ({', '.join(others)})",
                expected="a kernel that takes socket filters, or a machine without other accounts",
                next_step="run it in a container or a machine of your own; GOLDPATH_ENGINE_PORT=allow computes all the "
                "same, and every account can then read and write what you can",
            )

    def stop(self) -> None:
        """Stops the server."""
        self._server.stop()
