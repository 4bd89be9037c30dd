"""What every request passes before anything else: a request id, the token, and limits on its body's size and time.

Plain ASGI, so that a request is refused before its body is read; Starlette's middleware base class would copy each body
through a queue.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.door import tracing
from serving.door.access import TokenCheck
from serving.door.problems import INVALID_REQUEST_ID, UNAUTHORIZED, problem
from serving.door.tracing import Trace

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
#: A batch of 1,000 questions takes about 250 kB.
MAX_BODY_BYTES = 2**20
#: A body of that size takes a second at 10 Mbit/s; one that trickles in would hold its connection and memory for ever.
MAX_BODY_SECONDS = 20.0
logger = logging.getLogger(__name__)


class BodyTooLarge(HTTPException):
    """A request body of more than `MAX_BODY_BYTES`."""

    def __init__(self) -> None:
        super().__init__(413)


class BodyTooSlow(HTTPException):
    """A request body that has not arrived within `MAX_BODY_SECONDS`; its connection is closed."""

    def __init__(self) -> None:
        super().__init__(408, headers={"Connection": "close"})


class Guard:
    """Wraps an application, and puts the request's `Trace` into the scope, where `tracing.of` finds it.

    `/healthz` and `/readyz` need no token.
    """

    def __init__(self, app: ASGIApp, token: TokenCheck) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        trace = scope[tracing.SCOPE_KEY] = tracing.from_headers(headers)
        send = _traced(send, trace, echo=not headers.get(b"x-request-id"))
        if (given := tracing.invalid_id(headers)) is not None:
            refusal = problem(
                INVALID_REQUEST_ID,
                trace,
                field="x-request-id",
                observed=repr(given[:80]),
                expected="1 to 128 letters, digits, and . _ : -",
                next_step="send a valid id, or none: the service makes one",
            )
            await refusal(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path not in OPEN_PATHS and not self._token.accepts(headers.get(b"authorization")):
            logger.warning("no valid token: %s %s, request %s", scope["method"], scope["path"], trace.request_id)
            refusal = problem(
                UNAUTHORIZED,
                trace,
                field="Authorization",
                observed="another token" if b"authorization" in headers else "absent",
                expected="Bearer and the token of this service",
                next_step="send this service's token, of GOLDPATH_SERVING_TOKENS or <home>/serving/tokens",
                headers={"WWW-Authenticate": 'Bearer realm="goldpath"'},
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, _limited(receive), send)


def _traced(send: Send, trace: Trace, *, echo: bool) -> Send:
    """Adds the trace to the headers of the response.

    Args:
        send: Sends the response.
        trace: Of the request.
        echo: Whether to add the request id. Ray Serve's proxy gives an id to each request without one, and itself adds
            the id of every request to the response.
    """

    async def send_traced(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if echo:
                headers["x-request-id"] = trace.request_id
            if trace.traceparent:
                headers["traceparent"] = trace.traceparent
        await send(message)

    return send_traced


def _limited(receive: Receive) -> Receive:
    """Receives the same body; raises BodyTooLarge or BodyTooSlow where it goes beyond a limit."""
    size, complete = 0, False
    deadline = asyncio.get_running_loop().time() + MAX_BODY_SECONDS

    async def receive_limited() -> Message:
        nonlocal size, complete
        if complete:  # what is awaited now is the end of the connection
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlow from None
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge
        complete = not message.get("more_body", False)
        return message

    return receive_limited
