"""The refusals that every tier answers alike: a body too large or too slow, and an operation that does not exist."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serving.door import tracing
from serving.door.guard import MAX_BODY_BYTES, MAX_BODY_SECONDS, BodyTooLarge, BodyTooSlow
from serving.door.problems import BODY_TOO_LARGE, BODY_TOO_SLOW, ProblemType, problem


def handle(app: FastAPI) -> None:
    """Makes an application answer each with a problem document."""
    app.add_exception_handler(BodyTooLarge, _too_large)
    app.add_exception_handler(BodyTooSlow, _too_slow)
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


def _too_slow(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BodyTooSlow)
    return problem(
        BODY_TOO_SLOW,
        tracing.of(request),
        field="body",
        observed=f"it was not complete after {MAX_BODY_SECONDS:g} s",
        expected=f"a body that arrives within {MAX_BODY_SECONDS:g} s",
        next_step="send it at once, or in several smaller requests",
        headers=error.headers,
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
