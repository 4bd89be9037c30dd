"""The events of runs reach an OpenLineage endpoint in order, also those of runs while it was away."""

from __future__ import annotations

import http.server
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.lineage import outbox
from pipelines.lineage.events import LineageLog, RunIdentity
from pipelines.machine import ports
from pipelines.settings import Settings


@contextmanager
def endpoint(port: int, statuses: list[int]) -> Iterator[list[dict[str, Any]]]:
    """An endpoint on a port; it answers with the statuses, then with 201. Yields what it has accepted."""
    accepted: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = statuses.pop(0) if statuses else 201
            if status == 201:
                accepted.append({"path": self.path, "key": self.headers["Authorization"], **event})
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer((ports.LOOPBACK, port), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield accepted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def port() -> int:
    return ports.free_port()


def log_of(home: Path, port: int) -> LineageLog:
    """The lineage log as a new process opens it."""
    return LineageLog(Settings(home=home, lineage_url=f"http://{ports.LOOPBACK}:{port}", lineage_api_key="k"))


def run(log: LineageLog, asset: str) -> None:
    identity = RunIdentity(asset, str(uuid.uuid4()), 0, {}, "team")
    log.start(identity, [])
    log.complete(identity, [], [])


def names(events: list[dict[str, Any]]) -> list[str]:
    return [f"{event['eventType']} {event['job']['name']}" for event in events]


def test_events_while_the_endpoint_was_away_are_sent_before_the_next(tmp_path: Path, port: int) -> None:
    run(LineageLog(Settings(home=tmp_path)), "a")  # before an endpoint was set
    away = log_of(tmp_path, port)
    run(away, "b")
    assert away.outbox
    assert away.outbox.problem
    assert away.outbox.backlog() == 2
    with endpoint(port, []) as accepted:
        back = log_of(tmp_path, port)
        run(back, "c")
    assert names(accepted) == ["START b", "COMPLETE b", "START c", "COMPLETE c"]
    assert {(event["path"], event["key"]) for event in accepted} == {("/api/v1/lineage", "Bearer k")}
    assert back.outbox
    assert back.outbox.backlog() == 0


def test_an_endpoint_that_fails_gets_the_same_event_again(tmp_path: Path, port: int) -> None:
    with endpoint(port, [503]) as accepted:
        run(log_of(tmp_path, port), "a")
        run(log_of(tmp_path, port), "b")
    assert names(accepted) == ["START a", "COMPLETE a", "START b", "COMPLETE b"]


def test_an_event_that_is_refused_for_good_stops_no_other_and_is_counted(tmp_path: Path, port: int) -> None:
    with endpoint(port, [422]) as accepted:
        log = log_of(tmp_path, port)
        run(log, "a")
    assert names(accepted) == ["COMPLETE a"]
    assert log.outbox
    assert (log.outbox.refused(), log.outbox.backlog()) == (1, 0)


def test_a_failed_delivery_is_not_tried_again_at_once(tmp_path: Path, port: int) -> None:
    log = log_of(tmp_path, port)
    run(log, "a")
    with endpoint(port, []) as accepted:
        run(log, "b")
    assert accepted == []
    assert outbox.PAUSE_SECONDS > outbox.DELIVERY_SECONDS
