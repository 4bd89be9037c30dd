"""Refusals are problem documents as RFC 9457 defines them."""

from __future__ import annotations

import json

from fastapi import FastAPI

from pipelines.errors import NotFoundError
from serving.door.problems import UNAVAILABLE, ProblemType, from_error, problem, responses
from serving.door.tracing import Trace

TRACE = Trace(request_id="call-7", traceparent=None)
TAKEN = ProblemType("id_taken", 409, "Another event was taken under this id")


def test_a_refusal_has_the_standard_members_and_ours() -> None:
    others = [{"field": "origin", "observed": "absent", "expected": "a code"}]
    response = problem(
        TAKEN, TRACE, field="id", observed="'7'", expected="a new id", next_step="change it", also=others
    )
    assert (response.status_code, response.headers["content-type"]) == (409, "application/problem+json")
    assert "retry-after" not in response.headers
    assert json.loads(bytes(response.body)) == {
        "type": "urn:goldpath:problem:id_taken",
        "title": "Another event was taken under this id",
        "status": 409,
        "detail": "id: '7'; expected a new id.",
        "instance": "urn:goldpath:request:call-7",
        "field": "id",
        "observed": "'7'",
        "expected": "a new id",
        "next_step": "change it",
        "also": others,
    }


def test_a_refusal_that_concerns_no_field_says_so() -> None:
    response = problem(TAKEN, TRACE, observed="GET /v2", expected="a path", next_step="look")
    document = json.loads(bytes(response.body))
    assert (document["field"], document["detail"]) == (None, "GET /v2; expected a path.")


def test_an_error_of_ours_becomes_a_refusal_with_its_facts() -> None:
    error = NotFoundError(object="store", observed="empty", expected="a filled one", next_step="fill it")
    response = from_error(UNAVAILABLE, TRACE, error)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    document = json.loads(bytes(response.body))
    assert [document[name] for name in ("field", "observed", "expected", "next_step")] == [
        "store",
        "empty",
        "a filled one",
        "fill it",
    ]


def test_the_openapi_document_declares_the_refusals_of_an_operation() -> None:
    app = FastAPI()

    @app.get("/", responses=responses(TAKEN, ProblemType("gone", 409, "It is gone"), UNAVAILABLE))
    def operation() -> None: ...

    declared = app.openapi()["paths"]["/"]["get"]["responses"]
    assert declared["409"]["description"] == "Another event was taken under this id (`id_taken`); It is gone (`gone`)"
    schema = declared["503"]["content"]["application/problem+json"]["schema"]
    assert {"type", "title", "status", "detail", "instance", "field", "next_step"} <= schema["properties"].keys()
