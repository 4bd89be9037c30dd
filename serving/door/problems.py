"""Refusals as problem documents (RFC 9457), the same for every tier.

A document has the standard members `type`, `title`, `status`, `detail` and `instance`, and as extension members
`field`, `observed`, `expected`, `next_step` and `also`, which lists further wrong fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from pipelines.errors import GoldpathError
from serving.door.tracing import Trace

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of refusal.

    Attributes:
        code: The last part of `type`, by which a program tells the kinds apart; it never changes.
        status: The HTTP status.
        title: What the kind means, the same for every occurrence.
    """

    code: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        """The member `type`."""
        return f"urn:goldpath:problem:{self.code}"


INVALID_REQUEST_ID = ProblemType("invalid_request_id", 400, "The request id is not valid")
UNAUTHORIZED = ProblemType("unauthorized", 401, "The bearer token is absent or wrong")
BODY_TOO_LARGE = ProblemType("body_too_large", 413, "The body of the request is too large")
BODY_TOO_SLOW = ProblemType("body_too_slow", 408, "The body of the request did not arrive in time")
UNAVAILABLE = ProblemType("unavailable", 503, "The service cannot answer now; the same request may be answered later")


class ProblemDocument(BaseModel):
    """The body of a refusal."""

    type: str = Field(description="the kind of refusal, urn:goldpath:problem:CODE")
    title: str = Field(description="what the kind means")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what is wrong with this request, in one sentence")
    instance: str = Field(description="this occurrence, urn:goldpath:request:REQUEST_ID")
    field: str | None = Field(description="what is wrong: a field of the body, a header, or a part of the service")
    observed: str = Field(description="what was there")
    expected: str = Field(description="what would have been right")
    next_step: str = Field(description="what the caller can do")
    also: list[dict[str, str]] = Field(description="further wrong fields, each with field, observed and expected")


class ProblemResponse(JSONResponse):
    """A response whose body is a problem document."""

    media_type = MEDIA_TYPE


def problem(
    kind: ProblemType,
    trace: Trace,
    *,
    field: str | None = None,
    observed: str,
    expected: str,
    next_step: str,
    also: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """The answer to a request that is refused; a 503 says when to try again."""
    document = ProblemDocument(
        type=kind.uri,
        title=kind.title,
        status=kind.status,
        detail=f"{f'{field}: ' if field else ''}{observed}; expected {expected}.",
        instance=f"urn:goldpath:request:{trace.request_id}",
        field=field,
        observed=observed,
        expected=expected,
        next_step=next_step,
        also=[dict(other) for other in also],
    )
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)} if kind.status == 503 else {}
    return ProblemResponse(document.model_dump(), kind.status, headers=retry | dict(headers or {}))


def from_error(kind: ProblemType, trace: Trace, error: GoldpathError) -> ProblemResponse:
    """The answer to a request that failed with one of our errors."""
    return problem(
        kind,
        trace,
        field=error.object,
        observed=error.observed,
        expected=error.expected,
        next_step=error.next_step,
    )


def responses(*kinds: ProblemType) -> dict[int | str, dict[str, Any]]:
    """The refusals of an operation, as FastAPI's `responses` declares them in the OpenAPI document."""
    titles: dict[int, list[str]] = {}
    for kind in kinds:
        titles.setdefault(kind.status, []).append(f"{kind.title} (`{kind.code}`)")
    content = {MEDIA_TYPE: {"schema": ProblemDocument.model_json_schema()}}
    return {status: {"description": "; ".join(lines), "content": content} for status, lines in titles.items()}
