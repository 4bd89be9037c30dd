"""What a caller gets whose replica ended before it answered: the answer of the next replica, or a problem that says so.

Serve's proxy answers such a request with a bare 500, or not at all, which its server makes a bare 500 of. This
middleware of the proxy asks once more: a question that is answered twice has two lines in the prediction log, and
nothing else. A request that ends its replica itself ends no third one. Serve finds the middleware by
`pipelines.machine.ray_environment.PROXY_MIDDLEWARES`.
"""

from __future__ import annotations

import asyncio

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.door import tracing
from serving.door.guard import MAX_BODY_BYTES
from serving.door.problems import MEDIA_TYPE, UNAVAILABLE, problem

#: How many replicas a request may be given. Where none is left, Serve lets it wait for the next one.
REPLICAS = 2
#: Until Serve's proxy knows that the replica ended.
PAUSE_SECONDS = 0.2


def middlewares() -> list[Middleware]:
    """What Serve puts before its proxy."""
    return [Middleware(AskAgain)]


class AskAgain:
    """Wraps Serve's proxy. The answers of applications pass: their errors are problems, never bare."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, lost = _Request(receive), 0
        while lost == 0 or (lost < REPLICAS and request.whole):
            if lost:
                await asyncio.sleep(PAUSE_SECONDS)
            answer = _Answer(send)
            await self._app(dict(scope), request.receive(), answer.send)
            if answer.begun:
                return
            lost += 1
        refusal = problem(
            UNAVAILABLE,
            tracing.from_headers(dict(scope["headers"])),
            observed="the process that worked on the request ended" + (", and so did the next one" if lost > 1 else ""),
            expected="an answer",
            next_step="send the request again" + (" once; if it ends a process again, report it" if lost > 1 else ""),
        )
        await refusal(scope, receive, send)


class _Request:
    """The messages of a request, kept as they are read, so that they can be read again."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._messages, self._bytes = receive, list[Message](), 0
        self.whole = False

    def receive(self) -> Receive:
        """Reads the request from its beginning."""
        place = 0

        async def receive() -> Message:
            nonlocal place
            if place < len(self._messages):
                place += 1
                return self._messages[place - 1]
            message = await self._receive()
            if message["type"] == "http.request" and not self.whole and self._bytes <= MAX_BODY_BYTES:
                self._messages.append(message)
                self._bytes += len(message.get("body", b""))
                place = len(self._messages)
                self.whole = not message.get("more_body", False) and self._bytes <= MAX_BODY_BYTES
            elif message["type"] == "http.disconnect":
                self.whole = False  # nobody waits for an answer
            return message

        return receive


class _Answer:
    """Passes an answer on, unless it is a bare 500. `begun` is not set where none came, as where a replica ended."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._bare = self.begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = dict(message["headers"]).get(b"content-type", b"")
            self._bare = message["status"] == 500 and not kind.startswith(MEDIA_TYPE.encode())
        if not self._bare:
            self.begun = True
            await self._send(message)
