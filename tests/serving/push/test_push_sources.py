"""Pushed sources of several domains behind one server: each has its route, its log and its landing, and fails alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from pipelines.contracts.load import load
from pipelines.errors import DamagedError
from pipelines.landing.zone import Landing
from pipelines.medallion.push_source import PushSource, push_source
from pipelines.settings import Settings
from serving.door.access import TokenCheck
from serving.push import http
from serving.push.log import PushLog
from serving.push.online import OnlinePath
from serving.push.server import open_all
from serving.push.service import PushLimits
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text

SHOP, SCHOOL = ("shop", "orders"), ("school", "orders")
TOKEN = "token-of-the-test"
PROBLEM = "urn:goldpath:problem:"


def _source(folder: Path, name: tuple[str, str]) -> PushSource:
    domain, table = name
    columns = [text("event_id"), text("received_at"), text("amount")]
    bronze = toy_contracts.document(f"bronze/{domain}/{table}", columns, format="jsonl") | {"domain": domain}
    silver = toy_contracts.document(
        f"silver/{domain}/{table}", [text("event_id", primaryKey=True, required=True), text("amount")]
    ) | {"domain": domain}
    return push_source(*(load(toy_contracts.write(folder, document)) for document in (bronze, silver)))


@dataclass(slots=True)
class Home:
    settings: Settings
    sources: dict[tuple[str, str], PushSource]

    def folder(self, name: tuple[str, str]) -> Path:
        """The push log of a source."""
        return self.settings.root / "push" / "/".join(name)

    def landed(self, name: tuple[str, str]) -> list[str]:
        """The landed lines of a source."""
        landing, lines = Landing(self.settings.landing), []
        for delivery in landing.deliveries(*name):
            with landing.open(delivery) as stream:
                lines += stream.read().decode().splitlines()
        return lines

    @contextlib.asynccontextmanager
    async def serving(self, before: Callable[[], None] = lambda: None) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the server, which ends with the block; `before` runs between the opened logs and the start."""
        limits = PushLimits(segment_seconds=3600)
        online = OnlinePath(self.settings, limits.online_seconds)
        receivers, stopped = open_all(self.settings, self.sources, online, limits)
        before()
        guarded = http.create(receivers, stopped, online, TokenCheck(SecretStr(TOKEN)))
        async with _lifespan(guarded):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            transport = httpx.ASGITransport(guarded)
            async with httpx.AsyncClient(transport=transport, base_url="http://push", headers=headers) as client:
                yield client


@contextlib.asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    """Starts and ends an ASGI application, which `httpx.ASGITransport` does not."""
    received: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    running = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, received.get, sent.put))
    for phase in ("startup", "shutdown"):
        await received.put({"type": f"lifespan.{phase}"})
        assert await sent.get() == {"type": f"lifespan.{phase}.complete"}
        if phase == "startup":
            yield
    await running


@pytest.fixture
def home(tmp_path: Path) -> Home:
    settings = Settings(home=tmp_path / "home", profile="test")
    return Home(settings, {name: _source(tmp_path, name) for name in (SHOP, SCHOOL)})


def _path(name: tuple[str, str]) -> str:
    return f"/v1/events/{'/'.join(name)}"


def test_one_name_and_one_event_id_in_two_domains_are_two_sources_and_two_events(home: Home) -> None:
    async def scenario() -> None:
        async with home.serving() as client:
            for name, amount in ((SHOP, "1"), (SCHOOL, "2")):
                answer = await client.post(_path(name), json={"event_id": "e", "amount": amount})
                [taken] = answer.json()["events"]
                assert (answer.status_code, taken["position"], taken["duplicate"]) == (202, 1, False)

    asyncio.run(scenario())
    for name, amount in ((SHOP, "1"), (SCHOOL, "2")):
        [line] = home.landed(name)
        assert f'"amount": "{amount}"' in line


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("00000001-0000000000000001.ids", '["e1", "zz'),
        ("00000001-0000000000000001.ids", '["e1", "not hexadecimal"]\n'),
        ("00000001-0000000000000001.ids", '{"e1": 1}\n'),
        ("00000001-0000000000000001.log", '{"no": "id"}\n'),
        ("00000001-0000000000000001.log", "3\n"),
        ("00000001-somewhere.log", '{"event_id": "e1"}\n'),
    ],
    ids=["torn", "no digest", "other shape", "no id", "no event", "no position"],
)
def test_a_source_with_a_damaged_log_answers_with_the_file_while_another_domain_goes_on(
    home: Home, file: str, content: str
) -> None:
    home.folder(SHOP).mkdir(parents=True)
    damaged = home.folder(SHOP) / file
    damaged.write_text(content)

    async def scenario() -> None:
        async with home.serving() as client:
            for _ in range(2):
                refused = await client.post(_path(SHOP), json={"amount": "1"})
                assert (refused.status_code, refused.json()["type"]) == (503, f"{PROBLEM}unavailable")
                assert str(damaged) in refused.json()["field"]
                assert "restore the file" in refused.json()["next_step"]
            assert (await client.post(_path(SCHOOL), json={"amount": "2"})).status_code == 202
            ready = (await client.get("/readyz")).json()
            assert (ready["sources"], ready["stopped"]) == (["school/orders"], ["shop/orders"])

    asyncio.run(scenario())
    assert damaged.read_text() == content
    assert (len(home.landed(SHOP)), len(home.landed(SCHOOL))) == (0, 1)


def test_the_server_does_not_start_if_no_source_can_be_opened_and_releases_their_logs(home: Home) -> None:
    for name in (SHOP, SCHOOL):
        home.folder(name).mkdir(parents=True)
        (home.folder(name) / "00000001-0000000000000001.ids").write_text("[")

    async def scenario() -> None:
        async with home.serving():
            pass

    with pytest.raises(DamagedError, match="shop/orders/00000001"):
        asyncio.run(scenario())
    for name in (SHOP, SCHOOL):
        (home.folder(name) / "00000001-0000000000000001.ids").unlink()
        PushLog(home.folder(name)).close()


def test_a_source_that_fails_while_it_starts_and_ends_leaves_the_events_of_another_domain_landed(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    segment = home.folder(SHOP) / "00000001-0000000000000001.log"
    segment.parent.mkdir(parents=True)
    segment.write_text('{"event_id": "e1", "received_at": "2026-11-19T00:00:00+00:00", "amount": "1"}\n')

    async def scenario() -> None:
        async with home.serving(before=segment.unlink) as client:
            assert (await client.post(_path(SCHOOL), json={"amount": "2"})).status_code == 202

    asyncio.run(scenario())
    assert len(home.landed(SCHOOL)) == 1
    assert "shop/orders" in caplog.text
