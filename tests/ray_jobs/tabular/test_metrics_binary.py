"""Metrics agree with their definitions; where they have no value, there is an error."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.models import tasks
from ray_jobs.core.errors import MetricError
from ray_jobs.tabular.metrics_binary import evaluate

LABELS = np.array([0, 0, 1, 1])
PROBABILITIES = np.array([0.1, 0.45, 0.35, 0.8])


def test_metrics_agree_with_their_definitions() -> None:
    metrics = evaluate(LABELS, PROBABILITIES).metrics
    assert metrics == {
        "auc": pytest.approx(3 / 4),  # of four pairs, one is in the wrong order
        "average_precision": pytest.approx(0.5 * 1 + 0.5 * 2 / 3),
        "log_loss": pytest.approx(-sum(map(math.log, (0.9, 0.55, 0.35, 0.8))) / 4),
        "brier": pytest.approx((0.01 + 0.2025 + 0.4225 + 0.04) / 4),
        "ece": pytest.approx((0.1 + 0.45 + 0.65 + 0.2) / 4),  # each row has a bin of its own
        "bias": pytest.approx((0.1 + 0.45 + 0.35 + 0.8) / 4 - 0.5),
        "mean_probability": pytest.approx((0.1 + 0.45 + 0.35 + 0.8) / 4),
        "balance_of_1": pytest.approx((0.35 + 0.8) / 2),
        "balance_of_0": pytest.approx((0.1 + 0.45) / 2),
        "n": 4,
        "positives": 2,
    }


def test_the_task_knows_each_metric() -> None:
    measured = evaluate(np.array([0, 1]), np.array([0.2, 0.7])).metrics
    assert measured.keys() == tasks.TASKS["binary"].metrics.keys()


def test_the_calibration_error_weights_each_bin_by_its_rows() -> None:
    labels, probabilities = np.array([0, 0, 0, 1]), np.array([0.01, 0.02, 0.03, 0.9])
    assert evaluate(labels, probabilities).metrics["ece"] == pytest.approx((3 * 0.02 + 0.1) / 4)


def test_a_certain_mistake_has_a_large_but_finite_log_loss() -> None:
    assert 10 < evaluate(np.array([0, 1]), np.array([1.0, 1.0])).metrics["log_loss"] < 100


@pytest.mark.parametrize(
    ("labels", "probabilities", "reason"),
    [
        ([], [], "shape"),
        ([0, 0], [0.1, 0.2], "only label 0"),
        ([1, 1], [0.1, 0.2], "only label 1"),
        ([0, 1], [0.1, float("nan")], "1 values that are no probability"),
        ([0, 1], [0.1, 1.1], "1 values that are no probability"),
        ([0, 1, 1], [0.1, 0.2], "shape"),
        ([0, 2], [0.1, 0.2], "labels"),
        ([0, float("nan")], [0.1, 0.2], "labels"),
    ],
)
def test_labels_or_probabilities_without_metrics_raise_an_error(
    labels: list[float], probabilities: list[float], reason: str
) -> None:
    with pytest.raises(MetricError, match=reason):
        evaluate(np.array(labels), np.array(probabilities))


def test_the_roc_curve_goes_from_corner_to_corner_and_never_down() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 5000).astype(float)
    points = evaluate(labels, np.clip(labels * 0.2 + random.random(5000) * 0.8, 0, 1)).figures["roc"]
    assert len(points) <= 200
    assert (points[0], points[-1]) == ((0, 0), (1, 1))
    assert np.all(np.diff(np.array(points), axis=0) >= 0)


def test_calibrated_probabilities_give_points_near_the_diagonal() -> None:
    random = np.random.default_rng(3)
    probabilities = np.append(random.random(3000), [0.0, 1.0])
    points = evaluate((random.random(3002) < probabilities).astype(int), probabilities).figures["calibration"]
    assert len(points) == 15
    assert all(abs(predicted - observed) < 0.15 for predicted, observed in points)
