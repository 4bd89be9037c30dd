"""The HTTP interface for pushed events: what can be sent, and what each outcome looks like on the wire."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from pipelines.errors import GoldpathError
from serving.door.access import TokenCheck
from serving.door.guard import MAX_BODY_BYTES, BodyTooLarge, Guard
from serving.door.problems import from_error, problem
from serving.errors import RequestError
from serving.push import body
from serving.push.online import OnlinePath
from serving.push.service import EventConflict, Receiver

Receivers = Mapping[tuple[str, str], Receiver]


class UnknownSource(RequestError):
    """No contract declares a source of this name as pushed."""


def create(receivers: Receivers, online: OnlinePath, token: TokenCheck) -> ASGIApp:
    """The application, which closes the receivers when it ends; all but `/healthz` and `/readyz` needs the token."""
    lifespan = _lifespan(receivers, online)
    app = FastAPI(title="Pushed events", version="1", docs_url=None, redoc_url=None, lifespan=lifespan)

    def receiver(domain: str, source: str) -> Receiver:
        try:
            return receivers[domain, source]
        except KeyError:
            raise UnknownSource(
                object=f"source {domain}/{source}",
                observed="no contract declares it as pushed",
                expected=f"one of {', '.join('/'.join(name) for name in receivers)}",
                next_step="correct the address, or declare it with push_source",
            ) from None

    @app.get("/healthz", summary="The process answers.")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz", summary="Events are taken, as from the start on, and by now they move online features too.")
    async def readyz() -> JSONResponse:
        await online.check()
        return JSONResponse({"status": "ready", "sources": ["/".join(name) for name in receivers]})

    @app.post("/v1/events/{domain}/{source}:deliver", summary="Brings what was acknowledged to landing now.")
    async def deliver(domain: str, source: str) -> JSONResponse:
        found = receiver(domain, source)
        uris = await found.deliver()
        return JSONResponse({"landed": uris, **found.status()})

    @app.post("/v1/events/{domain}/{source}", summary="One event, an array or JSON lines; acknowledged once durable.")
    async def push(domain: str, source: str, request: Request) -> JSONResponse:
        found = receiver(domain, source)
        events = body.events(await request.body(), request.headers.get("content-type", ""))
        key = body.idempotency_key(request.headers.get("idempotency-key"))
        return JSONResponse({"events": await found.accept(events, key)}, 202)

    @app.get("/v1/events/{domain}/{source}", summary="How far the source's log is, and what has not landed yet.")
    async def status(domain: str, source: str) -> JSONResponse:
        return JSONResponse(receiver(domain, source).status())

    app.add_exception_handler(BodyTooLarge, _too_large)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(GoldpathError, _failed)
    app.add_exception_handler(OSError, _failed_system)
    return Guard(app, token)


def _lifespan(receivers: Receivers, online: OnlinePath) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        tasks = [asyncio.create_task(work) for r in receivers.values() for work in (r.replay(), r.run(stop))]
        yield
        stop.set()
        await asyncio.gather(*tasks)
        for receiver in receivers.values():
            await receiver.close()
        await online.close()

    return lifespan


def _too_large(_: Request, error: Exception) -> JSONResponse:
    return problem(
        413, "body_too_large", field="body", observed=f"more than {MAX_BODY_BYTES} bytes",
        expected=f"at most {MAX_BODY_BYTES} bytes", next_step="send several requests",
    )  # fmt: skip


def _not_served(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(
        error.status_code, error.detail.lower().replace(" ", "_"), observed=f"{request.method} {request.url.path}",
        expected="POST /v1/events/{domain}/{source}", next_step="GET /openapi.json lists what is served",
        headers=error.headers,
    )  # fmt: skip


_STATUS: tuple[tuple[type[GoldpathError], int, str], ...] = (
    (UnknownSource, 404, "unknown_source"),
    (body.TooManyEvents, 413, "too_many_events"),
    (EventConflict, 409, "id_taken"),
    (RequestError, 400, "bad_event"),
)


def _failed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GoldpathError)
    for kind, status, name in _STATUS:
        if isinstance(error, kind):
            return from_error(status, name, error)
    return from_error(503, "unavailable", error)


def _failed_system(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    seen: dict[str, Any] = {"observed": f"{type(error).__name__}: {error.strerror or error}"}
    return problem(
        503, "unavailable", **seen, expected="a disk and a landing zone that take what was pushed",
        next_step="try again; what was acknowledged stays in its log", headers={"Retry-After": "1"},
    )  # fmt: skip
