"""What callers get: the answers of the model, refusals that name what to correct, and nothing without a token."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assets.flights.service import FlightQuestion
from pipelines.features.on_demand import OnDemand
from pipelines.models import prediction_log
from pipelines.models.answers import Answer, Probability
from pipelines.settings import Settings
from serving.door.guard import MAX_BODY_BYTES
from serving.door.tracing import Trace
from serving.errors import NotANumber
from serving.predict.outcome import Answered, Asked
from serving.predict.service import PredictionService
from tests.serving.conftest import (
    NOW,
    NULL_FEATURE,
    QUESTION,
    SERVICE,
    Fill,
    Served,
    client_of,
    config_of,
    feature_value,
)

NOBODY = {
    "flight": "XX1",
    "origin": "AAA",
    "destination": "BBB",
    "scheduled_departure": "2013-11-01T05:15:00-04:00",
}


def _json(body: object) -> bytes:
    return json.dumps(body).encode()


def _logged(served: Served) -> list[dict[str, Any]]:
    return list(prediction_log.read(prediction_log.folder(served.settings, SERVICE)))


def _refused(response: Any) -> tuple[int, str]:
    """The status and the code of a refusal, which has to be a problem document."""
    document = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert document["status"] == response.status_code
    return response.status_code, document["type"].removeprefix("urn:goldpath:problem:")


def _ask(served: Served, **changes: Any) -> dict[str, Any]:
    response = served.client.post("/v1/predict", json=QUESTION | changes)
    assert response.status_code == 200, response.text
    return response.json()


def _expected(served: Served, answer: dict[str, Any], **changes: Any) -> float:
    """The model's own probability for the question and the features of the answer."""
    row: dict[str, Any] = dict(FlightQuestion.model_validate(QUESTION | changes).columns())
    row |= {name: feature["value"] for name, feature in answer["features"].items()}
    row |= {missing["feature"]: None for missing in answer["missing"]}
    return float(served.model.predict({name: [value] for name, value in row.items()})[0])


def test_the_answer_is_the_prediction_of_the_model_for_the_features_in_the_answer(served: Served) -> None:
    answer = _ask(served)
    assert answer["probability"] == _expected(served, answer)
    assert answer["subject"] == "2013-11-01-UA-1545-EWR"
    assert answer["decision"] == ("late" if answer["probability"] >= 0.5 else "on_time")
    assert answer["threshold"] == 0.5
    assert answer["model"] == {"name": "flights.arrival_delay", "version": 1, "digest": served.config.model.digest}
    assert answer["as_of"] == NOW.isoformat()
    assert answer["missing"] == []


def test_every_feature_of_the_answer_has_its_value_and_time(served: Served) -> None:
    features = _ask(served)["features"]
    midnight = datetime(2013, 11, 1, tzinfo=UTC)
    assert len(features) == 29
    assert features["origin_weather__temp"] == {
        "value": feature_value("origin_weather__temp", midnight),
        "timestamp": midnight.isoformat(),
    }
    assert features[NULL_FEATURE]["value"] is None


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"tail_number": "N99999"}, {"aircraft_history": "unknown entity"}),
        ({"tail_number": None}, {"aircraft_history": "no tailnum given"}),
        ({"flight": "UA77"}, {"flight_history": "unknown entity"}),
        ({"flight": "ZZ77"}, {"carrier_delays": "unknown entity", "flight_history": "unknown entity"}),
        ({"destination": "SJU"}, {"destination_delays": "unknown entity", "flight_history": "unknown entity"}),
    ],
)
def test_a_missing_feature_is_named_and_null_for_the_model(
    served: Served, changes: dict[str, Any], missing: dict[str, str]
) -> None:
    answer = _ask(served, **changes)
    assert {m["feature"].partition("__")[0]: m["reason"] for m in answer["missing"]} == missing
    assert not {m["feature"] for m in answer["missing"]} & answer["features"].keys()
    assert answer["probability"] == _expected(served, answer, **changes)


