"""A request is refused before its body is read, and a body that trickles in is cut off."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Request
from pydantic import SecretStr

from pipelines.machine.ports import LOOPBACK
from serving.door import guard, refusals
from serving.door.access import TokenCheck


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server behind the guard, which says how many bytes the body has."""
    monkeypatch.setattr(guard, "MAX_BODY_SECONDS", 0.5)
    app = FastAPI()

    @app.post("/")
    async def count(request: Request) -> int:
        return len(await request.body())

    refusals.handle(app)
    guarded = guard.Guard(app, TokenCheck(SecretStr("secret")))
    server = uvicorn.Server(uvicorn.Config(guarded, log_config=None, lifespan="off"))
    with socket.create_server((LOOPBACK, 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def request(port: int, body: bytes, *, length: int, token: str = "secret") -> str:
    """The whole answer to a request whose body has `length` bytes, of which `body` is sent, byte by byte."""
    head = f"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection((LOOPBACK, port), timeout=30) as client:
        client.sendall(head.encode())
        for byte in body:
            client.sendall(bytes([byte]))
            time.sleep(0.01)
        answer = client.recv(65536)
        while length > len(body) and (more := client.recv(65536)):  # until the server closes the connection
            answer += more
    return answer.decode()


def test_a_body_in_small_parts_is_taken(port: int) -> None:
    assert request(port, b"0123456789", length=10).endswith("10")


def test_a_body_that_trickles_in_is_cut_off_with_words_and_the_connection_is_closed(port: int) -> None:
    answer = request(port, b"01234", length=1000)
    assert answer.startswith("HTTP/1.1 408 ")
    assert "urn:goldpath:problem:body_too_slow" in answer
    assert "connection: close" in answer.lower()


def test_without_the_token_the_body_is_not_awaited(port: int) -> None:
    assert request(port, b"", length=0, token="wrong").startswith("HTTP/1.1 401 ")
