"""An HTTP API for tests: records by page, with faults for chosen pages."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

#: What a request gets instead of its page; called with the handler.
Fault = Callable[["_Handler"], None]


@dataclass(slots=True)
class RestServer:
    """Records at `/v1/orders`, those from `since` on, sorted by `updated_at`, in pages of `page_size`.

    `after` asks for the page behind that many records. An answer leads to the next page by a cursor and by links.
    """

    port: int = 0
    records: list[str] = field(default_factory=list)
    page_size: int = 2
    token: str | None = None
    key: str | None = None
    requests: list[str] = field(default_factory=list)
    faults: dict[int, list[Fault]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def add(self, *records: tuple[int, str]) -> None:
        self.records += [f'{{"id": {id}, "amount": {id}.50, "updated_at": "{at}"}}' for id, at in records]
        self.records.sort(key=lambda text: json.loads(text)["updated_at"])

    def fail(self, after: int, *faults: Fault) -> None:
        """Lets the next requests for the page behind `after` records meet these faults, one each."""
        self.faults[after] = list(faults)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: RestServer

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing; tests read `requests`."""

    def do_GET(self) -> None:
        api, parts = self.api, urlsplit(self.path)
        params = dict(parse_qsl(parts.query))
        api.requests.append(self.path)
        if (api.token and self.headers["Authorization"] != api.token) or (api.key and params.get("key") != api.key):
            return self.answer(401, json.dumps({"error": f"no access with {self.headers['Authorization']} {params}"}))
        if parts.path != "/v1/orders":
            return self.answer(404, '{"error": "no such path"}')
        after = int(params.get("after") or params.get("offset") or 0)
        if "page" in params:
            after = (int(params["page"]) - 1) * api.page_size
        if api.faults.get(after):
            return api.faults[after].pop(0)(self)
        return self.answer(200, *self.page(after, params.get("since", "")))

    def page(self, after: int, since: str) -> tuple[str, dict[str, str]]:
        records = [text for text in self.api.records if json.loads(text)["updated_at"] >= since]
        end = after + self.api.page_size
        link = f"{self.api.address}/orders?after={end}&since={since}&key={self.api.key}" if end < len(records) else None
        body = {"data": "@", "next": str(end) if link else None, "links": {"next": link}, "total": len(records)}
        text = json.dumps(body).replace('"@"', f"[{', '.join(records[after:end])}]")
        return text, {"Link": f'<{link}>; rel="next"'} if link else {}

    def answer(self, status: int, body: str, headers: dict[str, str] | None = None, *, cut: int = 0) -> None:
        """Answers; the connection ends `cut` bytes before the body does."""
        content = body.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) - cut])
        self.close_connection = bool(cut)


def status(code: int, **headers: str) -> Fault:
    """A fault: the page is refused with this status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(code, '{"error": "not now"}', named)


def cut(handler: _Handler) -> None:
    """A fault: the connection ends within the body."""
    handler.answer(200, *handler.page(0, ""), cut=20)


def truncated(handler: _Handler) -> None:
    """A fault: the body is half of its JSON, with a content length that matches it."""
    handler.answer(200, handler.page(0, "")[0][:40])


@contextmanager
def serving() -> Iterator[RestServer]:
    """A server in a thread, which is stopped at the end."""
    api = RestServer()
    handler = type("Handler", (_Handler,), {"api": api})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        api.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
