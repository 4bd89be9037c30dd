"""Pushed events move online features before they are acknowledged."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from assets.flights.features import ARRIVAL_DELAY_V1
from serving.predict.features import OnlineFeatures
from tests.serving.conftest import ENTITIES, NOW, Fill
from tests.serving.push.server import PATH, START_SECONDS, Server, event


def test_a_read_after_the_acknowledgement_sees_the_moved_features(
    make_server: Callable[..., Server], fill: Fill
) -> None:
    server = make_server("--segment-seconds", "3600")
    fill(server.settings, NOW)
    client = server.start(until="/readyz")
    features = OnlineFeatures(server.settings, ARRIVAL_DELAY_V1)

    def last_delay() -> tuple[Any, str]:
        feature = features.read([ENTITIES])[0].features["aircraft_history__last_dep_delay"]
        return feature.value, feature.timestamp

    def push(event_id: str, **changes: Any) -> dict[str, Any]:
        return client.post(PATH, json=event(event_id, **changes)).raise_for_status().json()["events"][0]

    before = last_delay()
    assert push("1", delay=500)["online"] == "moved"
    assert last_delay() == (180.0, "2013-11-01T07:10:00+00:00") != before
    assert push("1", delay=500)["online"] == "unchanged"
    assert push("older", delay=7, moved_at="2013-11-01T07:05:00Z")["online"] == "unchanged"
    assert push("ahead", delay=8, moved_at="2013-11-01T07:15:01Z")["online"] == "ahead"
    invalid = push("bad", delay=5_000, moved_at="2013-11-01T07:12:00Z")
    assert (invalid["online"], invalid["broken"][0]["rule"]) == ("broken", "delay_range")
    assert last_delay() == (180.0, "2013-11-01T07:10:00+00:00")
    other = push("new", tailnum="N99999", movement="arrived")
    assert other["online"] == "moved"
    read = features.read([ENTITIES | {"tailnum": "N99999"}])[0].features
    assert read["aircraft_history__last_arr_delay"].value == 5.0
    assert read["aircraft_history__last_dep_delay"].value is None
    server.end(signal.SIGTERM)
    assert len(server.landed_ids()) == 5
    shown = server.goldpath("features", "freshness", "flights", "--json")
    [pushed] = [facts for facts in json.loads(shown) if facts["counted"] == "events"]
    assert (pushed["view"], pushed["count"]) == ("flights.aircraft_history", 2)
    assert 0 < pushed["p50_seconds"] <= pushed["p99_seconds"] == pushed["worst_seconds"]
    assert pushed["in_time"] == (pushed["p99_seconds"] <= pushed["limit_seconds"])


def test_events_that_a_killed_server_had_not_applied_are_applied_at_its_next_start(
    make_server: Callable[..., Server], fill: Fill
) -> None:
    server = make_server("--segment-seconds", "3600")
    client = server.start(until="/readyz")
    [acknowledged] = client.post(PATH, json=event("1")).json()["events"]
    assert acknowledged["online"] == "unavailable"  # the store was not filled yet
    server.end(signal.SIGKILL)
    fill(server.settings, NOW)
    server.start()
    features = OnlineFeatures(server.settings, ARRIVAL_DELAY_V1)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if features.read([ENTITIES])[0].features["aircraft_history__last_dep_delay"].value == 5.0:
            return
        time.sleep(0.2)
    pytest.fail("the features did not move")
