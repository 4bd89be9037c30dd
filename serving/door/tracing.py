"""By what a request is found again: its request id and the W3C trace context of its caller."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.requests import Request

#: The key of the ASGI scope under which the guard keeps the request's `Trace`.
SCOPE_KEY = "goldpath.trace"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Trace:
    """The identity of one request.

    Attributes:
        request_id: The caller's `x-request-id`; a new UUID where it sent none, or an invalid one, which is refused.
        traceparent: The caller's trace context in version 00; None where it sent no valid one.
    """

    request_id: str
    traceparent: str | None


def from_headers(headers: Mapping[bytes, bytes]) -> Trace:
    """The trace of a request with these headers, whose names are in lower case."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return Trace(
        request_id=given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4()),
        traceparent=_traceparent(headers.get(b"traceparent", b"").decode("latin-1")),
    )


def invalid_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The request id that the caller sent, if it is not valid; None if it is, or if there is none.

    It cannot be replaced by another: Ray Serve's proxy returns whatever the caller sent, and no log would know it.
    """
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if given and not _REQUEST_ID.fullmatch(given) else None


def of(request: Request) -> Trace:
    """The trace that the guard found in a request."""
    trace: Trace = request.scope[SCOPE_KEY]
    return trace


def _traceparent(value: str) -> str | None:
    if not value:
        return None
    context = get_current_span(_PROPAGATOR.extract({"traceparent": value})).get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
