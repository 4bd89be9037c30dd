"""A request whose replica ended is asked once more, whole; the answers of applications pass as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from serving.door import replica_loss
from serving.door.guard import MAX_BODY_BYTES

Attempt = Callable[[bytes, Send], Awaitable[None]]


async def answer(send: Send, status: int, kind: bytes, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body})


async def bare(body: bytes, send: Send) -> None:
    await answer(send, 500, b"text/plain; charset=utf-8", b"Internal Server Error")


async def nothing(body: bytes, send: Send) -> None:
    """As where the replica of a streamed answer ended."""


async def echo(body: bytes, send: Send) -> None:
    await answer(send, 200, b"application/json", body)


async def own_error(body: bytes, send: Send) -> None:
    await answer(send, 500, b"application/problem+json", b"{}")


def ask(attempts: list[Attempt], content: bytes = b"") -> httpx.Response:
    """The answer of a proxy that deals with a request as the attempts do, one after the other, the last for ever."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        attempt = attempts.pop(0) if len(attempts) > 1 else attempts[0]
        await attempt(body, send)

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app=replica_loss.AskAgain(proxy))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/v1/predict", content=content, headers={"x-request-id": "r-1"})

    return asyncio.run(asked())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_loss, "PAUSE_SECONDS", 0.01)


@pytest.mark.parametrize("lost", [bare, nothing])
def test_a_request_is_asked_again_with_its_whole_body(lost: Attempt) -> None:
    content = b"x" * 200_000
    found = ask([lost, echo], content)
    assert (found.status_code, found.content) == (200, content)


@pytest.mark.parametrize("lost", [bare, nothing])
def test_a_request_that_ends_its_replicas_ends_two_and_is_refused(lost: Attempt) -> None:
    attempts: list[Attempt] = [lost, lost, echo]
    found = ask(attempts)
    assert attempts == [echo]
    assert found.status_code == 503
    assert found.json()["observed"] == "the process that worked on the request ended, and so did the next one"


def test_the_error_of_an_application_passes() -> None:
    found = ask([own_error, echo])
    assert (found.status_code, found.headers["content-type"]) == (500, "application/problem+json")


@pytest.mark.parametrize("lost", [bare, nothing])
@pytest.mark.parametrize("size", [1, MAX_BODY_BYTES + 1], ids=["small", "too large to be kept"])
def test_a_request_that_no_replica_answers_is_refused_as_a_problem(lost: Attempt, size: int) -> None:
    found = ask([lost], b"x" * size)
    assert found.status_code == 503
    document = found.json()
    assert document["type"] == "urn:goldpath:problem:unavailable"
    assert document["instance"] == "urn:goldpath:request:r-1"
    assert found.headers["retry-after"]
