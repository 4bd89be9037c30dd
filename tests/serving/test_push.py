"""The push server as a process of its own: what it acknowledged is there, whatever happens to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.landing.zone import Landing
from pipelines.machine import ports
from pipelines.settings import PROJECT, Settings
from serving import access
from serving.features import OnlineFeatures
from tests.serving.conftest import ENTITIES, NOW, Fill

START_SECONDS = 90.0
PATH = "/v1/events/flights/movements"
EVENT: dict[str, Any] = {
    "flight_date": "2013-11-01", "carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "tailnum": "N14228",
    "movement": "departed", "moved_at": "2013-11-01T07:10:00Z", "delay": 5, "scheduled_duration_minutes": 254,
}  # fmt: skip


@dataclass(slots=True)
class Server:
    """A home folder and the push server on it, which can be killed and started again."""

    settings: Settings
    options: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.settings.root / "push" / "flights" / "movements"

    def start(self, until: str = "/healthz") -> httpx.Client:
        self.port = ports.free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GOLDPATH_")}
        kept |= {"GOLDPATH_HOME": str(self.settings.root), "GOLDPATH_CLOCK": NOW.isoformat()}
        command = [sys.executable, "-m", "pipelines", "push", "--port", str(self.port), *self.options]
        with (self.settings.root / "server.log").open("ab") as output:
            self.process = subprocess.Popen(command, cwd=PROJECT, env=kept, stdout=output, stderr=output)
        client = self.client()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if client.get(until).is_success:
                    return client
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError((self.settings.root / "server.log").read_text())

    def client(self) -> httpx.Client:
        token = access.token(self.settings).get_secret_value()
        headers = {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{self.port}"
        self.clients.append(httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False))
        return self.clients[-1]

    def end(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(60)
        self.close()

    def close(self) -> None:
        while self.clients:
            self.clients.pop().close()

    def landed(self) -> list[dict[str, Any]]:
        """Every landed event."""
        landing = Landing(self.settings.landing)
        found = []
        for delivery in landing.deliveries("flights", "movements"):
            manifest = landing.manifest(delivery)
            with landing.open(delivery) as stream:
                content = stream.read()
            assert manifest is not None
            assert (manifest.bytes, manifest.rows) == (len(content), content.count(b"\n"))
            assert manifest.sha256 == landing.checksum(delivery)
            found += [json.loads(line) | {"_dt": delivery.interval} for line in content.splitlines()]
        return found


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(*options: str) -> Server:
        made.append(Server(Settings(home=tmp_path, profile="test", clock=NOW.isoformat()), list(options)))
        return made[-1]

    yield make
    for server in made:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait(60)
        server.close()


def ids(server: Server) -> list[str]:
    return [event["event_id"] for event in server.landed()]


def event(name: str, **change: Any) -> dict[str, Any]:
    return EVENT | {"event_id": name} | change


def test_an_event_is_acknowledged_and_landed_on_the_day_that_it_declares(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "3600")
    client = server.start()
    answer = client.post(PATH, json=EVENT, headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 202
    [told] = answer.json()["events"]
    assert (told["event_id"], told["position"], told["duplicate"]) == ("k1:0", 1, False)
    client.post(PATH, json=[event("a"), event("b", flight_date="2013-11-02"), event("c", flight_date="someday")])
    lines = "\n".join(json.dumps(event(name)) for name in "de")
    client.post(PATH, content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert server.landed() == []
    done = client.post(f"{PATH}:deliver").json()
    assert (done["position"], done["waiting_bytes"]) == (6, 0)
    assert sorted(ids(server)) == sorted(["k1:0", *"abcde"])
    days = {found["event_id"]: found["_dt"] for found in server.landed()}
    assert (days["a"], days["b"]) == ("2013-11-01", "2013-11-02")
    assert days["c"] == next(e for e in server.landed() if e["event_id"] == "c")["received_at"][:10]
    assert EVENT.items() <= server.landed()[0].items()


def test_old_segments_land_by_themselves_and_the_rest_when_it_ends(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "0.2")
    client = server.start()
    client.post(PATH, json=event("a")).raise_for_status()
    deadline = time.monotonic() + 30
    while not server.landed() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ids(server) == ["a"]
    client.post(PATH, json=event("b")).raise_for_status()
    server.end(signal.SIGTERM)
    assert sorted(ids(server)) == ["a", "b"]
    assert list(server.log.glob("*.log")) == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ([EVENT, 3], 400, "event 1"),
        ([EVENT, EVENT | {"event_id": ""}], 400, "event 1, event_id"),
        ([EVENT | {"received_at": "now"}], 400, "event 0, received_at"),
        ([], 400, "body"),
        ("{", 400, "body"),
        ('{"delay": NaN}', 400, "body"),
        ('{"delay": 1e999}', 400, "body"),
        ("[" * 100_000, 400, "body"),
        ([EVENT] * 1_001, 413, "body"),
        ([EVENT | {"remark": "x" * 2**20}], 413, "body"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_refused_says_where_and_nothing_of_it_is_taken(
    shared: tuple[Server, httpx.Client], body: Any, status: int, field: str
) -> None:
    client = shared[1]
    before = client.get(PATH).json()["position"]
    answer = client.post(PATH, content=body) if isinstance(body, str) else client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert client.get(PATH).json()["position"] == before


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, httpx.Client]]:
    server = Server(Settings(home=tmp_path_factory.mktemp("home"), profile="test", clock=NOW.isoformat()))
    yield server, server.start()
    server.end(signal.SIGTERM)


def test_the_place_of_a_bad_line_is_named(shared: tuple[Server, httpx.Client]) -> None:
    content = json.dumps(EVENT) + "\n\n" + json.dumps(EVENT) + "\n{oops\n"
    answer = shared[1].post(PATH, content=content, headers={"Content-Type": "application/x-ndjson"})
    assert (answer.status_code, answer.json()["field"]) == (400, "event 2")


def test_only_who_has_the_token_may_push(shared: tuple[Server, httpx.Client]) -> None:
    client = shared[1]
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer none"}):
        answer = client.post(PATH, json=EVENT, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


def test_only_declared_sources_are_taken(shared: tuple[Server, httpx.Client]) -> None:
    client = shared[1]
    for path in ("/v1/events/flights/flights", "/v1/events/flights/..", "/v1/events/elsewhere/movements"):
        assert client.post(path, json=EVENT).status_code == 404


def test_an_event_that_comes_again_is_acknowledged_again_and_kept_once(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "3600")
    client = server.start()
    sent: dict[str, Any] = {"json": [EVENT, event("x"), event("x")], "headers": {"Idempotency-Key": "retry"}}
    first = client.post(PATH, **sent).json()["events"]
    assert [told["duplicate"] for told in first] == [False, False, True]
    again = client.post(PATH, **sent).json()["events"]
    client.post(f"{PATH}:deliver").raise_for_status()
    server.end(signal.SIGKILL)
    client = server.start()
    after = client.post(PATH, **sent).json()["events"]
    for told in (again, after):
        assert [each["duplicate"] for each in told] == [True] * 3
        assert [each["position"] for each in told] == [each["position"] for each in first]
    changed = client.post(PATH, json=event("x", delay=6))
    assert (changed.status_code, changed.json()["error"]) == (409, "id_taken")
    assert client.post(f"{PATH}:deliver").json()["landed"] == []
    assert sorted(ids(server)) == ["retry:0", "x"]


def _until_acknowledged(client: httpx.Client, server: Server, names: list[str]) -> list[dict[str, Any]]:
    """As a sender does: the same events, again and again."""
    while True:
        try:
            answer = client.post(f"http://127.0.0.1:{server.port}{PATH}", json=[event(name) for name in names])
            return answer.raise_for_status().json()["events"]
        except httpx.TransportError:
            time.sleep(0.2)


def test_eight_senders_lose_nothing_and_double_nothing_over_kills(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "0.3")
    server.start()
    acknowledged: list[str] = []
    headers = {"Authorization": f"Bearer {access.token(server.settings).get_secret_value()}"}
    positions: dict[str, int] = {}

    def send(sender: int) -> None:
        with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
            for number in range(40):
                names = [f"{sender}-{number}-{part}" for part in range(5)]
                acknowledged.extend(names)
                for told in _until_acknowledged(client, server, names):
                    positions[told["event_id"]] = told["position"]

    with ThreadPoolExecutor(8) as senders:
        work = [senders.submit(send, sender) for sender in range(8)]
        for _ in range(2):
            before = len(positions)
            while len(positions) < before + 200 and not all(each.done() for each in work):
                time.sleep(0.02)
            server.end(signal.SIGKILL)
            server.start()
        for each in work:
            each.result()
    server.client().post(f"{PATH}:deliver").raise_for_status()
    assert sorted(ids(server)) == sorted(acknowledged)
    assert len(acknowledged) == 8 * 40 * 5
    assert sorted(positions.values()) == list(range(1, len(acknowledged) + 1))


def test_a_torn_last_line_is_cut_off_and_the_log_goes_on(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "3600")
    client = server.start()
    client.post(PATH, json=[event("a"), event("b")]).raise_for_status()
    server.end(signal.SIGKILL)
    [segment] = server.log.glob("*.log")
    with segment.open("ab") as torn:
        torn.write(json.dumps(event("c")).encode()[:-10])
    client = server.start()
    told = client.post(PATH, json=[event("b"), event("c")]).json()["events"]
    assert [(each["position"], each["duplicate"]) for each in told] == [(2, True), (3, False)]
    server.end(signal.SIGTERM)
    assert sorted(ids(server)) == ["a", "b", "c"]


def test_killed_between_landing_and_forgetting_lands_nothing_twice(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "3600")
    client = server.start()
    client.post(PATH, json=[event("a"), event("b", flight_date="2013-11-02")]).raise_for_status()
    [segment] = server.log.glob("*.log")
    content = segment.read_bytes()
    server.end(signal.SIGTERM)
    [forgotten] = server.log.glob("*.ids")
    forgotten.unlink()
    segment.write_bytes(content)  # as if it was killed just before it was forgotten
    client = server.start()
    assert len(client.post(f"{PATH}:deliver").json()["landed"]) in (0, 2)  # it may have been done already
    assert sorted(ids(server)) == ["a", "b"]
    assert client.post(PATH, json=event("c")).json()["events"][0]["position"] == 3


def test_a_log_that_was_lost_goes_on_behind_what_has_landed(make_server: Callable[..., Server]) -> None:
    server = make_server("--segment-seconds", "3600")
    server.start().post(PATH, json=[event("a"), event("b")]).raise_for_status()
    server.end(signal.SIGTERM)
    for path in server.log.iterdir():
        path.unlink()
    client = server.start()
    assert client.post(PATH, json=event("c")).json()["events"][0]["position"] == 3
    server.end(signal.SIGTERM)
    assert sorted(ids(server)) == ["a", "b", "c"]


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
    assert sorted(ids(server)) == sorted([*(f"e{n}" for n in range(sent)), "last"])


def test_a_second_server_on_the_same_home_does_not_start(make_server: Callable[..., Server]) -> None:
    first, second = make_server(), make_server()
    first.start()
    with pytest.raises(AssertionError, match="another process has it open"):
        second.start()


def test_a_read_after_the_acknowledgement_sees_the_moved_features(
    make_server: Callable[..., Server], fill: Fill
) -> None:
    server = make_server("--segment-seconds", "3600")
    fill(server.settings, NOW)
    client = server.start(until="/readyz")
    features = OnlineFeatures(server.settings, "arrival_delay_v1")

    def known() -> tuple[Any, str]:
        found = features.read([ENTITIES])[0].found["aircraft_history__last_dep_delay"]
        return found.value, found.timestamp

    def push(name: str, **change: Any) -> dict[str, Any]:
        return client.post(PATH, json=event(name, **change)).raise_for_status().json()["events"][0]

    before = known()
    assert push("1", delay=500)["online"] == "moved"
    assert known() == (180.0, "2013-11-01T07:10:00+00:00") != before
    assert push("1", delay=500)["online"] == "unchanged"
    assert push("older", delay=7, moved_at="2013-11-01T07:05:00Z")["online"] == "unchanged"
    assert push("ahead", delay=8, moved_at="2013-11-01T07:15:01Z")["online"] == "ahead"
    told = push("bad", delay=5_000, moved_at="2013-11-01T07:12:00Z")
    assert (told["online"], told["broken"][0]["rule"]) == ("broken", "delay_range")
    assert known() == (180.0, "2013-11-01T07:10:00+00:00")
    other = push("new", tailnum="N99999", movement="arrived")
    assert other["online"] == "moved"
    read = features.read([ENTITIES | {"tailnum": "N99999"}])[0].found
    assert read["aircraft_history__last_arr_delay"].value == 5.0
    assert read["aircraft_history__last_dep_delay"].value is None
    server.end(signal.SIGTERM)
    assert len(ids(server)) == 5


def test_what_a_killed_server_had_not_applied_is_applied_at_its_next_start(
    make_server: Callable[..., Server], fill: Fill
) -> None:
    server = make_server("--segment-seconds", "3600")
    client = server.start(until="/readyz")
    [told] = client.post(PATH, json=event("1")).json()["events"]
    assert told["online"] == "unavailable"  # the store was never filled
    server.end(signal.SIGKILL)
    fill(server.settings, NOW)
    server.start()
    features = OnlineFeatures(server.settings, "arrival_delay_v1")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if features.read([ENTITIES])[0].found["aircraft_history__last_dep_delay"].value == 5.0:
            return
        time.sleep(0.2)
    pytest.fail("the features did not move")