def test_a_flight_without_any_feature_is_refused_and_not_recorded(served: Served) -> None:
    before = len(_logged(served))
    response = served.client.post("/v1/predict", json=NOBODY)
    assert _refused(response) == (422, "unknown_subject")
    assert "carrier XX, dest BBB" in response.json()["observed"]
    assert len(_logged(served)) == before


def test_a_service_that_answers_about_unknown_subjects_names_what_is_missing(served: Served) -> None:
    service = PredictionService(served.config, served.settings)
    service.spec = dataclasses.replace(service.spec, answers_unknown=True)
    unknown = {"flight": "XX1", "origin": "AAA", "destination": "BBB", "tail_number": None}
    question = FlightQuestion.model_validate(QUESTION | unknown)
    [outcome] = service.answer([Asked([question], Trace("r1", None))])
    assert isinstance(outcome, Answered), outcome
    told = json.loads(outcome.texts[0])
    assert (told["subject"], told["features"]) == ("2013-11-01-XX-1-AAA", {})
    assert {missing["reason"] for missing in told["missing"]} == {"unknown entity", "no tailnum given"}
    assert told["probability"] == _expected(served, told, **unknown)


def test_a_model_that_needs_a_feature_serves_where_unknown_subjects_are_refused(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer without the feature is no number, as that of a program that imputes nothing."""
    service = PredictionService(served.config, served.settings)
    read, answer = "origin_weather__temp", service._model.answer

    def without_imputation(rows: Mapping[str, Any]) -> Sequence[Answer]:
        return [
            Probability(math.nan) if value is None else answered
            for value, answered in zip(rows[read], answer(rows), strict=True)
        ]

    monkeypatch.setattr(service._model, "answer", without_imputation)
    service.check()
    service.spec = dataclasses.replace(service.spec, answers_unknown=True)
    with pytest.raises(NotANumber, match="an answer of finite numbers"):
        service.check()


def test_on_demand_features_are_recorded_with_the_columns_of_the_question(served: Served) -> None:
    def compute(columns: Mapping[str, Any], pc: Any) -> Mapping[str, Any]:
        temp = columns["origin_weather__temp"]
        return {"twice": pc.multiply(temp, 2.0), "none": pc.divide(pc.multiply(temp, 0.0), 0.0)}

    outputs = {"twice": "double", "none": "double"}
    asked = OnDemand(name="asked", inputs={"origin_weather__temp": "double"}, outputs=outputs, compute=compute)
    service = PredictionService(served.config, served.settings)
    features = dataclasses.replace(service.spec.model.features, on_demand=(asked,))
    model = dataclasses.replace(service.spec.model, features=features)
    service.spec = dataclasses.replace(service.spec, model=model)
    service.answer([Asked([FlightQuestion.model_validate(QUESTION)], Trace("r1", None))])
    record = _logged(served)[-1]
    temp = record["features"]["origin_weather__temp"]["value"]
    assert {name: record["columns"][name] for name in features.computed} == {
        "asked__twice": 2 * temp,
        "asked__none": None,
    }


def test_a_batch_answers_as_single_questions_do_and_in_their_order(served: Served) -> None:
    changes: list[dict[str, Any]] = [{}, {"flight": "UA77"}, {"tail_number": None}]
    response = served.client.post("/v1/predict:batch", json={"questions": [QUESTION | change for change in changes]})
    answers = response.json()["predictions"]
    assert [a["subject"] for a in answers] == [_ask(served, **change)["subject"] for change in changes]
    singles = [_ask(served, **change)["probability"] for change in changes]
    assert [a["probability"] for a in answers] == singles
    assert [a["prediction_id"] for a in answers] == sorted(a["prediction_id"] for a in answers)


@pytest.mark.parametrize(
    "departure", ["1999-12-31T23:59:59Z", "2013-10-31T05:15:00-04:00", NOW.isoformat(), "2014-11-03T00:00:00Z", "2099-01-01T00:00:00Z"]
)  # fmt: skip
def test_a_flight_that_left_or_is_years_ahead_is_refused(served: Served, departure: str) -> None:
    changes = {"scheduled_departure": departure, "scheduled_arrival": None}
    response = served.client.post("/v1/predict", json=QUESTION | changes)
    assert response.status_code == 422
    assert response.json()["field"] == "scheduled_departure"
    batch = served.client.post("/v1/predict:batch", json={"questions": [QUESTION, QUESTION | changes]})
    assert (batch.status_code, batch.json()["field"]) == (422, "questions.1.scheduled_departure")


def test_a_batch_is_answered_all_or_none(served: Served) -> None:
    response = served.client.post("/v1/predict:batch", json={"questions": [QUESTION, NOBODY]})
    assert (response.status_code, response.json()["field"]) == (422, "questions.1.flight")


@pytest.mark.parametrize(
    ("changes", "field", "observed", "expected"),
    [
        ({"flight": "1545"}, "flight", "'1545'", "carrier code"),
        ({"flight": 1545}, "flight", "1545", "carrier code"),
        ({"origin": "ewr"}, "origin", "'ewr'", "three characters"),
        ({"origin": "x" * 500}, "origin", "…", "three characters"),
        ({"destination": "EWR"}, "destination", "is the origin", "other than the origin"),
        ({"tail_number": "'; --"}, "tail_number", "'; --", "registration"),
        ({"scheduled_departure": "2013-11-01T05:15:00"}, "scheduled_departure", "has no offset", "with its offset"),
        ({"scheduled_departure": "tomorrow"}, "scheduled_departure", "is not ISO 8601", "with its offset"),
        ({"scheduled_departure": 1383297300}, "scheduled_departure", "must be text", "with its offset"),
        ({"scheduled_departure": "0001-01-01T00:00:00+00:00"}, "scheduled_departure", "outside the", "2013-11-01"),
        ({"scheduled_arrival": "2013-11-01T10:15:00"}, "scheduled_arrival", "has no offset", "with its offset"),
        ({"scheduled_arrival": "2013-11-01T05:16:00-04:00"}, "scheduled_arrival", "1 minutes after", "20 to 1200"),
        ({"delay": 5}, "delay", "an unknown field", "only flight, origin"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_the_allowed_values(
    served: Served, changes: dict[str, Any], field: str, observed: str, expected: str
) -> None:
    response = served.client.post("/v1/predict", json=QUESTION | changes)
    document = response.json()
    assert (*_refused(response), document["field"]) == (422, "invalid_request", field)
    assert observed in document["observed"]
    assert expected in document["expected"]
    assert document["detail"] == f"{field}: {document['observed']}; expected {document['expected']}."
    assert document["next_step"]
    assert len(response.text) < 1500


@pytest.mark.parametrize("field", ["flight", "origin", "destination", "scheduled_departure"])
def test_an_absent_field_is_named(served: Served, field: str) -> None:
    response = served.client.post("/v1/predict", json={k: v for k, v in QUESTION.items() if k != field})
    assert (response.status_code, response.json()["field"], response.json()["observed"]) == (422, field, "absent")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/predict", b"{", "body"),
        ("/v1/predict", b"", "body"),
        ("/v1/predict", b"[]", "body"),
        ("/v1/predict:batch", b'{"questions": []}', "questions"),
        ("/v1/predict:batch", b'{"questions": 3}', "questions"),
        ("/v1/predict:batch", b'{"questions": ["UA1545"]}', "questions.0"),
        ("/v1/predict:batch", _json({"questions": [QUESTION, QUESTION | {"origin": "?"}]}), "questions.1.origin"),
        ("/v1/predict:batch", _json({"questions": [QUESTION] * 1001}), "questions"),
        ("/v1/predict:batch", _json({"questions": [QUESTION], "all": True}), "all"),
    ],
)
def test_a_wrong_body_is_refused(served: Served, path: str, body: bytes, field: str) -> None:
    response = served.client.post(path, content=body, headers={"content-type": "application/json"})
    assert (*_refused(response), response.json()["field"]) == (422, "invalid_request", field)


def test_all_wrong_fields_are_named_at_once(served: Served) -> None:
    document = served.client.post("/v1/predict", json=QUESTION | {"flight": "?", "origin": "?"}).json()
    assert [document["field"], *(other["field"] for other in document["also"])] == ["flight", "origin"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_refused(served: Served, chunked: bool) -> None:
    part = b" " * (MAX_BODY_BYTES // 4)
    content = iter([part] * 5) if chunked else part * 5
    response = served.client.post("/v1/predict", content=content, headers={"content-type": "application/json"})
    assert _refused(response) == (413, "body_too_large")


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Bearer", "Basic wrong"])
@pytest.mark.parametrize(
    "operation",
    ["POST /v1/predict", "POST /v1/predict:batch", "GET /v1/model", "GET /openapi.json", "GET /unheard-of"],
)
def test_every_operation_but_health_is_refused_without_the_token(
    served: Served, authorization: str, operation: str
) -> None:
    method, path = operation.split()
    response = served.client.request(method, path, json=QUESTION, headers={"Authorization": authorization})
    assert _refused(response) == (401, "unauthorized")
    assert response.headers["www-authenticate"] == 'Bearer realm="goldpath"'


def test_health_needs_no_token(served: Served) -> None:
    for path, status in (("/healthz", "alive"), ("/readyz", "ready")):
        response = served.client.get(path, headers={"Authorization": ""})
        assert (response.status_code, response.json()) == (200, {"status": status})


def test_the_service_is_not_ready_before_the_store_is_filled(
    make_settings: Callable[[], Settings], models: tuple[Path, Path], fill: Fill
) -> None:
    settings = make_settings()
    client = client_of(settings, config_of(models[0]))
    assert client.get("/healthz").status_code == 200
    assert _refused(client.get("/readyz")) == (503, "not_ready")
    refused = client.post("/v1/predict", json=QUESTION)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    fill(settings, NOW)
    assert client.get("/readyz").status_code == 200
    assert client.post("/v1/predict", json=QUESTION).status_code == 200


def test_a_readiness_check_is_not_recorded(served: Served) -> None:
    before = len(_logged(served))
    assert served.client.get("/readyz").status_code == 200
    assert len(_logged(served)) == before


def test_the_model_describes_itself(served: Served) -> None:
    described = served.client.get("/v1/model").json()
    identity = {"name": "flights.arrival_delay", "version": 1, "digest": served.config.model.digest}
    assert identity.items() <= described.items()
    assert (described["metrics"], described["feature_service"]) == ({"gate_auc": 0.7}, "flights.arrival_delay_v1")
    assert described["inputs"] == list(served.model.inputs)


def test_unknown_operations_are_refused_with_a_problem_document(served: Served) -> None:
    assert _refused(served.client.get("/v2")) == (404, "not_found")
    wrong_method = served.client.get("/v1/predict")
    assert (*_refused(wrong_method), wrong_method.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert served.client.get("/docs").status_code == 404


def test_a_refusal_names_its_request(served: Served) -> None:
    response = served.client.post("/v1/predict", json={}, headers={"x-request-id": "call-8"})
    assert response.json()["instance"] == "urn:goldpath:request:call-8"


def test_the_openapi_document_declares_problem_documents(served: Served) -> None:
    paths = served.client.get("/openapi.json").json()["paths"]
    declared = paths["/v1/predict"]["post"]["responses"]
    assert declared.keys() == {"200", "400", "401", "408", "413", "422", "500", "503"}
    assert all("application/problem+json" in declared[status]["content"] for status in declared if status != "200")


def test_the_ids_of_the_caller_are_returned_and_recorded(served: Served) -> None:
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    headers = {"traceparent": parent, "x-request-id": "call-7"}
    response = served.client.post("/v1/predict", json=QUESTION, headers=headers)
    assert response.headers["traceparent"] == parent
    record = _logged(served)[-1]
    assert (record["request_id"], record["traceparent"]) == ("call-7", parent)


def test_an_invalid_trace_context_of_the_caller_is_left_out(served: Served) -> None:
    response = served.client.post("/v1/predict", json=QUESTION, headers={"traceparent": "00-x"})
    assert "traceparent" not in response.headers
    assert _logged(served)[-1]["traceparent"] is None


@pytest.mark.parametrize("given", ["a b", "x" * 129, "id;1", "a/b"])
def test_an_invalid_request_id_is_refused_and_nothing_is_recorded(served: Served, given: str) -> None:
    before = len(_logged(served))
    response = served.client.post("/v1/predict", json=QUESTION, headers={"x-request-id": given})
    assert (*_refused(response), response.json()["field"]) == (400, "invalid_request_id", "x-request-id")
    assert len(_logged(served)) == before


def test_the_record_is_the_answer_with_its_question_and_inputs(served: Served) -> None:
    answer = _ask(served)
    record = _logged(served)[-1]
    assert {name: record[name] for name in answer} == answer
    assert record["columns"] == FlightQuestion.model_validate(QUESTION).columns()
    assert record["question"]["scheduled_departure"] == "2013-11-01T09:15:00Z"
    assert record["feature_service"] == "flights.arrival_delay_v1"
    assert datetime.fromisoformat(record["answered_at"]).tzinfo is not None


def test_a_prediction_that_cannot_be_recorded_is_refused(
    make_settings: Callable[[], Settings], models: tuple[Path, Path], fill: Fill
) -> None:
    settings = make_settings()
    fill(settings, NOW)
    client = client_of(settings, config_of(models[0]))
    prediction_log.folder(settings, SERVICE).mkdir(parents=True)
    (prediction_log.folder(settings, SERVICE) / f"{NOW.date()}.jsonl").mkdir()
    response = client.post("/v1/predict", json=QUESTION)
    assert _refused(response) == (503, "unavailable")
    assert "prediction log" in response.json()["field"]


def test_a_wrong_setting_of_the_service_is_refused_with_a_problem_document(
    make_settings: Callable[[], Settings], models: tuple[Path, Path], fill: Fill
) -> None:
    settings = make_settings().model_copy(update={"clock": "five o'clock"})
    fill(settings, NOW)
    client = client_of(settings, config_of(models[0]))
    response = client.post("/v1/predict", json=QUESTION)
    assert (*_refused(response), response.json()["field"]) == (500, "failed", "GOLDPATH_CLOCK")


def test_a_wrong_question_among_simultaneous_ones_is_refused_alone(served: Served) -> None:
    questions = [NOBODY if number % 3 == 0 else QUESTION | {"flight": f"UA{number}"} for number in range(1, 31)]
    with ThreadPoolExecutor(16) as callers:
        responses = list(callers.map(lambda body: served.client.post("/v1/predict", json=body), questions))
    assert [response.status_code for response in responses] == [422 if q is NOBODY else 200 for q in questions]


def test_each_of_several_simultaneous_questions_gets_its_own_answer(served: Served) -> None:
    changes = [{"flight": f"UA{number}"} for number in range(1, 41)]
    with ThreadPoolExecutor(32) as callers:
        answers = list(callers.map(lambda change: _ask(served, **change), changes))
    assert [a["subject"] for a in answers] == [f"2013-11-01-UA-{number}-EWR" for number in range(1, 41)]
    assert all(a["probability"] == _expected(served, a, **change) for a, change in zip(answers, changes, strict=True))
