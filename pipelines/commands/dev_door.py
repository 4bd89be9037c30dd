"""The door of `goldpath dev`: what browsers see lies behind it, the pages of each server on a port of their own.

The door lets in who has the session's token (`dev_access`) and passes the request on to the server, which listens on a
Unix socket in a folder of this account, or has a token of its own that the door adds.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import uvicorn
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from pipelines.commands.dev_access import COOKIE, Access, Asked, Refusal
from pipelines.machine.http_headers import HeadersInTime
from pipelines.machine.ports import LOOPBACK

#: Headers of one connection (RFC 9110, section 7.6.1), and those that the door itself answers for.
NOT_PASSED_ON = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade "
    "host cookie authorization".split()
)
NOT_PASSED_BACK = frozenset(
    "connection keep-alive transfer-encoding date server access-control-allow-origin access-control-allow-credentials "
    "access-control-allow-headers access-control-allow-methods x-frame-options referrer-policy".split()
)
#: No other page may show these in a frame, load them as a resource, or learn their addresses.
PROTECTION = {
    "x-frame-options": "SAMEORIGIN",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
}
#: Close codes of a websocket that name how it ended and are never sent (RFC 6455, section 7.4.1); the first is a loss.
LOST, *UNSENDABLE = (1006, 1005, 1006, 1015)
CONNECT_SECONDS = 10.0
STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one server.

    Attributes:
        name: The server, for people.
        port: The loopback port on which the door shows them.
        unix_socket: Where the server listens; None if it listens on `server_port`.
        server_port: The server's loopback port; it has a login of its own.
        headers: Added to each request, such as that login.
    """

    name: str
    port: int
    unix_socket: Path | None = None
    server_port: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """The base URL under which the server is asked; with a Unix socket only its Host header."""
        return f"{LOOPBACK}:{self.server_port or self.port}"

    def client(self) -> httpx.Client:
        """A client of the server itself, behind the door."""
        transport = httpx.HTTPTransport(uds=str(self.unix_socket) if self.unix_socket else None)
        return httpx.Client(transport=transport, base_url=f"http://{self.address}", headers=dict(self.headers))


class Door:
    """Listens on the port of each of the pages, in a thread of its own, from `open` to `close`."""

    def __init__(self, pages: Iterable[Pages], token: str) -> None:
        self._pages = {entry.port: entry for entry in pages}
        self._access = Access(token)
        self._clients: dict[int, httpx.AsyncClient] = {}
        config = uvicorn.Config(
            self, lifespan="off", http=HeadersInTime, ws="websockets-sansio", log_config=None,
            access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)
        self._listeners: list[socket.socket] = []

    def open(self) -> None:
        """Starts to listen; raises OSError if a port is taken."""
        self._listeners = [socket.create_server((LOOPBACK, port)) for port in self._pages]
        self._thread.start()

    def close(self) -> None:
        """Ends every connection."""
        self._server.should_exit = self._server.force_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for port, pages in self._pages.items():
                self._clients[port] = await stack.enter_async_context(_server_client(pages))
            await self._server.serve(sockets=self._listeners)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or the start of a websocket, by the rules of `Access`."""
        pages = self._pages[scope["server"][1]]
        connection = HTTPConnection(scope)
        method = scope.get("method", "WEBSOCKET")
        asked = Asked(method, scope["path"], scope["query_string"].decode("latin-1"), connection.headers)
        refusal = self._access.refusal(asked, pages.port)
        if scope["type"] == "websocket":
            await _pass_websocket(WebSocket(scope, receive, send), pages, refusal)
            return
        if refusal:
            response: Response = _refused(refusal)
        elif self._access.opens(asked):
            response = _let_in(asked)
        else:
            response = await self._answer(Request(scope, receive), pages)
        await response(scope, receive, send)

    async def _answer(self, request: Request, pages: Pages) -> Response:
        """The server's answer, which is streamed, as the body of the request is."""
        target = f"http://{pages.address}{_raw_target(request)}"
        body = request.stream() if {"content-length", "transfer-encoding"} & set(request.headers) else None
        client = self._clients[pages.port]
        passed = client.build_request(request.method, target, headers=_passed_on(request, pages), content=body)
        try:
            answer = await client.send(passed, stream=True)
        except httpx.HTTPError as error:
            return _refused(Refusal(502, f"{pages.name} does not answer: {type(error).__name__}."))
        response = StreamingResponse(_body(answer), answer.status_code)
        response.raw_headers = [
            (name.lower(), value)
            for name, value in answer.headers.raw
            if name.decode("latin-1").lower() not in NOT_PASSED_BACK
        ]
        response.headers.update(PROTECTION)
        return response


