"""Rollouts of simulated versions: each ends as it should, and how soon."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from assets.weather.domain import contract
from pipelines.errors import DefinitionError
from pipelines.models.rollout_plan import Guard, Outcomes, Plan, Rollout, Stage
from pipelines.rollout.decide import decide
from pipelines.rollout.tally import Tally
from tests.pipelines.rollout.simulated import Ended, Version, simulate

OUTCOMES = Outcomes(contract("gold/prediction_outcomes"), "late")
#: Every kind of guard.
GUARDS = (
    Guard("errors", 0.01, by=("origin",)),
    Guard("latency_p50", 1.5),
    Guard("latency_p99", 2.0, minimum=200),
    Guard("cost", 1.5),
    Guard("disagreement", 0.15),
    Guard("score", 0.05),
    Guard("missing", 0.05),
    Guard("loss", 0.01, minimum=200),
)
CANARY = Rollout.canary(
    (0.1, 0.5), answers=300, minutes=2, maximum_minutes=300, guards=GUARDS, outcomes=OUTCOMES, false_alarms=0.05
)
RUNS = 12


def ends(plan: Rollout, candidate: Version, stable: Version | None = None, runs: int = RUNS) -> list[Ended]:
    return [simulate(plan, stable or Version(), candidate, seed) for seed in range(runs)]


def test_a_version_that_is_the_same_is_sent_back_no_more_often_than_stated() -> None:
    guards = tuple(replace(guard, minimum=60) for guard in GUARDS)
    stages = (Stage("shadow", None, 60, 0), Stage("half", 0.5, 60, 0, 60))
    plan = Rollout("short", stages, guards=guards, outcomes=OUTCOMES, false_alarms=0.05)
    same = ends(plan, Version(), runs=1_000)
    false_alarms = [end.because for end in same if end.action == "back"]
    assert len(false_alarms) <= 50, false_alarms[:3]
    assert {end.action for end in same} <= {"next", "back"}


@pytest.mark.parametrize(
    ("candidate", "guard", "most"),
    [
        (Version(slower=3), "latency_p50", 300),
        (Version(dearer=2), "cost", 300),
        (Version(failures=lambda site: 0.3 if site == "LGA" else 0.001), "errors for origin=LGA", 2_500),
        (Version(failures=lambda site: 0.2), "errors", 500),
        (Version(missing=0.3), "missing", 500),
        (Version(noise=2.5), "", 2_500),
    ],
)  # fmt: skip
def test_a_version_that_is_worse_goes_back(candidate: Version, guard: str, most: int) -> None:
    found = ends(CANARY, candidate)
    assert {end.action for end in found} == {"back"}
    assert sum(guard in end.because for end in found) >= RUNS - 1
    assert statistics.median(end.questions for end in found) <= most


def test_a_version_that_is_worse_in_outcomes_alone_goes_back() -> None:
    """Its answers come as fast and as surely, and agree as often as the plan allows."""
    guards = tuple(guard for guard in GUARDS if guard.metric not in ("disagreement", "score"))
    plan = Rollout.canary((0.5,), answers=1_500, minutes=2, maximum_minutes=900, guards=guards, outcomes=OUTCOMES)
    found = ends(plan, Version(noise=1.6))
    assert {(end.action, "loss" in end.because) for end in found} == {("back", True)}
    assert statistics.median(end.questions for end in found) <= 3_000


def test_a_version_that_is_as_good_takes_over_after_every_stage() -> None:
    found = ends(CANARY, Version(noise=0.1))
    assert {(end.action, end.stage) for end in found} == {("next", 3)}
    assert statistics.median(end.questions for end in found) <= 6_000


@pytest.mark.parametrize("make", [Rollout.ab_test, Rollout.bandit])
def test_two_versions_are_told_apart_by_their_outcomes(make: Callable[..., Rollout]) -> None:
    plan = make(OUTCOMES, answers=300, minutes=2, maximum_minutes=600, guards=GUARDS[:1])
    stable = Version(noise=0.8)
    better, worse = ends(plan, Version(noise=0.0), stable, runs=3), ends(plan, Version(noise=1.4), stable, runs=3)
    assert {end.action for end in better} == {"next"}
    assert {end.action for end in worse} == {"back"}
    if plan.name == "bandit":
        # The better version gets more and more of the questions, whichever it is.
        assert all(end.candidates > 0.6 * end.questions for end in better)
        assert all(end.candidates < 0.4 * end.questions for end in worse)


def test_versions_that_cannot_be_told_apart_go_back_when_the_time_is_over() -> None:
    plan = Rollout.ab_test(OUTCOMES, answers=100, minutes=1, maximum_minutes=20, guards=GUARDS[:1])
    found = ends(plan, Version(), runs=4)
    assert {end.action for end in found} == {"back"}
    assert all("difference of the losses" in end.because for end in found)


@pytest.mark.parametrize(("if_missing", "action"), [("back", "back"), ("pause", "pause")])
def test_missing_evidence_never_lets_a_version_go_on(if_missing: str, action: str) -> None:
    plan = Rollout.canary((0.5,), answers=10, minutes=1, maximum_minutes=60, if_missing=if_missing)
    tally = Tally(Plan.of(plan.document()))
    assert decide(tally, 0, 59.0).action == "stay"
    verdict = decide(tally, 0, 60.0)
    assert verdict.action == action
    assert "10 more answers" in verdict.because


def test_a_stage_waits_for_outcomes_that_come_late_and_counts_each_once() -> None:
    plan = Rollout.canary((0.5,), answers=1, minutes=0, guards=(Guard("loss", 0.1, minimum=60),), outcomes=OUTCOMES)
    tally = Tally(Plan.of(plan.document()))
    said = {"probability": 0.3, "decision": "no"}
    for number in range(60):
        answers = [{"id": str(number), "fields": {}, "said": said, "missing": 0.0}]
        line = {"at": 0.0, "stage": 0, "ms": 1.0, "cpu_ms": 1.0, "failed": None, "answers": answers}
        tally.add([line | {"arm": "stable", "mirrored": False}])
        tally.add([line | {"arm": "candidate", "mirrored": True, "stable": [said]}])
    assert "60 more outcomes" in decide(tally, 0, 1.0).because
    labels = {str(number): 1 for number in range(60)}
    assert tally.learn({"another": 1}) == 0
    assert tally.learn(labels) == 120
    assert tally.learn(labels) == 0
    assert decide(tally, 0, 1.0).action == "next"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Guard("latency_p50", 0.5),
        lambda: Guard("errors", -0.1),
        lambda: Guard("error", 0.1),  # ty: ignore[invalid-argument-type]
        lambda: Guard("cost", 0.9),
        lambda: Guard("errors", 5),
        lambda: Guard("errors", 0.1, by="origin"),  # ty: ignore[invalid-argument-type]
        lambda: Rollout.canary(deadline_seconds=0),
        lambda: Rollout.canary((0.5, 0.1)),
        lambda: Rollout.linear(1),
        lambda: Stage("soon", 0.5, until="enuf"),  # ty: ignore[invalid-argument-type]
        lambda: Rollout.canary(if_missing="go on"),
        lambda: Rollout.canary(guards=(Guard("errors", 0.1), Guard("errors", 0.1))),
        lambda: Guard("latency_p99", 2.0, by=("origin",)),
        lambda: Stage("none", 0.0),
        lambda: Stage("too much", 1.5),
        lambda: Stage("never", 0.5, minutes=10, maximum_minutes=5),
        lambda: Rollout("empty", ()),
        lambda: Rollout.canary(guards=(Guard("loss", 0.1),)),
        lambda: Rollout("blind", (Stage("A/B", 0.5, until="verdict"),)),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(DefinitionError):
        make()


@pytest.mark.parametrize("plan", [Rollout.canary(), Rollout.linear(4), Rollout.blue_green(), CANARY])
def test_a_plan_survives_its_document(plan: Rollout) -> None:
    assert Plan.of(plan.document()).stages == plan.stages
    assert plan.stages[0].share is None
    assert plan.stages[-1].share == 1.0


def test_a_version_that_fails_as_often_as_the_serving_one_goes_on() -> None:
    failing = Version(failures=lambda site: 0.1)
    assert {end.action for end in ends(CANARY, failing, failing, runs=4)} == {"next"}


def test_an_outcome_counts_once_in_a_plan_whose_own_guard_is_the_one_of_the_verdict() -> None:
    plan = Rollout.ab_test(OUTCOMES, guards=(Guard("loss", 0.0),))
    tally = Tally(Plan.of(plan.document()))
    said = {"probability": 0.3, "decision": "no"}
    answers = [{"id": "1", "fields": {}, "said": said, "missing": 0.0}]
    tally.add([{"at": 0.0, "stage": 0, "arm": "candidate", "mirrored": False, "ms": 1.0, "cpu_ms": 1.0, "failed": None,
                "answers": answers}])  # fmt: skip
    tally.learn({"1": 1})
    assert [compared.arms["candidate"].count for compared in tally.compared.values()] == [1, 1]


def test_the_same_evidence_gives_the_same_figures_whenever_it_is_looked_at() -> None:
    """A limit of latencies is taken at an answer, not at a look: a new controller finds what the killed one had."""
    plan = Rollout.canary((0.5,), answers=500, minutes=1, guards=GUARDS[:3])
    running, random = Plan.of(plan.document()), np.random.default_rng(3)
    lines = [
        {"at": float(place), "stage": 0, "arm": arm, "mirrored": arm == "candidate", "ms": random.lognormal(3, 0.4),
         "cpu_ms": None, "failed": None, "answers": [{"id": None, "fields": {}, "said": said, "missing": 0.0}],
         "stable": [said]}
        for place in range(400)
        for arm, said in (("stable", {"value": 1.0}), ("candidate", {"value": 1.0}))
    ]  # fmt: skip
    often, once = Tally(running), Tally(running)
    for line in lines:
        often.add([line])
        decide(often, 0, 0.5)
    once.add(lines)
    assert decide(often, 0, 0.5) == decide(once, 0, 0.5)
    assert {figure.guard for figure in decide(once, 0, 0.5).figures} == {"errors", "latency_p50", "latency_p99"}


def test_a_version_that_goes_back_for_its_errors_says_which() -> None:
    tally = Tally(Plan.of(Rollout.canary().document()))
    line = {"at": 0.0, "stage": 0, "ms": 1.0, "cpu_ms": None, "mirrored": False, "answers": [{"id": None}]}
    for failed in ("late", "NotANumber", "late"):
        tally.add([{**line, "arm": "candidate", "failed": failed}] * 5 + [{**line, "arm": "stable", "failed": failed}])
    for _ in range(100):
        tally.add([{**line, "arm": "stable", "failed": None,
                    "answers": [{"id": None, "said": {"value": 1.0}, "missing": 0.0}]}])  # fmt: skip
    verdict = decide(tally, 0, 0.5)
    assert verdict.action == "back"
    assert verdict.because.endswith("its failures: late 10, NotANumber 5")
