"""Explains which fields of a request are invalid, from the errors of pydantic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from serving.door.problems import ProblemResponse, ProblemType, problem
from serving.door.tracing import Trace

INVALID_REQUEST = ProblemType("invalid_request", 422, "A field of the request is absent, unknown or has a wrong value")
MAX_VALUE_CHARACTERS = 80
MAX_FIELDS = 20


def refusal(
    errors: Sequence[Mapping[str, Any]], question: type[BaseModel], batch: type[BaseModel] | None, trace: Trace
) -> ProblemResponse:
    """The answer to a request whose body does not fit; it names the first 20 wrong fields.

    Args:
        errors: Pydantic's.
        question: The class of one question.
        batch: The class of the body; None where it is a question itself.
        trace: Of the request.
    """
    first, *others = [_explain(error, question, batch) for error in errors[:MAX_FIELDS]]
    return problem(
        INVALID_REQUEST,
        trace,
        field=first["field"],
        observed=first["observed"],
        expected=first["expected"],
        next_step="correct the field; GET /openapi.json describes them all",
        also=others,
    )


def _explain(error: Mapping[str, Any], question: type[BaseModel], batch: type[BaseModel] | None) -> dict[str, str]:
    fields = {**(batch.model_fields if batch else {}), **question.model_fields}
    kind, path = error["type"], [str(part) for part in error["loc"][1:]]
    field = ".".join(path) or "body"
    if kind == "json_invalid":
        return {"field": "body", "observed": f"no JSON: {error['ctx']['error']}", "expected": "a JSON object"}
    if kind == "extra_forbidden":
        known = batch.model_fields if batch and len(path) == 1 else question.model_fields
        return {"field": field, "observed": "an unknown field", "expected": f"only {', '.join(known)}"}
    declared = next((fields[part] for part in reversed(path) if part in fields), None)
    expected = declared.description if declared and declared.description else "a JSON object"
    if path and path[-1].isdigit():
        expected = "a JSON object that is one question"
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
