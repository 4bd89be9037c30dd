"""One shape for every refusal: which field, what was seen, what is allowed and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipelines.errors import GoldpathError
from serving.predict.flight_request import FlightBatch, FlightQuestion

SHOWN = 80
MAX_PROBLEMS = 20
_FIELDS: Mapping[str, FieldInfo] = {**FlightBatch.model_fields, **FlightQuestion.model_fields}


def problem(
    status: int,
    error: str,
    *,
    field: str | None = None,
    observed: str,
    expected: str,
    next_step: str,
    also: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer to a request that is refused; `also` lists further fields that are wrong."""
    body = {"error": error, "field": field, "observed": observed, "expected": expected, "next_step": next_step}
    return JSONResponse(body | {"also": list(also)}, status, headers=dict(headers or {}))


def from_error(status: int, name: str, error: GoldpathError) -> JSONResponse:
    """The same from an error of ours."""
    retry = {"Retry-After": "1"} if status == 503 else None
    return problem(
        status, name, field=error.object, observed=error.observed, expected=error.expected, next_step=error.next_step,
        headers=retry,
    )  # fmt: skip


def from_validation(errors: Sequence[Mapping[str, Any]], body: type[BaseModel]) -> JSONResponse:
    """422 from the errors of pydantic, by field of the `body` that was expected."""
    found = [_explain(error, body) for error in errors[:MAX_PROBLEMS]]
    first = found[0]
    return problem(
        422, "invalid_request", field=first["field"], observed=first["observed"], expected=first["expected"],
        next_step="correct the field; GET /openapi.json describes them all", also=found[1:],
    )  # fmt: skip


def _explain(error: Mapping[str, Any], body: type[BaseModel]) -> dict[str, str]:
    kind, path = error["type"], [str(part) for part in error["loc"][1:]]
    field = ".".join(path) or "body"
    if kind == "json_invalid":
        return {"field": "body", "observed": f"no JSON: {error['ctx']['error']}", "expected": "a JSON object"}
    if kind == "extra_forbidden":
        known = body.model_fields if len(path) == 1 else FlightQuestion.model_fields
        return {"field": field, "observed": "an unknown field", "expected": f"only {', '.join(known)}"}
    named = next((_FIELDS[part] for part in reversed(path) if part in _FIELDS), None)
    expected = named.description if named and named.description else "a JSON object"
    if path and path[-1].isdigit():
        expected = "a JSON object that describes one flight"
    if kind == "missing":
        return {"field": field, "observed": "absent", "expected": expected}
    why = f", which {error['ctx']['error']}" if kind == "value_error" else ""
    return {"field": field, "observed": f"{_shown(error['input'])}{why}", "expected": expected}


def _shown(value: object) -> str:
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
