"""A source that dies while it is read: what has landed is complete, and the run continues after it is back."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.governed.platform import Platform
from pipelines.machine import ports
from pipelines.medallion.decorators import bronze_asset
from pipelines.medallion.landing_assets import landing_asset
from pipelines.retrying import Backoff
from pipelines.settings import Settings
from pipelines.sources.rest import RestPages
from pipelines.sources.sql import SqlCursor
from tests.conftest import Materialize
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text
from tests.servers import postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_numbers = itertools.count()
ONCE = Backoff(attempts=1)
PAGES = 9
#: An API of nine pages of two records; it kills itself in the middle of the page that its second argument names.
API = """
import http.server, json, os, signal, sys, urllib.parse
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        page = int(dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query)).get("after", 0))
        rows = [{"id": 2 * page + n, "updated_at": f"2013-11-01T00:{page:02d}:0{n}Z"} for n in range(2)]
        body = json.dumps({"orders": rows, "next": page + 1 if page < 8 else None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if page == int(sys.argv[2]):
            self.wfile.write(body[:30])
            self.wfile.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@contextmanager
def restarted_api(port: int, pages: list[int]) -> Iterator[list[int]]:
    """The API, which kills itself at each of the pages and is started again; yields the exit codes of killed ones."""
    exit_codes: list[int] = []
    stopping = threading.Event()
    servers: list[subprocess.Popen[bytes]] = []

    def supervise() -> None:
        for page in [*pages, -1]:
            servers.append(subprocess.Popen([sys.executable, "-c", API, str(port), str(page)]))
            exit_code = servers[-1].wait()
            if stopping.is_set():
                return
            exit_codes.append(exit_code)

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    try:
        yield exit_codes
    finally:
        stopping.set()
        servers[-1].kill()
        supervisor.join()


def platform_with_source(engine: Engine, folder: Path, address: str) -> tuple[Platform, Contract]:
    """A platform that knows the source's address, and the contract of a new bronze table."""
    contract = toy_contracts.contract(
        folder, f"bronze/toys/lost_{next(_numbers)}", [text("id"), text("updated_at")], format="jsonl"
    )
    settings = Settings(home=folder / "home", profile="test", sources={"shop": SecretStr(address)})
    platform = Platform(settings, lambda: {contract.table: contract})
    platform.engine = engine
    return platform, contract


def ids(platform: Platform, contract: Contract) -> list[int]:
    return sorted(int(text) for text in platform.lakehouse.snapshot(contract.table).arrow()["id"].to_pylist())


def retries(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)


def test_an_api_that_dies_within_a_page_is_read_again_from_that_page(
    engine: Engine, tmp_path: Path, materialize: Materialize
) -> None:
    port = ports.free_port()
    platform, contract = platform_with_source(engine, tmp_path, f"http://127.0.0.1:{port}")
    paginator: dict[str, Any] = {"type": "cursor", "cursor_path": "next", "cursor_param": "after"}
    source = RestPages(
        "shop", "orders", paginator=paginator, records="orders", cursor_param="since", pages_per_file=1, backoff=ONCE
    )
    with restarted_api(port, [3, 6]) as exit_codes:
        result = materialize(platform, [landing_asset(contract, source), bronze_asset(contract)])
        assert exit_codes == [-signal.SIGKILL] * 2
    assert result.success
    assert retries(result) >= 2
    assert ids(platform, contract) == list(range(2 * PAGES))
    assert len(platform.landing.deliveries("toys", contract.table.table)) == PAGES


def test_a_database_that_crashes_within_a_table_is_read_again_after_the_rows_that_have_landed(
    engine: Engine, tmp_path: Path, materialize: Materialize
) -> None:
    """PostgreSQL restarts all its processes when one that serves a connection is killed, and recovers by itself."""
    rows, rows_per_file = 60_000, 500
    with postgres.running() as server:
        server.execute(
            "CREATE TABLE orders (id integer PRIMARY KEY, updated_at timestamptz NOT NULL)",
            "INSERT INTO orders SELECT n, timestamptz '2013-11-01' + n * interval '1 second' "
            f"FROM generate_series(1, {rows}) n",
        )
        platform, contract = platform_with_source(engine, tmp_path, server.address)
        deliveries_at_kill: list[int] = []

        def kill() -> None:
            while not (deliveries := platform.landing.deliveries("toys", contract.table.table)):
                time.sleep(0.001)
            deliveries_at_kill.append(len(deliveries))
            with server.connected() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'goldpath'")
                pids = [pid for (pid,) in cursor.fetchall()]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        source = SqlCursor("shop", "orders", lateness=timedelta(0), rows_per_file=rows_per_file, backoff=ONCE)
        result = materialize(platform, [landing_asset(contract, source), bronze_asset(contract)])
        killer.join(timeout=60)
    assert result.success
    assert retries(result) >= 1
    assert deliveries_at_kill[0] < rows // rows_per_file
    assert ids(platform, contract) == list(range(1, rows + 1))
