"""What every request passes before anything else: a request id, the token, and a limit on its size.

Plain ASGI: it refuses before the body is read, and Starlette's middleware base would copy each body through a queue.
"""

from __future__ import annotations

import logging
import re
import uuid
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.door.access import TokenCheck
from serving.door.problems import problem

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
#: A batch of 1,000 flights takes 250 kB.
MAX_BODY_BYTES = 2**20
TRACE = "goldpath.trace"
logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Trace:
    """Whose request it is: our or the caller's request id, and the caller's W3C trace context."""

    request_id: str
    traceparent: str | None


class BodyTooLarge(HTTPException):
    """More bytes than a request may have."""

    def __init__(self) -> None:
        super().__init__(413)


class Guard:
    """Wraps an application; `scope["goldpath.trace"]` then holds the request's `Trace`."""

    def __init__(self, app: ASGIApp, token: TokenCheck) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        parent = headers.get(b"traceparent", b"").decode("latin-1")
        trace = scope[TRACE] = Trace(
            request_id=given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4()),
            traceparent=parent if _TRACEPARENT.fullmatch(parent) else None,
        )

        async def send_traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                if not given:  # Ray Serve's proxy gives every request an id, and sends it back itself
                    answered["x-request-id"] = trace.request_id
                if trace.traceparent:
                    answered["traceparent"] = trace.traceparent
            await send(message)

        if scope["path"] not in OPEN_PATHS and not self._token.accepts(headers.get(b"authorization")):
            logger.warning("no valid token: %s %s, request %s", scope["method"], scope["path"], trace.request_id)
            refusal = problem(
                401, "unauthorized", field="Authorization",
                observed="another token" if b"authorization" in headers else "absent",
                expected="Bearer and the token of this service",
                next_step="send the token that GOLDPATH_SERVING_TOKEN or <home>/serving/token holds",
                headers={"WWW-Authenticate": 'Bearer realm="goldpath"'},
            )  # fmt: skip
            await refusal(scope, receive, send_traced)
            return
        await self._app(scope, _limited(receive), send_traced)


def _limited(receive: Receive) -> Receive:
    """The same request body, up to the limit."""
    seen = 0

    async def receive_limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES:
            raise BodyTooLarge
        return message

    return receive_limited
