"""Platt scaling recovers how logits were distorted, and raises an error where it can't be fitted."""

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


def test_overconfident_and_shifted_logits_are_corrected() -> None:
    logits, labels = _sample(200_000)
    fitted = calibration.fit((logits + 0.5) / 0.6, labels)
    assert fitted.scale == pytest.approx(0.6, abs=0.01)
    assert fitted.shift == pytest.approx(-0.5, abs=0.02)


@pytest.mark.parametrize("size", [50, 5000])
def test_the_fit_is_the_optimum_for_platts_targets(size: int) -> None:
    logits, labels = _sample(size)
    fitted = calibration.fit(logits, labels)
    positives, negatives = labels.sum(), (1 - labels).sum()
    targets = np.where(labels > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    residuals = fitted.probabilities(logits) - targets
    assert residuals.mean() == pytest.approx(0, abs=1e-11)
    assert (residuals * logits).mean() == pytest.approx(0, abs=1e-11)


def test_the_same_rows_give_the_same_numbers() -> None:
    assert calibration.fit(*_sample(1000)) == calibration.fit(*_sample(1000))


def test_calibration_keeps_the_order_of_probabilities() -> None:
    logits, labels = _sample(1000)
    fitted = calibration.fit(logits * 3, labels)
    assert np.array_equal(np.argsort(fitted.probabilities(logits)), np.argsort(logits))


def test_logits_that_separate_the_classes_give_a_finite_scale() -> None:
    fitted = calibration.fit(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    probabilities = fitted.probabilities(np.array([-2.0, 2.0]))
    assert 0 < fitted.scale < 10
    assert np.all((probabilities > 0.01) & (probabilities < 0.99))


def test_equal_logits_give_the_share_of_positives() -> None:
    logits, labels = np.full(98, 2.0), np.repeat([1.0, 0.0], [29, 69])
    assert calibration.fit(logits, labels).probabilities(logits[:1]) == pytest.approx([29 / 98], abs=0.01)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_of_one_class_raise_an_error(label: float) -> None:
    with pytest.raises(MetricError, match="both classes"):
        calibration.fit(np.array([0.1, 0.2]), np.array([label, label]))


@pytest.mark.parametrize("logit", [float("nan"), float("inf")])
def test_a_logit_that_is_not_finite_raises_an_error(logit: float) -> None:
    with pytest.raises(MetricError, match="1 logits that are not finite"):
        calibration.fit(np.array([0.1, logit]), np.array([0.0, 1.0]))


def test_a_fit_that_does_not_converge_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MAXIMUM_STEPS", 1)
    with pytest.raises(MetricError, match="no convergence in 1 steps"):
        calibration.fit(*_sample(1000))


def test_large_logits_do_not_overflow() -> None:
    assert Calibration().probabilities(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
