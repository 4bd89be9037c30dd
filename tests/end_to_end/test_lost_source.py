"""A source that dies in mid-page or mid-table: what landed is whole, and the run goes on behind it when it is back."""

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
#: An API of nine pages of two records; it kills itself in the middle of the page that it is told.
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
def api(port: int, deaths: list[int]) -> Iterator[list[int]]:
    """The API under somebody's care who starts it again each time; gives the exit codes of those that died."""
    ended: list[int] = []
    over = threading.Event()
    servers: list[subprocess.Popen[bytes]] = []

    def care() -> None:
        for dies_at in [*deaths, -1]:
            servers.append(subprocess.Popen([sys.executable, "-c", API, str(port), str(dies_at)]))
            code = servers[-1].wait()
            if over.is_set():
                return
            ended.append(code)

    carer = threading.Thread(target=care)
    carer.start()
    try:
        yield ended
    finally:
        over.set()
        servers[-1].kill()
        carer.join()


def made(engine: Engine, folder: Path, address: str) -> tuple[Platform, Contract]:
    """A platform that reaches the source, and the contract of a table of its own."""
    contract = toy_contracts.contract(
        folder, f"bronze/toys/lost_{next(_numbers)}", [text("id"), text("updated_at")], format="jsonl"
    )
    settings = Settings(home=folder / "home", profile="test", sources={"shop": SecretStr(address)})
    platform = Platform(settings, lambda: {contract.table: contract})
    platform.engine = engine
    return platform, contract


def ids(platform: Platform, contract: Contract) -> list[int]:
    house = platform.lakehouse
    return sorted(int(text) for text in house.snapshot(contract.table).arrow()["id"].to_pylist())


def retries(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)


def test_an_api_that_dies_in_mid_page_is_read_on_from_that_page(
    engine: Engine, tmp_path: Path, materialize: Materialize
) -> None:
    port = ports.free_port()
    platform, contract = made(engine, tmp_path, f"http://127.0.0.1:{port}")
    paginator: dict[str, Any] = {"type": "cursor", "cursor_path": "next", "cursor_param": "after"}
    source = RestPages(
        "shop", "orders", paginator=paginator, records="orders", cursor_param="since", pages_per_file=1, backoff=ONCE
    )
    with api(port, [3, 6]) as ended:
        result = materialize(platform, [landing_asset(contract, source), bronze_asset(contract)])
        assert ended == [-signal.SIGKILL] * 2
    assert result.success
    assert retries(result) >= 2
    assert ids(platform, contract) == list(range(2 * PAGES))
    assert len(platform.landing.deliveries("toys", contract.table.table)) == PAGES


def test_a_database_that_crashes_in_mid_table_is_read_on_behind_what_landed(
    engine: Engine, tmp_path: Path, materialize: Materialize
) -> None:
    """A backend that is killed takes the whole server down, which recovers by itself."""
    rows, per_file = 60_000, 500
    with postgres.running() as server:
        server.execute(
            "CREATE TABLE orders (id integer PRIMARY KEY, updated_at timestamptz NOT NULL)",
            "INSERT INTO orders SELECT n, timestamptz '2013-11-01' + n * interval '1 second' "
            f"FROM generate_series(1, {rows}) n",
        )
        platform, contract = made(engine, tmp_path, server.address)
        landed: list[int] = []

        def kill() -> None:
            while not (found := platform.landing.deliveries("toys", contract.table.table)):
                time.sleep(0.001)
            landed.append(len(found))
            with server.connected() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'goldpath'")
                pids = [pid for (pid,) in cursor.fetchall()]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        source = SqlCursor("shop", "orders", lateness=timedelta(0), rows_per_file=per_file, backoff=ONCE)
        result = materialize(platform, [landing_asset(contract, source), bronze_asset(contract)])
        killer.join(timeout=60)
    assert result.success
    assert retries(result) >= 1
    assert landed[0] < rows // per_file
    assert ids(platform, contract) == list(range(1, rows + 1))
