"""Many callers of a service in one process: each keeps a connection, and asks again as soon as it has its answer.

They speak HTTP/1.1 over bare streams. 200 threads of httpx took 6 ms of the processor for each request, more than any
process of the service, and got 52 answers a second of an endpoint that does nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.machine import ports

WARM_SECONDS, SECONDS = 1.0, 3.0


@dataclass(frozen=True, slots=True)
class Rate:
    """Answers a second, and the callers' own processor time for each, in milliseconds."""

    answers: float
    own_cpu_ms: float


def rate(port: int, path: str, body: Any, *, headers: Mapping[str, str], callers: int) -> Rate:
    """Asks a server on loopback for `SECONDS`, after a warm-up; raises RuntimeError at an answer other than 200.

    Args:
        port: Of the server.
        path: Of the operation, a POST.
        body: Sent as JSON.
        headers: Sent with each request.
        callers: Number of connections.
    """
    content = json.dumps(body).encode()
    fields = {**headers, "Host": ports.LOOPBACK, "Content-Type": "application/json", "Content-Length": len(content)}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + content
    return asyncio.run(_rate(port, request, callers))


async def _rate(port: int, request: bytes, callers: int) -> Rate:
    answered: list[int] = []
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(_ask(port, request, answered)) for _ in range(callers)]
        await asyncio.sleep(WARM_SECONDS)
        before, began, cpu = len(answered), time.perf_counter(), time.process_time()
        await asyncio.sleep(SECONDS)
        count, seconds, cpu = len(answered) - before, time.perf_counter() - began, time.process_time() - cpu
        for each in asking:
            each.cancel()
    return Rate(count / seconds, 1_000 * cpu / max(count, 1))


async def _ask(port: int, request: bytes, answered: list[int]) -> None:
    reader, writer = await asyncio.open_connection(ports.LOOPBACK, port)
    try:
        while True:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            content = await reader.readexactly(int(length))
            if not head.startswith(b"http/1.1 200 "):
                raise RuntimeError(f"{head.splitlines()[0].decode()}: {content[:200].decode()}")
            answered.append(len(content))
    finally:
        writer.close()
