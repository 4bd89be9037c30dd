"""Dagster's daemon, code server and web pages as `dagster dev` starts them, with the pages on a Unix socket.

    python -m pipelines.orchestration.dagster_servers dev SOCKET OPTION…

Dagster's pages have no login; on a Unix socket in a folder of this account nobody else reaches them. Neither
`dagster dev` nor `dagster-webserver` has an option for one, so this program takes the place of both.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any


def dev(unix_socket: str) -> None:
    """Runs `dagster dev` with the options of the command line, and this program for its pages."""
    from dagster._cli import dev, main

    start = dev.open_ipc_subprocess

    def start_here(command: Sequence[str], **options: Any) -> Any:
        if "dagster_webserver" in command:
            place = command.index("dagster_webserver")
            command = [
                *command[:place],
                "pipelines.orchestration.dagster_servers",
                "pages",
                unix_socket,
                *command[place + 1 :],
            ]
        return start(command, **options)

    dev.open_ipc_subprocess = start_here  # ty: ignore[invalid-assignment]
    sys.argv[:] = ["dagster", "dev", *sys.argv[3:]]
    main()


def pages(unix_socket: str) -> None:
    """Runs `dagster-webserver` with the options of the command line, on the socket in place of a port."""
    from dagster_webserver import cli

    cli.uvicorn.run = functools.partial(cli.uvicorn.run, uds=unix_socket)
    sys.argv[:] = ["dagster-webserver", *sys.argv[3:]]
    cli.main()


if __name__ == "__main__":
    {"dev": dev, "pages": pages}[sys.argv[1]](sys.argv[2])
