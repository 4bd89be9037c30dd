"""Push servers on homes of their own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from pipelines.settings import Settings
from tests.serving.conftest import NOW
from tests.serving.push.server import Server


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers with command line options, all on one home folder; they are ended with the test."""
    servers: list[Server] = []

    def make(*options: str) -> Server:
        servers.append(Server(Settings(home=tmp_path, profile="test", clock=NOW.isoformat()), list(options)))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, httpx.Client]]:
    """A running server for the tests of one module, and a client that has the token."""
    server = Server(Settings(home=tmp_path_factory.mktemp("home"), profile="test", clock=NOW.isoformat()))
    yield server, server.start()
    server.end(signal.SIGTERM)
