"""The gate compares every metric with every opponent, looks at slices, and raises an error where a figure is missing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from pipelines.errors import ModelError
from pipelines.models import gate
from pipelines.models.gate import GateDecision
from pipelines.models.judgement import Difference, Gap, Gate, Slice, SliceFigures
from tests.pipelines.models.trained import judged

BETTER, WORSE = {"auc": 0.71, "log_loss": 0.48}, {"auc": 0.68, "log_loss": 0.51}
WINDOW = "2013-11-01/2013-12-01"
CARRIER = Slice("carrier", tolerance={"log_loss": 0.02}, largest_gap={"bias": 0.1})


def test_a_challenger_that_wins_every_comparison_passes() -> None:
    decision = judged("binary", BETTER, {"baseline": WORSE, "champion": WORSE}, window=WINDOW)
    assert (decision.passed, decision.reason, decision.window) == (True, "beats every opponent", WINDOW)
    assert [(c.difference.opponent, c.difference.metric) for c in decision.comparisons] == [
        ("baseline", "auc"), ("baseline", "log_loss"), ("champion", "auc"), ("champion", "log_loss"),
    ]  # fmt: skip


@pytest.mark.parametrize("lost", ["auc", "log_loss"])
def test_one_lost_metric_against_one_opponent_fails_the_gate(lost: str) -> None:
    champion = WORSE | {lost: BETTER[lost]}
    decision = judged("binary", BETTER, {"baseline": WORSE, "champion": champion})
    assert not decision.passed
    value = f"{BETTER[lost]:.4f}"
    assert decision.reason == (
        f"does not beat: {lost} {value} against champion {value} (difference +0.0000 to +0.0000)"
    )


@pytest.mark.parametrize(("width", "passes"), [(0.0, True), (0.029, True), (0.031, False), (1.0, False)])
def test_a_better_figure_that_may_be_chance_does_not_pass(width: float, passes: bool) -> None:
    decision = judged("binary", BETTER, {"baseline": WORSE}, width=width)
    assert decision.passed is passes
    assert ("auc 0.7100 against baseline 0.6800" in decision.reason) is not passes


def test_a_bound_beyond_zero_does_not_make_a_worse_figure_win() -> None:
    judgement = judged("binary", BETTER, {"baseline": WORSE}).judgement
    forged = (replace(judgement.differences[0], challenger_value=0.6), *judgement.differences[1:])
    forged_judgement = replace(judgement, differences=forged)
    decision = gate.decide(task="binary", gate=gate.named("binary", Gate()), judgement=forged_judgement, window=WINDOW)
    assert not decision.passed


ALLOWANCE = Gate(allowance={"auc": 0.01, "log_loss": 0.01})


@pytest.mark.parametrize(
    ("worse", "width", "passes"),
    [(0.0, 0.009, True), (0.005, 0.004, True), (0.005, 0.006, False), (0.011, 0.0, False), (-0.01, 0.019, True)],
)
def test_an_allowance_asks_that_a_challenger_is_not_much_worse_than_the_champion(
    worse: float, width: float, passes: bool
) -> None:
    champion = {"auc": BETTER["auc"] + worse, "log_loss": BETTER["log_loss"] - worse}
    decision = judged("binary", BETTER, {"baseline": WORSE, "champion": champion}, declared=ALLOWANCE, width=width)
    assert decision.passed is passes
    word = "is not worse than the allowance" if passes else "may be worse: auc 0.7100 against champion"
    assert word in decision.reason
    assert gate.read(json.loads(json.dumps(decision.document()))).passed is passes


def test_an_allowance_is_none_towards_other_opponents_and_for_what_is_no_number() -> None:
    assert not judged("binary", BETTER, {"baseline": BETTER}, declared=ALLOWANCE).passed
    champion = {"auc": math.nan, "log_loss": 0.4}
    assert not judged("binary", BETTER, {"baseline": WORSE, "champion": champion}, declared=ALLOWANCE).passed


def test_a_verdict_with_an_allowance_does_not_count_for_a_gate_without() -> None:
    with_one = judged("binary", BETTER, {"baseline": WORSE}, declared=ALLOWANCE).document()
    without = judged("binary", BETTER, {"baseline": WORSE}).document()
    assert "allowance" not in without["gate"]
    assert gate.differing(with_one["gate"], gate.named("binary", Gate())) == ["allowance"]
    assert gate.differing(without["gate"], gate.named("binary", ALLOWANCE)) == ["allowance"]
    assert gate.differing(with_one["gate"], gate.named("binary", ALLOWANCE)) == []


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_a_metric_that_is_nan_fails_the_gate(metric: str) -> None:
    assert not judged("binary", BETTER | {metric: math.nan}, {"baseline": WORSE}).passed


def test_named_opponents_alone_are_asked_and_the_champion_always() -> None:
    opponents = {"baseline": WORSE, "persistence": BETTER, "champion": WORSE}
    declared = Gate(opponents=("baseline",))
    assert not judged("binary", BETTER, opponents).passed
    assert judged("binary", BETTER, opponents, declared=declared).passed
    assert not judged("binary", BETTER, opponents | {"champion": BETTER}, declared=declared).passed


def test_no_opponent_raises_an_error() -> None:
    with pytest.raises(ModelError, match="no opponent to compare the challenger with"):
        judged("binary", BETTER, {})
    with pytest.raises(ModelError, match="no opponent persistence"):
        judged("binary", BETTER, {"baseline": WORSE}, declared=Gate(opponents=("persistence",)))


def test_a_missing_metric_raises_an_error_with_the_opponent() -> None:
    with pytest.raises(ModelError, match="no comparison with the champion by log_loss"):
        judged("binary", BETTER, {"baseline": WORSE, "champion": {"auc": 0.6}})


def sliced(
    rows: tuple[int, int] = (6, 4), *, low: float = -0.1, gap: float = 0.05, not_judged: tuple[str, str] = ("", "")
) -> GateDecision:
    """A challenger that wins over all rows; `low` is the least by which its log loss differs where carrier is UA."""
    of_slices = [
        SliceFigures(
            "carrier", value, n, {"challenger": {"log_loss": 0.5}},
            () if reason else (Difference("log_loss", "baseline", 0.5 + least, 0.5, least, least + 0.2),), reason,
        )
        for value, n, least, reason in zip(("AA", "UA"), rows, (-0.1, low), not_judged, strict=True)
    ]  # fmt: skip
    gaps = (Gap("carrier", "bias", "AA", "UA", gap + 0.02, gap),)
    figures: dict[str, Any] = {"slices": tuple(of_slices), "gaps": gaps}
    return judged("binary", BETTER, {"baseline": WORSE}, declared=Gate(slices=(CARRIER,)), **figures)


def test_a_slice_that_gets_worse_than_it_may_fails_the_gate() -> None:
    assert sliced().passed
    assert sliced(low=0.019).passed
    worse = sliced(low=0.03)
    assert not worse.passed
    assert "gets worse where carrier is UA: log_loss 0.5300 against baseline 0.5000" in worse.reason
    assert "allowed 0.02" in worse.reason


def test_slices_that_lie_too_far_apart_fail_the_gate() -> None:
    wide = sliced(gap=0.11)
    assert not wide.passed
    assert wide.reason == "bias lies 0.1300 apart between carrier AA and UA, allowed 0.1"


def test_a_column_without_a_slice_that_can_be_judged_fails_the_gate() -> None:
    few = ("6 rows, fewer than 100", "4 rows, fewer than 100")
    decision = sliced(not_judged=few)
    assert "cannot tell slices of carrier apart from chance: AA: 6 rows" in decision.reason


def test_figures_of_slices_that_do_not_cover_the_rows_fail_the_gate() -> None:
    assert sliced(rows=(6, 3)).reason == "lacks figures of slices of carrier"


def test_a_decision_is_read_from_its_document_and_a_changed_one_is_not() -> None:
    decision = sliced(low=0.03)
    document = json.loads(json.dumps(decision.document()))
    assert gate.read(document) == decision
    with pytest.raises(ValueError, match="passed does not follow from its figures"):
        gate.read(document | {"passed": True})
    document["judgement"]["slices"].pop()
    with pytest.raises(ValueError, match="reason does not follow from its figures"):
        gate.read(document)