def _server_client(pages: Pages) -> httpx.AsyncClient:
    path = str(pages.unix_socket) if pages.unix_socket else None
    transport = httpx.AsyncHTTPTransport(uds=path, limits=httpx.Limits(max_connections=None))
    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)  # a page may be slow, and a stream of events without end
    return httpx.AsyncClient(transport=transport, timeout=timeout, headers={"accept-encoding": "identity"})


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The bytes as the server sends them, still compressed."""
    try:
        async for part in answer.aiter_raw():
            yield part
    finally:
        await answer.aclose()


def _raw_target(connection: HTTPConnection) -> str:
    """The path as it was sent, with its escapes, and the query."""
    path = connection.scope.get("raw_path") or connection.scope["path"].encode()
    query = connection.scope["query_string"]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _passed_on(connection: HTTPConnection, pages: Pages) -> list[tuple[str, str]]:
    """The headers for the server: the browser's, without the session's token, and what opens the server."""
    cookies = [(name, value) for name, value in connection.cookies.items() if name != COOKIE]
    headers = [(name, value) for name, value in connection.headers.items() if name not in NOT_PASSED_ON]
    if cookies:
        headers.append(("cookie", "; ".join(f"{name}={value}" for name, value in cookies)))
    return [*headers, ("host", connection.headers["host"]), *pages.headers.items()]


def _refused(refusal: Refusal) -> Response:
    text = f"<!doctype html><title>Goldpath</title><p>{escape(refusal.reason)}</p>"
    if refusal.status == 401:
        text += '<p>If you have just opened it from another page: <a href="">go on</a>.</p>'
    return HTMLResponse(text, refusal.status, headers=PROTECTION)


def _let_in(asked: Asked) -> Response:
    """Puts the token into a cookie that no script reads and no other site sends, and takes it out of the address."""
    token = asked.parameters["token"][0]
    kept = [(name, value) for name, value in parse_qsl(asked.query, keep_blank_values=True) if name != "token"]
    # A path with two slashes at its begin would be an address of another host.
    path = "/" + asked.path.lstrip("/\\")
    response = RedirectResponse(path + (f"?{urlencode(kept)}" if kept else ""), 303, headers=PROTECTION)
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
    return response


async def _pass_websocket(browser: WebSocket, pages: Pages, refusal: Refusal | None) -> None:
    """Joins the browser's websocket to one of the server, until either ends."""
    if refusal:
        await browser.close(1008, refusal.reason)  # before `accept`: the browser gets a 403
        return
    own = ("sec-websocket-", "origin", "host")  # which the client sets itself
    headers = [(name, value) for name, value in _passed_on(browser, pages) if not name.startswith(own)]
    address = f"ws://{pages.address}{_raw_target(browser)}"
    path = str(pages.unix_socket) if pages.unix_socket else None
    options: dict[str, Any] = {
        "additional_headers": headers,
        "subprotocols": browser.scope["subprotocols"] or None,
        "origin": browser.headers.get("origin"),
        "compression": None,
        "max_size": None,
        "open_timeout": CONNECT_SECONDS,
        "proxy": None,
    }
    try:
        server = await (unix_connect(path, address, **options) if path else connect(address, **options))
    except (OSError, TimeoutError, InvalidHandshake):
        await browser.close(1014)
        return
    async with server:
        await browser.accept(server.subprotocol)
        await _first_to_end(_to_server(browser, server), _to_browser(server, browser))
    code = server.close_code or LOST
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the browser has closed it
        await browser.close(1011 if code in UNSENDABLE else code)


async def _to_server(browser: WebSocket, server: ClientConnection) -> None:
    while (message := await browser.receive())["type"] == "websocket.receive":
        await server.send(message["text"] if message.get("text") is not None else message["bytes"])


async def _to_browser(server: ClientConnection, browser: WebSocket) -> None:
    async for message in server:
        await (browser.send_text(message) if isinstance(message, str) else browser.send_bytes(message))


async def _first_to_end(*directions: Coroutine[Any, Any, None]) -> None:
    """Runs both directions until one ends, then ends the other."""
    tasks = [asyncio.create_task(direction) for direction in directions]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    ended = await asyncio.gather(*done, *pending, return_exceptions=True)
    expected = (ConnectionClosed, WebSocketDisconnect, asyncio.CancelledError)
    for error in ended:
        if isinstance(error, BaseException) and not isinstance(error, expected):
            raise error
