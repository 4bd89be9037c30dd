"""What the push server acknowledged lands once, whatever happens to the server."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.errors import SettingsError
from serving.door import access
from serving.push.log import PushLog
from tests.serving.push.server import EVENT, PATH, Server, event


def test_a_repeated_event_is_acknowledged_again_and_kept_once(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "3600")
    client = server.start()
    request: dict[str, Any] = {"json": [EVENT, event("x"), event("x")], "headers": {"Idempotency-Key": "retry"}}
    first = client.post(PATH, **request).json()["events"]
    assert [acknowledged["duplicate"] for acknowledged in first] == [False, False, True]
    again = client.post(PATH, **request).json()["events"]
    client.post(f"{PATH}:deliver").raise_for_status()
    server.end(signal.SIGKILL)
    client = server.start()
    after_restart = client.post(PATH, **request).json()["events"]
    for repeated in (again, after_restart):
        assert [acknowledged["duplicate"] for acknowledged in repeated] == [True] * 3
        positions = [acknowledged["position"] for acknowledged in repeated]
        assert positions == [acknowledged["position"] for acknowledged in first]
    changed = client.post(PATH, json=event("x", delay=6))
    assert (changed.status_code, changed.json()["type"]) == (409, "urn:goldpath:problem:id_taken")
    assert client.post(f"{PATH}:deliver").json()["landed"] == []
    assert server.landed_ids() == ["retry:0", "x"]


def _send_until_acknowledged(client: httpx.Client, server: Server, event_ids: list[str]) -> list[dict[str, Any]]:
    """Sends the same events again and again, as a sender does."""
    while True:
        try:
            url = f"http://127.0.0.1:{server.port}{PATH}"
            answer = client.post(url, json=[event(event_id) for event_id in event_ids])
            return answer.raise_for_status().json()["events"]
        except httpx.TransportError:
            time.sleep(0.2)


def test_eight_senders_lose_nothing_and_double_nothing_over_kills(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "0.3")
    server.start()
    sent: list[str] = []
    headers = {"Authorization": f"Bearer {access.token(server.settings, access.PUSH).get_secret_value()}"}
    positions: dict[str, int] = {}

    def send(sender: int) -> None:
        with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
            for number in range(40):
                event_ids = [f"{sender}-{number}-{part}" for part in range(5)]
                sent.extend(event_ids)
                for acknowledged in _send_until_acknowledged(client, server, event_ids):
                    positions[acknowledged["event_id"]] = acknowledged["position"]

    with ThreadPoolExecutor(8) as senders:
        futures = [senders.submit(send, sender) for sender in range(8)]
        for _ in range(2):
            before = len(positions)
            while len(positions) < before + 200 and not all(future.done() for future in futures):
                time.sleep(0.02)
            server.end(signal.SIGKILL)
            server.start()
        for future in futures:
            future.result()
    server.client().post(f"{PATH}:deliver").raise_for_status()
    assert server.landed_ids() == sorted(sent)
    assert len(sent) == 8 * 40 * 5
    assert sorted(positions.values()) == list(range(1, len(sent) + 1))


def test_a_torn_last_line_is_cut_off_and_the_log_goes_on(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "3600")
    client = server.start()
    client.post(PATH, json=[event("a"), event("b")]).raise_for_status()
    server.end(signal.SIGKILL)
    [segment] = server.log.glob("*.log")
    with segment.open("ab") as torn:
        torn.write(json.dumps(event("c")).encode()[:-10])
    client = server.start()
    answers = client.post(PATH, json=[event("b"), event("c")]).json()["events"]
    assert [(answer["position"], answer["duplicate"]) for answer in answers] == [(2, True), (3, False)]
    server.end(signal.SIGTERM)
    assert server.landed_ids() == ["a", "b", "c"]


def test_a_server_that_is_killed_between_landing_and_forgetting_lands_nothing_twice(
    make_server: Callable[..., Server],
) -> None:
    server = make_server("--segment-seconds", "3600")
    client = server.start()
    client.post(PATH, json=[event("a"), event("b", flight_date="2013-11-02")]).raise_for_status()
    [segment] = server.log.glob("*.log")
    content = segment.read_bytes()
    server.end(signal.SIGTERM)
    [id_file] = server.log.glob("*.ids")
    id_file.unlink()
    segment.write_bytes(content)  # the state of a server that was killed just before it forgot the segment
    client = server.start()
    assert len(client.post(f"{PATH}:deliver").json()["landed"]) in (0, 2)  # the server may have delivered by itself
    assert server.landed_ids() == ["a", "b"]
    assert client.post(PATH, json=event("c")).json()["events"][0]["position"] == 3


def test_a_lost_log_continues_after_the_landed_positions(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "3600")
    server.start().post(PATH, json=[event("a"), event("b")]).raise_for_status()
    server.end(signal.SIGTERM)
    for path in server.log.iterdir():
        path.unlink()
    client = server.start()
    assert client.post(PATH, json=event("c")).json()["events"][0]["position"] == 3
    server.end(signal.SIGTERM)
    assert server.landed_ids() == ["a", "b", "c"]


def test_an_open_log_is_refused_to_others_until_it_is_closed(tmp_path: Path) -> None:
    log = PushLog(tmp_path)
    log.append([json.dumps(event("a") | {"received_at": "2013-11-01"}).encode()])
    with pytest.raises(SettingsError, match="another process has it open: .*the push log"):
        PushLog(tmp_path)
    with ThreadPoolExecutor(1) as other_thread:
        other_thread.submit(log.close).result()
    reopened = PushLog(tmp_path)
    assert (reopened.last, list(reopened.events)) == (1, ["a"])
    reopened.close()


def test_waiting_bytes_are_known_while_the_file_of_a_segment_is_removed(tmp_path: Path) -> None:
    log = PushLog(tmp_path)
    line = json.dumps(event("a") | {"received_at": "2013-11-01"}).encode()
    log.append([line])
    assert log.waiting_bytes == len(line) + 1
    log.seal()
    log.sealed[0].path.unlink()
    assert log.waiting_bytes == len(line) + 1
    log.close()


def test_a_forgotten_segment_leaves_its_ids_and_nothing_else(tmp_path: Path) -> None:
    log = PushLog(tmp_path)
    log.append([json.dumps(event("a") | {"received_at": "2013-11-01"}).encode()])
    log.seal()
    log.forget(log.sealed[0])
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001-0000000000000001.ids", "lock"]
