"""Two versions of a service in this process: each question has its arm, and no caller suffers from the candidate."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from assets.flights.service import FlightQuestion
from pipelines.errors import ModelError
from pipelines.models import prediction_log
from pipelines.models.answers import Probability
from pipelines.rollout import evidence, routes
from pipelines.rollout.routes import Route
from pipelines.settings import Settings
from serving.door.tracing import Trace
from serving.errors import RequestError
from serving.predict import calls, evidence_log, mirror
from serving.predict.config import ServiceConfig
from serving.predict.outcome import Answered, Asked, Outcome
from serving.predict.service import PredictionService
from tests.serving.conftest import NOW, QUESTION, SERVICE, Fill, client_of, config_of
from tests.serving.predict.test_http import NOBODY


@dataclass
class InProcess:
    """The second model, as a candidate in this process; `instead` replaces what it does."""

    service: PredictionService
    instead: Callable[[Asked], Outcome | str] | None = None
    seconds: float = 0.0
    asked: list[Asked] = field(default_factory=list)

    async def ask(self, asked: Sequence[Asked], digest: str, seconds: float) -> list[Outcome | str]:
        self.asked += asked
        await asyncio.sleep(self.seconds)
        if self.instead is not None:
            return [self.instead(each) for each in asked]
        return [outcome for each in asked for outcome in self.service.compute([each])]


@dataclass(frozen=True)
class Rolling:
    """A service during a rollout of the second model."""

    settings: Settings
    stable: ServiceConfig
    second: ServiceConfig
    candidate: InProcess
    client: TestClient
    rollout: str

    def divide(self, **changes: Any) -> Route:
        """Begins a route, which the service has read when this returns."""
        route = Route(
            rollout=self.rollout, plan="canary", stage=1, share=1.0, assigned_by="", deadline_seconds=5.0,
            candidate=self.second.model.model_dump(include={"name", "version", "digest"}),
        )  # fmt: skip
        routes.write(self.settings, SERVICE, replace(route, **changes))
        time.sleep(routes.LOOK_SECONDS)
        return route

    def ask(self, **changes: Any) -> dict[str, Any]:
        response = self.client.post("/v1/predict", json=QUESTION | changes)
        assert response.status_code == 200, response.text
        return response.json()

    def ask_together(self, count: int, **headers: str) -> list[dict[str, Any]]:
        questions = [QUESTION | {"flight": f"UA{number}"} for number in range(1, count + 1)]
        response = self.client.post("/v1/predict:batch", json={"questions": questions}, headers=headers)
        assert response.status_code == 200, response.text
        return response.json()["predictions"]

    def lines(self, count: int) -> list[dict[str, Any]]:
        """The evidence, as soon as it has so many lines."""
        folder = evidence.folder(self.settings, SERVICE, self.rollout)
        deadline = time.monotonic() + 20
        while True:
            lines = list(evidence.Reader(folder).new())
            if len(lines) >= count or time.monotonic() > deadline:
                assert len(lines) == count
                return lines
            time.sleep(0.02)

    def logged(self) -> list[dict[str, Any]]:
        return list(prediction_log.read(prediction_log.folder(self.settings, SERVICE)))


@pytest.fixture(scope="module")
def served_twice(
    make_settings: Callable[[], Settings], fill: Fill, models: tuple[Path, Path]
) -> Iterator[tuple[Settings, ServiceConfig, ServiceConfig, InProcess, TestClient]]:
    settings, stable, second = make_settings(), config_of(models[0]), config_of(models[1], version=2)
    fill(settings, NOW)
    candidate = InProcess(PredictionService(second, settings))
    with client_of(settings, stable, candidate) as client:
        yield settings, stable, second, candidate, client


@pytest.fixture
def rolling(request: pytest.FixtureRequest, served_twice: Any) -> Iterator[Rolling]:
    settings, stable, second, candidate, client = served_twice
    candidate.instead, candidate.seconds, candidate.asked = None, 0.0, []
    yield Rolling(settings, stable, second, candidate, client, request.node.name.replace("/", "-"))
    routes.remove(settings, SERVICE)
    time.sleep(routes.LOOK_SECONDS)


def test_without_a_route_answers_name_no_plan_and_leave_no_evidence(rolling: Rolling) -> None:
    answers = [rolling.ask(), *rolling.ask_together(3)]
    expected = rolling.stable.model.model_dump(include={"name", "version", "digest"})
    assert [answer["model"] for answer in answers] == [expected] * 4
    assert [record["model"] for record in rolling.logged()[-4:]] == [expected] * 4
    assert rolling.candidate.asked == []
    assert not (rolling.settings.root / "rollouts" / SERVICE / rolling.rollout).exists()


def test_the_candidate_answers_its_questions_and_every_answer_names_its_version_and_arm(rolling: Rolling) -> None:
    rolling.divide()
    answer = rolling.ask()
    assert answer["model"] == {
        "name": SERVICE, "version": 2, "digest": rolling.second.model.digest, "plan": "canary", "arm": "candidate"
    }  # fmt: skip
    record = rolling.logged()[-1]
    assert {name: record[name] for name in answer} == answer
    assert (record["question"]["flight"], record["columns"]["carrier"]) == ("UA1545", "UA")
    (line,) = rolling.lines(1)
    assert (line["stage"], line["arm"], line["mirrored"], line["failed"]) == (1, "candidate", False, None)
    assert line["ms"] >= line["cpu_ms"] > 0
    said = {name: answer[name] for name in ("probability", "decision", "threshold")}
    assert line["answers"] == [{"id": answer["prediction_id"], "said": said, "missing": 0.0, "fields": {}}]


def test_a_batch_is_divided_and_put_together_in_its_order(rolling: Rolling) -> None:
    route = rolling.divide(share=0.5, fields=("origin", "flight"))
    answers = rolling.ask_together(40, **{"x-request-id": "batch-1"})
    arms = [replace(route, share=0.5).arm(f"batch-1/{place}") for place in range(40)]
    assert set(arms) == {"stable", "candidate"}
    assert [answer["model"]["arm"] for answer in answers] == arms
    assert [answer["model"]["version"] for answer in answers] == [1 if arm == "stable" else 2 for arm in arms]
    assert [answer["subject"] for answer in answers] == [f"2013-11-01-UA-{number}-EWR" for number in range(1, 41)]
    assert {record["prediction_id"] for record in rolling.logged()[-40:]} == {a["prediction_id"] for a in answers}
    lines = {line["arm"]: line for line in rolling.lines(2)}
    for arm, line in lines.items():
        own = [answer for answer, its in zip(answers, arms, strict=True) if its == arm]
        assert [told["id"] for told in line["answers"]] == [answer["prediction_id"] for answer in own]
        assert [told["said"]["probability"] for told in line["answers"]] == [a["probability"] for a in own]
    assert lines["stable"]["answers"][0]["fields"] == {"origin": "EWR", "flight": f"UA{arms.index('stable') + 1}"}
    # 13 of the 29 features are of the flight, which the store does not know
    missing = len(answers[0]["missing"])
    assert lines["stable"]["answers"][0]["missing"] == pytest.approx(missing / 29)


def test_questions_with_one_value_of_the_assigned_field_have_one_arm_while_the_share_grows(rolling: Rolling) -> None:
    arms: dict[float, list[str]] = {}
    for share in (0.2, 0.5):
        rolling.divide(share=share, assigned_by="flight")
        arms[share] = [answer["model"]["arm"] for answer in rolling.ask_together(30)]
        assert [answer["model"]["arm"] for answer in rolling.ask_together(30)] == arms[share]
    assert arms[0.2] != arms[0.5]
    assert all(after == "candidate" for before, after in zip(*arms.values(), strict=True) if before == "candidate")


def test_questions_without_a_value_of_the_assigned_field_are_assigned_for_themselves(rolling: Rolling) -> None:
    for field_name in ("tail_number", "unheard_of"):
        rolling.divide(share=0.5, assigned_by=field_name)
        questions = [{name: value for name, value in QUESTION.items() if name != "tail_number"}] * 40
        response = rolling.client.post("/v1/predict:batch", json={"questions": questions})
        assert {answer["model"]["arm"] for answer in response.json()["predictions"]} == {"stable", "candidate"}


def _raise(error: Exception) -> Callable[[Asked], Outcome]:
    def instead(asked: Asked) -> Outcome:
        raise error

    return instead


def _refusal(kind: type[Exception]) -> Any:
    return kind(object="flight", observed="wrong", expected="right", next_step="correct it")  # ty: ignore[unknown-argument]


@pytest.mark.parametrize(
    ("instead", "word"),
    [
        (_raise(ConnectionError("it ended")), "ConnectionError"),
        (lambda asked: "KeyError", "KeyError"),
        (lambda asked: _refusal(ModelError), "ModelError"),
        (lambda asked: _refusal(RequestError), "RequestError"),
        (lambda asked: Answered("0" * 64, NOW.date(), ["{}"], ["{}"], [{}]), "another_version"),
    ],
)
def test_a_failure_of_the_candidate_is_answered_by_the_version_that_serves(
    rolling: Rolling, instead: Callable[[Asked], Outcome | str], word: str
) -> None:
    rolling.divide()
    rolling.candidate.instead = instead
    before = len(rolling.logged())
    answer = rolling.ask()
    assert (answer["model"]["version"], answer["model"]["arm"]) == (1, "stable")
    assert [record["prediction_id"] for record in rolling.logged()[before:]] == [answer["prediction_id"]]
    (line,) = rolling.lines(1)
    assert (line["arm"], line["failed"], line["cpu_ms"]) == ("candidate", word, None)
    assert line["answers"] == [{"id": answer["prediction_id"], "fields": {}}]


def test_a_late_answer_is_given_by_the_version_that_serves_and_is_never_recorded(rolling: Rolling) -> None:
    rolling.divide(deadline_seconds=0.05)
    rolling.candidate.seconds = 0.3
    before = len(rolling.logged())
    answers = [rolling.ask(), *rolling.ask_together(3)]
    time.sleep(0.4)
    assert {answer["model"]["arm"] for answer in answers} == {"stable"}
    assert len(rolling.logged()) == before + 4
    assert [(line["failed"], line["ms"] >= 50) for line in rolling.lines(2)] == [("late", True)] * 2


def test_a_number_that_is_none_is_a_failure_of_the_version(rolling: Rolling, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        task, inputs = "binary", ()

        def answer(self, rows: Any) -> list[Probability]:
            return [Probability(float("nan"))] * len(next(iter(rows.values())))

    monkeypatch.setattr(rolling.candidate.service, "_model", Broken())
    rolling.divide()
    assert rolling.ask()["model"]["arm"] == "stable"
    assert rolling.lines(1)[0]["failed"] == "not_a_number"


def test_an_ended_candidate_is_asked_once_in_a_while_and_answers_again(
    rolling: Rolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "RETRY_SECONDS", 0.3)
    rolling.divide()
    rolling.candidate.instead = _raise(ConnectionError("it ended"))
    for _ in range(30):
        assert rolling.ask()["model"]["arm"] == "stable"
    time.sleep(0.1)
    assert calls.FAILURES < len(rolling.candidate.asked) < 20
    assert {line["failed"] for line in rolling.lines(30)} == {"ConnectionError", "unavailable"}
    rolling.candidate.instead = None
    time.sleep(0.3)
    assert rolling.ask()["model"]["arm"] == "stable"
    time.sleep(0.1)  # the answer to that was the sign that the candidate is back
    assert rolling.ask()["model"]["arm"] == "candidate"


def test_a_wrong_question_is_refused_whoever_has_it_and_is_no_evidence(rolling: Rolling) -> None:
    rolling.divide()
    assert rolling.client.post("/v1/predict", json=NOBODY).status_code == 422
    route = rolling.divide(share=0.5)
    questions = [QUESTION] * 9 + [NOBODY]
    by_arm = {replace(route, share=0.5).arm(f"r{number}/9"): f"r{number}" for number in range(20)}
    for request_id in by_arm.values():
        headers = {"x-request-id": request_id}
        refused = rolling.client.post("/v1/predict:batch", json={"questions": questions}, headers=headers)
        assert (refused.status_code, refused.json()["field"]) == (422, "questions.9.flight")
    rolling.ask()
    rolling.lines(1)


def test_a_mirrored_question_is_answered_before_the_candidate_sees_it_and_only_that_is_recorded(
    rolling: Rolling,
) -> None:
    rolling.candidate.seconds = 0.3
    rolling.divide(share=None)
    before = len(rolling.logged())
    answer = rolling.ask()
    assert rolling.candidate.asked == []
    assert answer["model"]["arm"] == "stable"
    stable, candidate = rolling.lines(2)
    assert len(rolling.logged()) == before + 1
    assert (stable["arm"], stable["mirrored"], "stable" in stable) == ("stable", False, False)
    assert (candidate["arm"], candidate["mirrored"], candidate["failed"]) == ("candidate", True, None)
    assert candidate["stable"] == [stable["answers"][0]["said"]]
    assert candidate["answers"][0]["said"] != stable["answers"][0]["said"]
    assert candidate["answers"][0]["id"] == answer["prediction_id"]


@pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`:DeprecationWarning")
def test_of_a_mirrored_request_a_candidate_sends_back_only_what_it_said(
    served_twice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving.predict.candidate import Candidate

    settings, _, second, _, _ = served_twice
    monkeypatch.setenv("GOLDPATH_HOME", str(settings.root))  # a replica sets it for its process
    asked = Asked([FlightQuestion.model_validate(QUESTION)], Trace("r1", None))
    given, shown = asyncio.run(Candidate(second, settings).ask([asked, replace(asked, mirrored=True)], 5.0))
    assert isinstance(given, Answered)
    assert isinstance(shown, Answered)
    assert (len(given.texts), len(given.records), shown.texts, shown.records) == (1, 1, [], [])
    assert shown.told[0]["said"] == given.told[0]["said"]


def test_no_more_mirrored_questions_than_the_bound_are_with_the_candidate(
    rolling: Rolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "MIRRORED_QUESTIONS", 2)
    rolling.candidate.seconds = 1.0
    rolling.divide(share=None)
    for _ in range(6):
        rolling.ask()
    assert len(rolling.lines(8)) == 8
    assert len(rolling.candidate.asked) == 2


def test_evidence_that_cannot_be_written_costs_no_answer_and_is_told_once(
    rolling: Rolling, caplog: pytest.LogCaptureFixture
) -> None:
    folder = evidence.folder(rolling.settings, SERVICE, rolling.rollout)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("no folder")
    rolling.divide()
    for _ in range(3):
        assert rolling.ask()["model"]["arm"] == "candidate"
        time.sleep(0.15)
    told = [record for record in caplog.records if rolling.rollout in record.getMessage()]
    assert len(told) == 1


def test_a_damaged_route_is_none(rolling: Rolling) -> None:
    routes.path(rolling.settings, SERVICE).parent.mkdir(parents=True, exist_ok=True)
    for damaged in ("", "{", "[]", '{"rollout": "r"}'):
        routes.path(rolling.settings, SERVICE).write_text(damaged)
        time.sleep(routes.LOOK_SECONDS)
        assert "arm" not in rolling.ask()["model"]


def test_a_route_that_nobody_renews_ends_and_holds_again_when_it_is_renewed(rolling: Rolling) -> None:
    rolling.divide()
    assert rolling.ask()["model"]["arm"] == "candidate"
    old = time.time() - routes.LEASE_SECONDS - 1
    os.utime(routes.path(rolling.settings, SERVICE), (old, old))
    time.sleep(routes.LOOK_SECONDS)
    assert "arm" not in rolling.ask()["model"]
    routes.renew(rolling.settings, SERVICE)
    time.sleep(routes.LOOK_SECONDS)
    assert rolling.ask()["model"]["arm"] == "candidate"


def test_of_a_text_the_evidence_has_its_sha256() -> None:
    route = Route("r1", "canary", 0, 1.0, "", 1.0, {})
    told = [{"id": "p1", "said": {"text": "blue"}, "missing": 0.0}]
    answered = Answered("0" * 64, NOW.date(), ["{}"], ["{}"], told)
    asked = Asked([FlightQuestion.model_validate(QUESTION)], Trace("r1", None))
    kept = {"text": hashlib.sha256(b"blue").hexdigest()}
    made = evidence_log.line(route, "candidate", asked, answered, at=0.0, waited_ms=0.0, stable=answered)
    assert (made["answers"][0]["said"], made["stable"]) == (kept, [kept])
