"""A push server as a process of its own, which tests kill and start again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from pipelines.landing.zone import Landing
from pipelines.machine import ports
from pipelines.settings import PROJECT, Settings
from serving.door import access
from tests.serving.conftest import NOW

START_SECONDS = 90.0
PATH = "/v1/events/flights/movements"
EVENT: dict[str, Any] = {
    "flight_date": "2013-11-01", "carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "tailnum": "N14228",
    "movement": "departed", "moved_at": "2013-11-01T07:10:00Z", "delay": 5, "scheduled_duration_minutes": 254,
}  # fmt: skip


def event(event_id: str, **changes: Any) -> dict[str, Any]:
    return EVENT | {"event_id": event_id} | changes


@dataclass(slots=True)
class Server:
    """A home folder and the push server on it."""

    settings: Settings
    options: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """The folder of the push log."""
        return self.settings.root / "push" / "flights" / "movements"

    def start(self, until: str = "/healthz") -> httpx.Client:
        """Starts the server, and returns a client when the path `until` succeeds."""
        self.port = ports.free_port()
        command = [sys.executable, "-m", "pipelines", "push", "--port", str(self.port), *self.options]
        with (self.settings.root / "server.log").open("ab") as output:
            self.process = subprocess.Popen(command, cwd=PROJECT, env=self.environment, stdout=output, stderr=output)
        client = self.client()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if client.get(until).is_success:
                    return client
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError((self.settings.root / "server.log").read_text())

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands on this home folder."""
        own = {"GOLDPATH_HOME": str(self.settings.root), "GOLDPATH_CLOCK": NOW.isoformat()}
        return {name: value for name, value in os.environ.items() if not name.startswith("GOLDPATH_")} | own

    def goldpath(self, *arguments: str) -> str:
        """The output of a command on this home folder, which must succeed."""
        command = [sys.executable, "-m", "pipelines", *arguments]
        return subprocess.run(
            command, cwd=PROJECT, env=self.environment, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    def client(self) -> httpx.Client:
        """A client that has the token."""
        token = access.token(self.settings, access.PUSH).get_secret_value()
        headers = {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{self.port}"
        self.clients.append(httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False))
        return self.clients[-1]

    def end(self, how: signal.Signals) -> None:
        """Sends a signal, and returns when the server has ended."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(60)
        self.close()

    def close(self) -> None:
        """Closes the clients, and kills the server if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        while self.clients:
            self.clients.pop().close()

    def landed(self) -> list[dict[str, Any]]:
        """Every landed event, with the day of its delivery as `_dt`; compares each file with its manifest."""
        landing = Landing(self.settings.landing)
        events = []
        for delivery in landing.deliveries("flights", "movements"):
            manifest = landing.manifest(delivery)
            with landing.open(delivery) as stream:
                content = stream.read()
            assert manifest is not None
            assert (manifest.bytes, manifest.rows) == (len(content), content.count(b"\n"))
            assert manifest.sha256 == landing.checksum(delivery)
            events += [json.loads(line) | {"_dt": delivery.interval} for line in content.splitlines()]
        return events

    def landed_ids(self) -> list[str]:
        """The ids of all landed events, sorted."""
        return sorted(event["event_id"] for event in self.landed())
