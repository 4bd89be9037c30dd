"""The push server against a bare FastAPI endpoint that appends one line and syncs it for each request.

Both run as processes of their own with one worker; eight clients send one event a request, in alternating blocks. Ours
also authenticates, recognizes repeated events, checks the contract, and moves the online features before it
acknowledges.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from bench.pairs import Row, percentile
from pipelines.machine import ports
from pipelines.machine.child_process import ChildProcess
from pipelines.settings import PROJECT, Settings

BLOCKS, BLOCK, CLIENTS = 6, 400, 8
START_SECONDS = 120.0
AIRCRAFT = 500
BEGINNING = datetime(2013, 11, 1, 9, 20, tzinfo=UTC)
PATH = "/v1/events/flights/movements"
EVENT: dict[str, Any] = {
    "flight_date": "2013-11-01", "carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH",
    "movement": "departed", "delay": 5, "scheduled_duration_minutes": 254,
}  # fmt: skip
BARE = """
import os, sys
import uvicorn
from fastapi import FastAPI
app = FastAPI()
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
@app.post("/v1/events/flights/movements")
def push(event: dict):
    os.write(log, (str(event) + "\\n").encode())
    os.fsync(log)
    return {}
@app.get("/readyz")
def ready():
    return {}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
"""


def measure(settings: Settings) -> list[Row]:
    from assets.flights.features import ARRIVAL_DELAY_V1
    from feature_repo.freshness_log import log, summary
    from feature_repo.objects import feast_objects
    from feature_repo.state import DomainStore, State, new_generation
    from feature_repo.store import open_generation
    from serving.door import access

    settings.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.root) as folder:
        home = Path(folder)
        place, generation, now = DomainStore(Settings(home=home), "flights"), new_generation(), datetime.now(UTC)
        (place.folder / generation).mkdir(parents=True)
        open_generation(place, generation).apply(feast_objects([ARRIVAL_DELAY_V1], Settings(home=home)))
        place.save(State(generation, "", now, now, {}))
        token = access.token(Settings(home=home), access.PUSH).get_secret_value()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        bare = [sys.executable, "-c", BARE, str(home / "bare.log")]
        ours = [sys.executable, "-m", "pipelines", "push", "--port"]
        with _server(ours, home) as our_port, _server(bare, home) as bare_port:
            seconds = asyncio.run(_blocks({"ours": our_port, "bare": bare_port}, headers))
        found = summary(log(place))  # the server has ended, so all of its events are in the log
    rows, note = [], f"{CLIENTS} clients, {BLOCKS * BLOCK} events; each of ours moves a feature view in SQLite"
    rates = {name: BLOCKS * BLOCK / total for name, (total, _) in seconds.items()}
    rate = rates["ours"] / rates["bare"]
    rows.append(Row("push events/s", f"{rates['ours']:,.0f}", f"{rates['bare']:,.0f}", rate, note))
    for share in (0.50, 0.99):
        ours_ms, bare_ms = (1_000 * percentile(seconds[name][1], share) for name in ("ours", "bare"))
        row = Row(
            f"push acknowledged p{100 * share:.0f}", f"{ours_ms:.1f} ms", f"{bare_ms:.1f} ms", ours_ms / bare_ms, note
        )
        rows.append(row)
    assert found.p50 is not None
    assert found.p99 is not None
    online = f"{1_000 * found.p50:.1f}, {1_000 * found.p99:.1f} ms"
    rows.append(Row("pushed event durable to readable online p50, p99 (aim p99 200 ms)", online, "", None, note))
    return rows


async def _blocks(server_ports: dict[str, int], headers: dict[str, str]) -> dict[str, tuple[float, list[float]]]:
    """The seconds of all blocks but the first, and of each request in them, by server."""
    totals, latencies = dict.fromkeys(server_ports, 0.0), {name: list[float]() for name in server_ports}
    numbers = itertools.count()
    for block in range(BLOCKS + 1):
        for name, port in server_ports.items():
            url, seconds = f"http://{ports.LOOPBACK}:{port}{PATH}", list[float]()
            started = time.perf_counter()
            await asyncio.gather(*[_client(url, headers, numbers, seconds) for _ in range(CLIENTS)])
            if block:  # the first one warms up
                totals[name] += time.perf_counter() - started
                latencies[name] += seconds
    return {name: (totals[name], latencies[name]) for name in server_ports}


async def _client(url: str, headers: dict[str, str], numbers: Iterator[int], seconds: list[float]) -> None:
    async with httpx.AsyncClient(headers=headers, timeout=60, trust_env=False) as client:
        for _ in range(BLOCK // CLIENTS):
            number = next(numbers)
            moved_at = (BEGINNING + timedelta(seconds=number)).isoformat()
            own = {"event_id": str(number), "tailnum": f"N{number % AIRCRAFT}", "moved_at": moved_at}
            body = json.dumps(EVENT | own)
            started = time.perf_counter()
            (await client.post(url, content=body)).raise_for_status()
            seconds.append(time.perf_counter() - started)


@contextlib.contextmanager
def _server(command: list[str], home: Path) -> Iterator[int]:
    port = ports.free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("GOLDPATH_")}
    child = ChildProcess.start(
        "server", [*command, str(port)], log=home / f"{port}.log", env=env | {"GOLDPATH_HOME": str(home)}, cwd=PROJECT
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://{ports.LOOPBACK}:{port}/readyz", timeout=60, trust_env=False).is_success:
                    break
            time.sleep(0.2)
        yield port
    finally:
        child.stop()
