"""Metrics agree with their definitions, and raise where they have no value."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ray_jobs.core.errors import MetricError
from ray_jobs.tabular.evaluate import calibration_bins, metrics, roc_curve

LABELS = np.array([0, 0, 1, 1])
PROBABILITIES = np.array([0.1, 0.4, 0.35, 0.8])


def test_metrics_agree_with_their_definitions() -> None:
    found = metrics(LABELS, PROBABILITIES)
    assert found.auc == pytest.approx(3 / 4)  # of four pairs, one is in the wrong order
    assert found.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found.log_loss == pytest.approx(-sum(map(math.log, (0.9, 0.6, 0.35, 0.8))) / 4)
    assert found.brier == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert found.ece == pytest.approx((0.1 + 0.4 + 0.65 + 0.2) / 4)  # each row has a bin of its own
    assert (found.n, found.positives) == (4, 2)


def test_a_certain_mistake_costs_much_but_not_everything() -> None:
    assert 10 < metrics(np.array([0, 1]), np.array([1.0, 1.0])).log_loss < 100


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
def test_what_cannot_be_measured_raises(labels: list[float], probabilities: list[float], reason: str) -> None:
    for measure in (metrics, roc_curve, calibration_bins):
        with pytest.raises(MetricError, match=reason):
            measure(np.array(labels), np.array(probabilities))


def test_the_roc_curve_goes_from_corner_to_corner_and_never_down() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 5000).astype(float)
    points = roc_curve(labels, np.clip(labels * 0.2 + random.random(5000) * 0.8, 0, 1))
    assert len(points) <= 200
    assert (points[0].false_positive_rate, points[0].true_positive_rate) == (0, 0)
    assert (points[-1].false_positive_rate, points[-1].true_positive_rate) == (1, 1)
    rates = np.array([(p.false_positive_rate, p.true_positive_rate) for p in points])
    assert np.all(np.diff(rates, axis=0) >= 0)


def test_calibration_bins_hold_every_row_once() -> None:
    random = np.random.default_rng(3)
    p = np.append(random.random(1000), [0.0, 1.0])
    bins = calibration_bins((random.random(1002) < p).astype(int), p)
    assert sum(b.n for b in bins) == 1002
    assert all(abs(b.mean_probability - b.positive_share) < 0.25 for b in bins)
