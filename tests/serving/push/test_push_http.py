"""What the push server takes, acknowledges and refuses."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.serving.push.server import EVENT, PATH, Server, event


def _code(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()["type"].removeprefix("urn:goldpath:problem:")


def test_an_event_is_acknowledged_and_landed_on_the_day_that_it_declares(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "3600")
    client = server.start()
    answer = client.post(PATH, json=EVENT, headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 202
    [acknowledged] = answer.json()["events"]
    assert (acknowledged["event_id"], acknowledged["position"], acknowledged["duplicate"]) == ("k1:0", 1, False)
    client.post(PATH, json=[event("a"), event("b", flight_date="2013-11-02"), event("c", flight_date="someday")])
    lines = "\n".join(json.dumps(event(event_id)) for event_id in "de")
    client.post(PATH, content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert server.landed() == []
    delivered = client.post(f"{PATH}:deliver").json()
    assert (delivered["position"], delivered["waiting_bytes"]) == (6, 0)
    landed = {landed["event_id"]: landed for landed in server.landed()}
    assert sorted(landed) == sorted(["k1:0", *"abcde"])
    assert (landed["a"]["_dt"], landed["b"]["_dt"]) == ("2013-11-01", "2013-11-02")
    assert landed["c"]["_dt"] == landed["c"]["received_at"][:10]
    assert EVENT.items() <= landed["k1:0"].items()


def test_old_segments_land_by_themselves_and_the_rest_when_the_server_ends(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "0.2")
    client = server.start()
    client.post(PATH, json=event("a")).raise_for_status()
    deadline = time.monotonic() + 30
    while not server.landed() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.landed_ids() == ["a"]
    client.post(PATH, json=event("b")).raise_for_status()
    server.end(signal.SIGTERM)
    assert server.landed_ids() == ["a", "b"]
    assert list(server.log.glob("*.log")) == []


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ([EVENT, 3], 400, "bad_event", "event 1"),
        ([EVENT, EVENT | {"event_id": ""}], 400, "bad_event", "event 1, event_id"),
        ([EVENT | {"received_at": "now"}], 400, "bad_event", "event 0, received_at"),
        ([], 400, "bad_event", "body"),
        ("{", 400, "bad_event", "body"),
        ('{"delay": NaN}', 400, "bad_event", "body"),
        ('{"delay": 1, "delay": 2}', 400, "bad_event", "body"),
        ('{"delay": 1e999}', 400, "bad_event", "body"),
        ('{"price": 12345678901234567.89}', 400, "bad_event", "body"),
        ('[{"parts": [{"price": 0.12345678901234567890}]}]', 400, "bad_event", "body"),
        ("[" * 100_000, 400, "bad_event", "body"),
        ([EVENT] * 1_001, 413, "too_many_events", "body"),
        ([EVENT | {"remark": "x" * 2**20}], 413, "body_too_large", "body"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_refusal_names_the_place_and_no_event_of_the_request_is_taken(
    shared: tuple[Server, httpx.Client], body: Any, status: int, code: str, field: str
) -> None:
    client = shared[1]
    before = client.get(PATH).json()["position"]
    answer = client.post(PATH, content=body) if isinstance(body, str) else client.post(PATH, json=body)
    assert (answer.status_code, _code(answer), answer.json()["field"]) == (status, code, field)
    assert client.get(PATH).json()["position"] == before


def test_the_place_of_an_invalid_line_is_named(shared: tuple[Server, httpx.Client]) -> None:
    content = json.dumps(EVENT) + "\n\n" + json.dumps(EVENT) + "\n{oops\n"
    answer = shared[1].post(PATH, content=content, headers={"Content-Type": "application/x-ndjson"})
    assert (answer.status_code, answer.json()["field"]) == (400, "event 2")


def test_events_without_the_token_are_refused(shared: tuple[Server, httpx.Client]) -> None:
    client = shared[1]
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer none"}):
        answer = client.post(PATH, json=EVENT, headers=headers)
        assert (answer.status_code, _code(answer)) == (401, "unauthorized")


def test_events_for_undeclared_sources_are_refused(shared: tuple[Server, httpx.Client]) -> None:
    client = shared[1]
    answer = client.post("/v1/events/flights/flights", json=EVENT)
    assert (answer.status_code, _code(answer)) == (404, "unknown_source")
    for path in ("/v1/events/flights/..", "/v1/events/elsewhere/movements"):
        assert client.post(path, json=EVENT).status_code == 404


def test_senders_wait_while_landing_takes_nothing_and_go_on_when_it_does(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "0.2", "--waiting-mb", "0.01")
    client = server.start()
    server.settings.landing.write_text("no folder")
    sent = 0
    while (answer := client.post(PATH, json=event(f"e{sent}", remark="x" * 1_000))).status_code == 202:
        sent += 1
        assert sent < 20
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "have not landed" in answer.json()["observed"]
    assert client.post(PATH, json=event("e0", remark="x" * 1_000)).status_code == 202  # it is in the log already
    server.settings.landing.unlink()
    client.post(f"{PATH}:deliver").raise_for_status()
    client.post(PATH, json=event("last")).raise_for_status()
    server.end(signal.SIGTERM)
    assert server.landed_ids() == sorted([*(f"e{n}" for n in range(sent)), "last"])


def test_a_second_server_on_the_same_home_does_not_start(make_server: Callable[..., Server]) -> None:
    first, second = make_server(), make_server()
    first.start()
    with pytest.raises(AssertionError, match="another process has it open"):
        second.start()
