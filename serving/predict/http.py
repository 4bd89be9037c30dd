"""The HTTP interface of a prediction service: its operations, and the response to each outcome."""

from __future__ import annotations

import functools
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.types import ASGIApp

from pipelines.errors import GoldpathError
from pipelines.models.question import Question
from serving.door import refusals, tracing
from serving.door.access import TokenCheck
from serving.door.guard import Guard
from serving.door.problems import (
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    INVALID_REQUEST_ID,
    UNAUTHORIZED,
    UNAVAILABLE,
    ProblemType,
    from_error,
    problem,
    responses,
)
from serving.errors import RequestError, ServiceUnavailable, WrongTime
from serving.predict import invalid_request
from serving.predict.invalid_request import INVALID_REQUEST
from serving.predict.outcome import QUESTIONS
from serving.predict.router import Router

BATCH_PATH = "/v1/predict:batch"
MAX_QUESTIONS = 1000

UNKNOWN_SUBJECT = ProblemType("unknown_subject", 422, "Nothing is known about the subject of the question")
WRONG_TIME = ProblemType("wrong_time", 422, "The question is about an instant that cannot be predicted now")
NOT_READY = ProblemType("not_ready", 503, "The service is not ready to predict")
FAILED = ProblemType("failed", 500, "The service failed with an error that its operator has to correct")
INTERNAL_ERROR = ProblemType("internal_error", 500, "The service has a defect")
_PREDICTION_REFUSALS = responses(
    INVALID_REQUEST_ID,
    UNAUTHORIZED,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    INVALID_REQUEST,
    UNKNOWN_SUBJECT,
    WRONG_TIME,
    FAILED,
    INTERNAL_ERROR,
    UNAVAILABLE,
)


def create(router: Router, token: TokenCheck) -> ASGIApp:
    """The application; every operation but `/healthz` and `/readyz` needs the token."""
    # Without pages of documentation, which load scripts from other sites; the OpenAPI document itself is served.
    service, spec = router.service, router.service.spec
    app = FastAPI(
        title=spec.name, description=spec.model.question, version="1", docs_url=None, redoc_url=None,
        servers=[{"url": spec.route}],
    )  # fmt: skip
    batch_class = batch_of(spec.question)

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
            await router.worker.run(service.check)
        except GoldpathError as error:
            return from_error(NOT_READY, tracing.of(request), error)
        return JSONResponse({"status": "ready"})

    @app.get("/v1/model", summary="Which model answers.", responses=responses(UNAUTHORIZED))
    async def model() -> JSONResponse:
        return JSONResponse(service.describe())

    async def predict(question: Any, request: Request) -> Response:
        (answer,) = await router.answer([question], tracing.of(request))
        return _json(answer)

    async def predict_batch(batch: Any, request: Request) -> Response:
        answers = await router.answer(getattr(batch, QUESTIONS), tracing.of(request))
        return _json(f'{{"predictions": [{", ".join(answers)}]}}')

    # FastAPI reads a body's class from the annotation; this one is known only when the service is.
    predict.__annotations__["question"] = spec.question
    predict_batch.__annotations__["batch"] = batch_class
    app.post("/v1/predict", summary="One question.", responses=_PREDICTION_REFUSALS)(predict)
    several = f"Up to {MAX_QUESTIONS:,} questions, answered in their order, all or none."
    app.post(BATCH_PATH, summary=several, responses=_PREDICTION_REFUSALS)(predict_batch)
    refusals.handle(app)
    app.add_exception_handler(RequestValidationError, functools.partial(_invalid, spec.question, batch_class))
    app.add_exception_handler(GoldpathError, _failed)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, token)


def batch_of(question: type[Question]) -> type[BaseModel]:
    """The class of a request with several questions, answered together or not at all."""
    questions: Any = Field(
        min_length=1, max_length=MAX_QUESTIONS, description=f"a list of 1 to {MAX_QUESTIONS} questions"
    )
    fields: dict[str, Any] = {QUESTIONS: (list[question], questions)}  # ty: ignore[invalid-type-form]
    config = ConfigDict(frozen=True, extra="forbid")
    return create_model(f"{question.__name__}Batch", __config__=config, **fields)


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


def _invalid(question: type[Question], batch: type[BaseModel], request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    body = batch if request.url.path.endswith(BATCH_PATH) else None
    return invalid_request.refusal(error.errors(), question, body, tracing.of(request))


def _failed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GoldpathError)
    kind = FAILED
    if isinstance(error, WrongTime):
        kind = WRONG_TIME
    elif isinstance(error, RequestError):
        kind = UNKNOWN_SUBJECT
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
