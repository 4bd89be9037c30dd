"""Explains which fields of a request are invalid, from the errors of pydantic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serving.door.problems import ProblemResponse, ProblemType, problem
from serving.door.tracing import Trace
from serving.predict.flight_request import FlightBatch, FlightQuestion

INVALID_REQUEST = ProblemType("invalid_request", 422, "A field of the request is absent, unknown or has a wrong value")
MAX_VALUE_CHARACTERS = 80
MAX_FIELDS = 20
_FIELDS: Mapping[str, FieldInfo] = {**FlightBatch.model_fields, **FlightQuestion.model_fields}


def refusal(errors: Sequence[Mapping[str, Any]], body: type[BaseModel], trace: Trace) -> ProblemResponse:
    """The answer to a request whose body does not fit the model `body`; it names the first 20 wrong fields."""
    first, *others = [_explain(error, body) for error in errors[:MAX_FIELDS]]
    return problem(
        INVALID_REQUEST,
        trace,
        field=first["field"],
        observed=first["observed"],
        expected=first["expected"],
        next_step="correct the field; GET /openapi.json describes them all",
        also=others,
    )


def _explain(error: Mapping[str, Any], body: type[BaseModel]) -> dict[str, str]:
    kind, path = error["type"], [str(part) for part in error["loc"][1:]]
    field = ".".join(path) or "body"
    if kind == "json_invalid":
        return {"field": "body", "observed": f"no JSON: {error['ctx']['error']}", "expected": "a JSON object"}
    if kind == "extra_forbidden":
        known = body.model_fields if len(path) == 1 else FlightQuestion.model_fields
        return {"field": field, "observed": "an unknown field", "expected": f"only {', '.join(known)}"}
    declared = next((_FIELDS[part] for part in reversed(path) if part in _FIELDS), None)
    expected = declared.description if declared and declared.description else "a JSON object"
    if path and path[-1].isdigit():
        expected = "a JSON object that describes one flight"
    if kind == "missing":
        return {"field": field, "observed": "absent", "expected": expected}
    why = f", which {error['ctx']['error']}" if kind == "value_error" else ""
    return {"field": field, "observed": f"{_shown(error['input'])}{why}", "expected": expected}


def _shown(value: object) -> str:
    """A value in at most 80 characters."""
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[:MAX_VALUE_CHARACTERS]}…"
