"""The HTTP interface of the push server: its operations, and the response to each outcome."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp

from pipelines.errors import GoldpathError
from serving.door import refusals, tracing
from serving.door.access import TokenCheck
from serving.door.guard import Guard
from serving.door.problems import (
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    UNAUTHORIZED,
    UNAVAILABLE,
    ProblemType,
    from_error,
    problem,
    responses,
)
from serving.errors import RequestError
from serving.push import body
from serving.push.online import OnlinePath
from serving.push.service import EventConflict, Receiver

logger = logging.getLogger(__name__)
Receivers = Mapping[tuple[str, str], Receiver]

UNKNOWN_SOURCE = ProblemType("unknown_source", 404, "No contract declares this source as pushed")
BAD_EVENT = ProblemType("bad_event", 400, "An event, or the request around it, is invalid")
ID_TAKEN = ProblemType("id_taken", 409, "Another event was taken under this id")
TOO_MANY_EVENTS = ProblemType("too_many_events", 413, "The request has too many events")
_SOURCE_REFUSALS = responses(UNAUTHORIZED, UNKNOWN_SOURCE)
_DELIVERY_REFUSALS = responses(UNAUTHORIZED, UNKNOWN_SOURCE, UNAVAILABLE)
_PUSH_REFUSALS = responses(
    UNAUTHORIZED, UNKNOWN_SOURCE, BAD_EVENT, ID_TAKEN, BODY_TOO_LARGE, BODY_TOO_SLOW, TOO_MANY_EVENTS, UNAVAILABLE
)


class UnknownSource(RequestError):
    """No contract declares a source of this name as pushed."""


_KINDS: tuple[tuple[type[GoldpathError], ProblemType], ...] = (
    (UnknownSource, UNKNOWN_SOURCE),
    (body.TooManyEvents, TOO_MANY_EVENTS),
    (EventConflict, ID_TAKEN),
    (RequestError, BAD_EVENT),
    (GoldpathError, UNAVAILABLE),
)


def create(
    receivers: Receivers, stopped: Mapping[tuple[str, str], GoldpathError], online: OnlinePath, token: TokenCheck
) -> ASGIApp:
    """The application, which closes the receivers when it ends.

    A source of `stopped` answers with its error, and the others take events.
    Every operation but `/healthz` and `/readyz` needs the token.
    """
    lifespan = _lifespan(receivers, online)
    app = FastAPI(title="Pushed events", version="1", docs_url=None, redoc_url=None, lifespan=lifespan)

    @app.get("/healthz", summary="The process answers.")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz", summary="Events move online features too; they are taken as soon as the process answers.")
    async def readyz() -> JSONResponse:
        await online.check()
        return JSONResponse({"status": "ready", "sources": _paths(receivers), "stopped": _paths(stopped)})

    @app.post(
        "/v1/events/{domain}/{source}:deliver",
        summary="Delivers the acknowledged events to landing now.",
        responses=_DELIVERY_REFUSALS,
    )
    async def deliver(domain: str, source: str) -> JSONResponse:
        receiver = _receiver(receivers, stopped, domain, source)
        uris = await receiver.deliver()
        return JSONResponse({"landed": uris, **receiver.status()})

    @app.post(
        "/v1/events/{domain}/{source}",
        summary="Takes one event, an array or JSON lines, and acknowledges them when they are durable.",
        status_code=202,
        responses=_PUSH_REFUSALS,
    )
    async def push(domain: str, source: str, request: Request) -> JSONResponse:
        receiver = _receiver(receivers, stopped, domain, source)
        events = body.events(await request.body(), request.headers.get("content-type", ""))
        key = body.idempotency_key(request.headers.get("idempotency-key"))
        return JSONResponse({"events": await receiver.accept(events, key)}, 202)

    @app.get(
        "/v1/events/{domain}/{source}",
        summary="The position of the source's log, and how much of it has not landed yet.",
        responses=_SOURCE_REFUSALS,
    )
    async def status(domain: str, source: str) -> JSONResponse:
        return JSONResponse(_receiver(receivers, stopped, domain, source).status())

    refusals.handle(app)
    app.add_exception_handler(GoldpathError, _failed)
    app.add_exception_handler(OSError, _failed_system)
    return Guard(app, token)


def _paths(names: Iterable[tuple[str, str]]) -> list[str]:
    return ["/".join(name) for name in names]


def _receiver(
    receivers: Receivers, stopped: Mapping[tuple[str, str], GoldpathError], domain: str, source: str
) -> Receiver:
    if (domain, source) in stopped:
        raise stopped[domain, source].with_traceback(None)  # raised for each request, which would lengthen it
    try:
        return receivers[domain, source]
    except KeyError:
        raise UnknownSource(
            object=f"source {domain}/{source}",
            observed="no contract declares it as pushed",
            expected=f"one of {', '.join(_paths([*receivers, *stopped]))}",
            next_step="correct the address, or declare it with push_source",
        ) from None


def _lifespan(receivers: Receivers, online: OnlinePath) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        works = [_alone(r, work) for r in receivers.values() for work in (r.replay(), r.run(stop))]
        tasks = [asyncio.create_task(work) for work in works]
        yield
        stop.set()
        await asyncio.gather(*tasks)
        for receiver in receivers.values():
            await _alone(receiver, receiver.close())
        await online.close()

    return lifespan


async def _alone(receiver: Receiver, work: Awaitable[None]) -> None:
    """Awaits the work of one source. If it fails, that is logged at once, and the other sources go on."""
    try:
        await work
    except Exception:
        logger.exception("%s/%s", *receiver.source.name)


def _failed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GoldpathError)
    kind = next(kind for type_, kind in _KINDS if isinstance(error, type_))
    return from_error(kind, tracing.of(request), error)


def _failed_system(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    return problem(
        UNAVAILABLE,
        tracing.of(request),
        observed=f"{type(error).__name__}: {error.strerror or error}",
        expected="a disk and a landing zone that take the events",
        next_step="try again; the acknowledged events stay in the log",
    )
