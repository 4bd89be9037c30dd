"""The door of `goldpath dev` in front of a server: what passes arrives unchanged, and no hostile page gets through."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import uvicorn
from selenium import webdriver
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from pipelines.commands.dev_access import COOKIE
from pipelines.commands.dev_door import Door, Pages
from pipelines.machine import ports

TOKEN = "a-session-token"
PROTOCOLS = [Subprotocol("graphql-ws")]
OWN_PAGE = """<!doctype html><title>own</title><script>
(async () => {
  const answer = await fetch("/graphql", {method: "POST", body: JSON.stringify({query: "own"}),
                                          headers: {"content-type": "application/json"}});
  const socket = new WebSocket(`ws://${location.host}/graphql`, "graphql-ws");
  socket.onopen = () => socket.send("own websocket");
  socket.onmessage = message => { document.title = `${answer.status} ${message.data}`; };
})();
</script>"""
HOSTILE_PAGE = """<!doctype html><title>hostile</title>
<img src="TARGET/graphql?query=mutation%20image"><script src="TARGET/script.js"></script><iframe src="TARGET/frame"></iframe>
<iframe name="sink"></iframe>
<form id="coded" method="post" target="sink" action="TARGET/graphql?query=mutation%20form"><input name="a"></form>
<form id="plain" method="post" target="sink" action="TARGET/graphql" enctype="text/plain"><input name='{"query":"m"}'></form>
<script>
const attempts = [
  fetch("TARGET/graphql?query=mutation%20get", {mode: "no-cors", credentials: "include"}),
  fetch("TARGET/graphql", {method: "POST", mode: "no-cors", credentials: "include", body: '{"query": "mutation post"}'}),
  fetch("TARGET/graphql", {method: "POST", credentials: "include", headers: {"content-type": "application/json"}, body: "{}"}),
  new Promise(done => { const s = new WebSocket("TARGET/graphql".replace("http", "ws"), "graphql-ws");
                        s.onopen = () => s.send("mutation"); s.onclose = done; s.onmessage = done; }),
];
document.getElementById("coded").submit();
setTimeout(() => document.getElementById("plain").submit(), 300);
Promise.allSettled(attempts).then(() => setTimeout(() => { document.title = "finished"; }, 900));
</script>"""


@dataclass(slots=True)
class Backend:
    """A server on a Unix socket or a port, and what reached it."""

    pages: Pages
    reached: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.pages.port}"

    def app(self) -> Starlette:
        async def http(request: Request) -> Response:
            body = await request.body()
            self.reached.append(f"{request.method} {request.url.path}")
            self.headers.append(dict(request.headers))
            if request.url.path == "/own":
                return HTMLResponse(OWN_PAGE)
            headers = {"access-control-allow-origin": "*", "x-frame-options": "ALLOWALL", "set-cookie": "theme=dark"}
            target = f"{request.scope['raw_path'].decode()}?{request.url.query}"
            return JSONResponse({"bytes": len(body), "target": target}, 201, headers)

        async def echo(websocket: WebSocket) -> None:
            await websocket.accept(websocket.scope["subprotocols"][0])
            self.reached.append("websocket")
            async for text in websocket.iter_text():
                await websocket.send_text(f"echo {text}")

        methods = ["GET", "POST", "PUT", "DELETE"]
        return Starlette(routes=[WebSocketRoute("/graphql", echo), Route("/{path:path}", http, methods=methods)])


def serve(app: Starlette, **options: object) -> Iterator[None]:
    """Runs an application in a thread until the generator is closed."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="websockets-sansio", **options))  # ty: ignore[invalid-argument-type]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield
    server.should_exit = server.force_exit = True
    thread.join()


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A server on a Unix socket, behind an open door."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the path of a socket can be at most 107 bytes long
        path = Path(folder) / "socket"
        backend = Backend(Pages("Toys", ports.free_port(), unix_socket=path, headers={"x-login": "yes"}))
        door = Door([backend.pages], TOKEN)
        for _ in serve(backend.app(), uds=str(path)):
            door.open()
            yield backend
            door.close()


def client(backend: Backend) -> httpx.Client:
    return httpx.Client(base_url=backend.url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False)


