"""The HTTP interface: what can be asked, and what each outcome looks like on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from pipelines.errors import GoldpathError
from serving.door.access import TokenCheck
from serving.door.guard import MAX_BODY_BYTES, TRACE, BodyTooLarge, Guard
from serving.door.problems import from_error, from_validation, problem
from serving.errors import RequestError, ServiceUnavailable
from serving.predict.flight_request import FlightBatch, FlightQuestion
from serving.predict.service import PredictionService

T = TypeVar("T")
BATCH_PATH = "/v1/predict:batch"


class Worker:
    """The one thread in which a service works, so that the event loop is never held up.

    A read of the online store waits for its writer, up to seconds with SQLite, and meanwhile health checks must be
    answered. One thread, since the work is Python's own: two would take turns, and share Feast's connection.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="prediction")

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work` after everything that was asked before."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def create(service: PredictionService, token: TokenCheck, worker: Worker) -> ASGIApp:
    """The application; everything but `/healthz` and `/readyz` needs the token."""
    # No docs pages: they load scripts from elsewhere. The schema itself is served.
    app = FastAPI(title="Arrival delay", version="1", docs_url=None, redoc_url=None)

    @app.get("/healthz", summary="The process answers.")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz", summary="The model is verified and loaded, and the online store answers.")
    async def readyz() -> JSONResponse:
        try:
            await worker.run(service.check)
        except GoldpathError as error:
            return from_error(503, "not_ready", error)
        return JSONResponse({"status": "ready"})

    @app.get("/v1/model", summary="Which model answers.")
    async def model() -> JSONResponse:
        return JSONResponse(service.describe())

    @app.post("/v1/predict", summary="One flight.")
    async def predict(question: FlightQuestion, request: Request) -> Response:
        answers = await worker.run(lambda: service.answer([question], request.scope[TRACE]))
        return _json(answers[0])

    @app.post(BATCH_PATH, summary="Up to 1,000 flights, answered in their order, all or none.")
    async def predict_batch(batch: FlightBatch, request: Request) -> Response:
        answers = await worker.run(lambda: service.answer(batch.flights, request.scope[TRACE]))
        return _json(f'{{"predictions": [{", ".join(answers)}]}}')

    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BodyTooLarge, _too_large)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(GoldpathError, _failed)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, token)


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return from_validation(error.errors(), FlightBatch if request.url.path == BATCH_PATH else FlightQuestion)


def _too_large(_: Request, error: Exception) -> JSONResponse:
    return problem(
        413, "body_too_large", field="body", observed=f"more than {MAX_BODY_BYTES} bytes",
        expected=f"at most {MAX_BODY_BYTES} bytes", next_step="send several smaller batches",
    )  # fmt: skip


def _not_served(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(
        error.status_code, error.detail.lower().replace(" ", "_"), observed=f"{request.method} {request.url.path}",
        expected="an operation of this service", next_step="GET /openapi.json lists them", headers=error.headers,
    )  # fmt: skip


def _failed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GoldpathError)
    if isinstance(error, RequestError):
        return from_error(422, "unknown_flight", error)
    if isinstance(error, ServiceUnavailable):
        return from_error(503, "unavailable", error)
    return from_error(500, "failed", error)


def _broken(_: Request, error: Exception) -> JSONResponse:
    """Says no more than that; the exception goes on to the replica's log."""
    return problem(
        500, "internal_error", observed=type(error).__name__, expected="an answer",
        next_step="read the replica's log for this request id",
    )  # fmt: skip
