"""The refusals that every tier answers alike: a body that is too large, and an operation that does not exist."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serving.door import tracing
from serving.door.guard import MAX_BODY_BYTES, BodyTooLarge
from serving.door.problems import BODY_TOO_LARGE, ProblemType, problem


def handle(app: FastAPI) -> None:
    """Makes an application answer both with problem documents."""
    app.add_exception_handler(BodyTooLarge, _too_large)
    app.add_exception_handler(HTTPException, _not_served)


def _too_large(request: Request, error: Exception) -> JSONResponse:
    return problem(
        BODY_TOO_LARGE,
        tracing.of(request),
        field="body",
        observed=f"more than {MAX_BODY_BYTES} bytes",
        expected=f"at most {MAX_BODY_BYTES} bytes",
        next_step="send it in several smaller requests",
    )


def _not_served(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    return problem(
        ProblemType(phrase.lower().replace(" ", "_"), error.status_code, phrase),
        tracing.of(request),
        observed=f"{request.method} {request.url.path} ({error.detail})",
        expected="an operation of this service",
        next_step="GET /openapi.json lists them",
        headers=error.headers,
    )
