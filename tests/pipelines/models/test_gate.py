"""The gate compares every metric with every opponent, and raises an error where one is missing."""

from __future__ import annotations

import math

import pytest

from pipelines.errors import ModelError
from pipelines.models import gate, tasks

BETTER, WORSE = {"auc": 0.71, "log_loss": 0.48}, {"auc": 0.68, "log_loss": 0.51}
METRICS = tasks.gate_metrics("binary", ())
WINDOW = "2013-11-01/2013-12-01"


def test_a_challenger_that_wins_every_comparison_passes() -> None:
    decision = gate.decide(
        metrics=METRICS, challenger=BETTER, opponents={"baseline": WORSE, "champion": WORSE}, window=WINDOW
    )
    assert (decision.passed, decision.reason, decision.window) == (True, "beats every opponent", WINDOW)
    assert [(c.opponent, c.metric) for c in decision.comparisons] == [
        ("baseline", "auc"), ("baseline", "log_loss"), ("champion", "auc"), ("champion", "log_loss"),
    ]  # fmt: skip


@pytest.mark.parametrize("lost", ["auc", "log_loss"])
def test_one_lost_metric_against_one_opponent_fails_the_gate(lost: str) -> None:
    champion = WORSE | {lost: BETTER[lost]}
    decision = gate.decide(
        metrics=METRICS, challenger=BETTER, opponents={"baseline": WORSE, "champion": champion}, window=WINDOW
    )
    assert not decision.passed
    assert decision.reason == f"does not beat: {lost} {BETTER[lost]:.4f} against champion {BETTER[lost]:.4f}"


def test_a_smaller_loss_wins() -> None:
    decision = gate.decide(
        metrics=METRICS, challenger=BETTER, opponents={"b": BETTER | {"log_loss": 0.49}}, window=WINDOW
    )
    assert [c.won for c in decision.comparisons if c.metric == "log_loss"] == [True]


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_a_metric_that_is_nan_fails_the_gate(metric: str) -> None:
    decision = gate.decide(
        metrics=METRICS, challenger=BETTER | {metric: math.nan}, opponents={"baseline": WORSE}, window=WINDOW
    )
    assert not decision.passed


def test_no_opponent_raises_an_error() -> None:
    with pytest.raises(ModelError, match="no opponent to compare the challenger with"):
        gate.decide(metrics=METRICS, challenger=BETTER, opponents={}, window=WINDOW)


def test_a_missing_metric_raises_an_error_with_the_contender() -> None:
    with pytest.raises(ModelError, match="champion lacks log_loss"):
        gate.decide(
            metrics=METRICS, challenger=BETTER, opponents={"baseline": WORSE, "champion": {"auc": 0.6}}, window=WINDOW
        )
    with pytest.raises(ModelError, match="challenger lacks auc"):
        gate.decide(metrics=METRICS, challenger={"log_loss": 0.5}, opponents={"baseline": WORSE}, window=WINDOW)