def test_the_link_sets_a_cookie_that_no_script_reads_and_leaves_the_address(backend: Backend) -> None:
    with httpx.Client(base_url=backend.url, trust_env=False) as browser:
        assert browser.get("/runs").status_code == 401
        opened = browser.get(f"{backend.url}//evil.test/?a=1&token={TOKEN}")
        assert (opened.status_code, opened.headers["location"]) == (303, "/evil.test/?a=1")
        attributes = opened.headers["set-cookie"].lower().split("; ")
        assert {"httponly", "samesite=strict", "path=/"} <= set(attributes)
        assert browser.get("/runs").status_code == 201
    assert backend.reached == ["GET /runs"]


def test_a_request_arrives_as_it_was_sent_without_the_token_and_with_the_servers_login(backend: Backend) -> None:
    with client(backend) as caller:
        body = b"x" * 3_000_000
        answer = caller.put("/a%2Fb%20c?d=%C3%A9&e", content=body, headers={"cookie": f"theme=dark; {COOKIE}={TOKEN}"})
    assert answer.json() == {"bytes": len(body), "target": "/a%2Fb%20c?d=%C3%A9&e"}
    [headers] = backend.headers
    assert (headers["cookie"], headers["x-login"]) == ("theme=dark", "yes")
    assert "authorization" not in headers


def test_an_answer_comes_back_without_leave_for_other_pages(backend: Backend) -> None:
    with client(backend) as caller:
        answer = caller.get("/")
    assert (answer.status_code, answer.headers["set-cookie"]) == (201, "theme=dark")
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    backend = Backend(Pages("Toys", ports.free_port(), unix_socket=tmp_path / "nobody"))
    door = Door([backend.pages], TOKEN)
    door.open()
    with client(backend) as caller:
        answer = caller.get("/")
    door.close()
    assert (answer.status_code, "Toys does not answer" in answer.text) == (502, True)


def test_a_websocket_passes_with_its_subprotocol_from_the_servers_own_pages_alone(backend: Backend) -> None:
    url = f"ws://{ports.LOOPBACK}:{backend.pages.port}/graphql"
    cookie = {"Cookie": f"{COOKIE}={TOKEN}"}
    with connect(url, origin=Origin(backend.url), additional_headers=cookie, subprotocols=PROTOCOLS, proxy=None) as own:
        own.send("hello")
        assert (own.recv(10), own.subprotocol) == ("echo hello", "graphql-ws")
    for origin, headers in ((Origin("http://evil.test"), cookie), (None, cookie), (Origin(backend.url), {})):
        with pytest.raises(InvalidStatus, match="403"):
            connect(url, origin=origin, additional_headers=headers, subprotocols=PROTOCOLS, proxy=None)
    assert backend.reached == ["websocket"]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP *.test 127.0.0.1",
        f"--user-data-dir={tmp_path / 'chromium'}",
    ):  # fmt: skip
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")) as driver:
        yield driver


def title(browser: webdriver.Chrome, text: str) -> None:
    """Waits until the page has this title."""
    deadline = time.monotonic() + 30
    while browser.title != text:
        assert time.monotonic() < deadline, browser.title
        time.sleep(0.1)


@pytest.mark.browser
def test_in_a_browser_that_is_let_in_no_hostile_page_reaches_the_server(
    backend: Backend, browser: webdriver.Chrome
) -> None:
    browser.get(f"{backend.url}/own?token={TOKEN}")
    title(browser, "201 echo own websocket")
    assert browser.current_url == f"{backend.url}/own"
    assert browser.execute_script("return document.cookie") == "theme=dark"
    backend.reached.clear()
    hostile_port = ports.free_port()

    async def hostile(request: Request) -> HTMLResponse:
        return HTMLResponse(HOSTILE_PAGE.replace("TARGET", request.query_params["target"]))

    for _ in serve(Starlette(routes=[Route("/", hostile)]), host=ports.LOOPBACK, port=hostile_port):
        pages = [f"http://{host}:{hostile_port}/" for host in ("evil.test", "127.0.0.1", "localhost")]
        # Under a name that leads to this machine, the door's address is an origin of the hostile page's site.
        targets = [backend.url, f"http://rebound.test:{backend.pages.port}"]
        for page in pages:
            for target in targets:
                browser.get(f"{page}?target={target}")
                title(browser, "finished")
    browser.get(f"http://rebound.test:{backend.pages.port}/own")
    assert "These pages have the address" in browser.page_source
    assert backend.reached == []
    browser.get(f"{backend.url}/own")
    title(browser, "201 echo own websocket")


def test_the_door_listens_on_loopback_alone(backend: Backend) -> None:
    assert json.dumps(backend.pages.headers) not in repr(backend.pages)
    with socket.create_server(("127.0.0.2", backend.pages.port)):
        pass
