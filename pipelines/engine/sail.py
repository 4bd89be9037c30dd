"""Sail, a Spark Connect server in Rust that runs inside this process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pipelines.machine import environment

LOOPBACK = "127.0.0.1"

#: Sail ends a session that was idle for this long, by default 15 minutes; each later query fails: "is not running".
SESSION_TIMEOUT_SECONDS = 365 * 24 * 3600


class SailServer:
    """A running server on a free loopback port. Every process that can open the port can use it: Sail has no token."""

    def __init__(self, server: Any) -> None:
        self._server = server
        _, port = server.listening_address
        self.remote = f"sc://{LOOPBACK}:{port}"

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

    def stop(self) -> None:
        """Stops the server."""
        self._server.stop()
