"""The HTTP interface of the prediction service: its operations, and the response to each outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp

from pipelines.errors import GoldpathError
from serving.door import refusals, tracing
from serving.door.access import TokenCheck
from serving.door.grouped import Grouped
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
from serving.errors import RequestError, ServiceUnavailable, WrongTime
from serving.predict import invalid_request
from serving.predict.flight_request import FlightBatch, FlightQuestion
from serving.predict.invalid_request import INVALID_REQUEST
from serving.predict.service import Asked, PredictionService

T = TypeVar("T")
BATCH_PATH = "/v1/predict:batch"

UNKNOWN_FLIGHT = ProblemType("unknown_flight", 422, "Nothing is known about the flight")
WRONG_TIME = ProblemType("wrong_time", 422, "The flight is past, or too far ahead to be predicted")
NOT_READY = ProblemType("not_ready", 503, "The service is not ready to predict")
FAILED = ProblemType("failed", 500, "The service failed with an error that its operator has to correct")
INTERNAL_ERROR = ProblemType("internal_error", 500, "The service has a defect")
_PREDICTION_REFUSALS = responses(
    UNAUTHORIZED,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    INVALID_REQUEST,
    UNKNOWN_FLIGHT,
    WRONG_TIME,
    FAILED,
    INTERNAL_ERROR,
    UNAVAILABLE,
)


class Worker:
    """The one thread in which a service works, so that the event loop is never blocked.

    Single questions that wait for it are answered together, since most of the work is the same for one and for many.

    A read of the online store waits for its writer, with SQLite up to seconds, and health checks must be answered
    meanwhile. One thread is enough: the work is Python code, so two would take turns, and they would share Feast's
    connection.
    """

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="prediction")

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work` after everything that was passed before."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)


def create(service: PredictionService, token: TokenCheck, worker: Worker) -> ASGIApp:
    """The application; every operation but `/healthz` and `/readyz` needs the token."""
    # Without pages of documentation, which load scripts from other sites; the OpenAPI document itself is served.
    app = FastAPI(title="Arrival delay", version="1", docs_url=None, redoc_url=None)

    grouped = Grouped(service.answer, worker.executor)

    @app.get("/healthz", summary="The process answers.")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    @app.get(
        "/readyz",
        summary="The model is verified and loaded, and the online store answers.",
        responses=responses(NOT_READY),
    )
    async def readyz(request: Request) -> JSONResponse:
        try:
            await worker.run(service.check)
        except GoldpathError as error:
            return from_error(NOT_READY, tracing.of(request), error)
        return JSONResponse({"status": "ready"})

    @app.get("/v1/model", summary="Which model answers.", responses=responses(UNAUTHORIZED))
    async def model() -> JSONResponse:
        return JSONResponse(service.describe())

    @app.post("/v1/predict", summary="One flight.", responses=_PREDICTION_REFUSALS)
    async def predict(question: FlightQuestion, request: Request) -> Response:
        (outcome,) = await grouped.add([Asked([question], tracing.of(request))])
        return _json(_answered(outcome)[0])

    @app.post(
        BATCH_PATH, summary="Up to 1,000 flights, answered in their order, all or none.", responses=_PREDICTION_REFUSALS
    )
    async def predict_batch(batch: FlightBatch, request: Request) -> Response:
        (outcome,) = await worker.run(lambda: service.answer([Asked(batch.flights, tracing.of(request))]))
        return _json(f'{{"predictions": [{", ".join(_answered(outcome))}]}}')

    refusals.handle(app)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(GoldpathError, _failed)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, token)


def _answered(outcome: list[str] | GoldpathError) -> list[str]:
    """The answers of a request; raises its error."""
    if isinstance(outcome, GoldpathError):
        raise outcome
    return outcome


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    body = FlightBatch if request.url.path == BATCH_PATH else FlightQuestion
    return invalid_request.refusal(error.errors(), body, tracing.of(request))


def _failed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GoldpathError)
    kind = FAILED
    if isinstance(error, WrongTime):
        kind = WRONG_TIME
    elif isinstance(error, RequestError):
        kind = UNKNOWN_FLIGHT
    elif isinstance(error, ServiceUnavailable):
        kind = UNAVAILABLE
    return from_error(kind, tracing.of(request), error)


def _broken(request: Request, error: Exception) -> JSONResponse:
    """Names the type of the exception alone; Starlette raises it again, and so it gets into the replica's log."""
    return problem(
        INTERNAL_ERROR,
        tracing.of(request),
        observed=type(error).__name__,
        expected="an answer",
        next_step="read the replica's log for this request id",
    )
