"""Connections whose headers do not come are closed; requests that take long are answered."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from pipelines.machine import http_headers

LIMIT = 0.3


async def answers_late(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(4 * LIMIT)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"late"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(http_headers, "HEADER_SECONDS", LIMIT)
    config = uvicorn.Config(
        answers_late, lifespan="off", http=http_headers.HeadersInTime, timeout_keep_alive=60, log_config=None
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    listener.close()


def closed(connection: socket.socket, drip: bytes = b"") -> bool:
    """Whether the server ends the connection, while a byte of `drip` is sent every 50 ms."""
    end = time.monotonic() + 20
    connection.settimeout(0.05)
    while time.monotonic() < end:
        try:
            if drip:
                connection.sendall(drip)
            if connection.recv(1) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nhost: x\r\nx-long: "])
@pytest.mark.parametrize("drip", [b"", b"a"])
def test_a_connection_without_whole_headers_is_closed(port: int, start: bytes, drip: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(start)
        assert closed(connection, drip if start else b"")


def test_a_late_answer_comes_and_its_connection_is_closed_when_no_next_request_does(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        assert client.get("/").text == client.get("/").text == "late"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.settimeout(20)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        assert closed(connection, b"")
