"""Platt scaling finds what distorted the logits, and says so when it can't."""

from __future__ import annotations

import numpy as np
import pytest

from ray_jobs.core.errors import MetricError
from ray_jobs.tabular import calibration
from ray_jobs.tabular.calibration import Calibration, sigmoid


def _sample(size: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    logits = random.normal(-1, 1.5, size)
    return logits, (random.random(size) < sigmoid(logits)).astype(float)


def test_overconfident_and_shifted_logits_are_put_right() -> None:
    logits, labels = _sample(200_000)
    found = calibration.fit((logits + 0.5) / 0.6, labels)
    assert found.scale == pytest.approx(0.6, abs=0.01)
    assert found.shift == pytest.approx(-0.5, abs=0.02)


def test_calibration_never_changes_the_order() -> None:
    logits, labels = _sample(1000)
    found = calibration.fit(logits * 3, labels)
    assert np.array_equal(np.argsort(found.probabilities(logits)), np.argsort(logits))


def test_logits_that_separate_the_classes_keep_a_finite_answer() -> None:
    found = calibration.fit(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert 0 < found.scale < 10
    assert np.all(
        (found.probabilities(np.array([-2.0, 2.0])) > 0.01) & (found.probabilities(np.array([-2.0, 2.0])) < 0.99)
    )


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_cannot_be_calibrated(label: float) -> None:
    with pytest.raises(MetricError, match="both classes"):
        calibration.fit(np.array([0.1, 0.2]), np.array([label, label]))


def test_large_logits_do_not_overflow() -> None:
    assert Calibration().probabilities(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
