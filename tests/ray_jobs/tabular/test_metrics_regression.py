"""Metrics of a regression against values worked out by hand; the interval's width against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.models import tasks
from ray_jobs.core.errors import MetricError
from ray_jobs.tabular.metrics_regression import SCATTER_POINTS, Estimates, evaluate
from ray_jobs.tabular.regression import half_width


def test_the_metrics_of_four_rows_are_those_worked_out_by_hand() -> None:
    estimates = Estimates(np.array([1.0, 2.0, 3.0, 8.0]), half_width=1.0, level=0.75)
    evaluation = evaluate(np.array([1.0, 3.0, 3.0, 4.0]), estimates)
    assert evaluation.metrics == {
        "mae": 1.25, "rmse": pytest.approx(np.sqrt(17 / 4)), "bias": 0.75, "coverage": 0.75, "interval_level": 0.75,
        "interval_width": 2.0, "n": 4,
    }  # fmt: skip
    assert evaluation.metrics.keys() == tasks.TASKS["regression"].metrics.keys()


def test_the_figures_hold_every_row_of_few_and_a_spread_of_many() -> None:
    random = np.random.default_rng(1)
    actual = random.standard_normal(5000)
    figures = evaluate(actual, Estimates(actual + 0.1, 0.2, 0.9)).figures
    assert len(figures["predicted_against_actual"]) == SCATTER_POINTS
    assert figures["predicted_against_actual"][0][0] == actual.min()
    assert figures["predicted_against_actual"][-1][0] == actual.max()
    assert sum(figures["residuals"]["shares"]) == pytest.approx(1.0)
    assert figures["interval_coverage"]["level"] == 0.9
    assert {share for _, share in figures["interval_coverage"]["points"]} == {1.0}
    assert len(evaluate(np.array([1.0]), Estimates(np.array([2.0]), 0.5, 0.9)).figures["predicted_against_actual"]) == 1


@pytest.mark.parametrize(
    ("labels", "values", "problem"),
    [
        ([], [], "shape"),
        ([1.0], [1.0, 2.0], "shape"),
        ([1.0, np.nan], [1.0, 2.0], "1 labels that are not finite"),
        ([1.0, 2.0], [1.0, np.inf], "1 predicted values that are not finite"),
    ],
)
def test_rows_without_a_value_raise_an_error(labels: list[float], values: list[float], problem: str) -> None:
    with pytest.raises(MetricError, match=problem):
        evaluate(np.array(labels), Estimates(np.array(values), 1.0, 0.9))


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=200),
    st.sampled_from([0.5, 0.8, 0.9, 0.95]),
)
def test_the_width_covers_the_share_that_split_conformal_prediction_asks_for(
    residuals: list[float], level: float
) -> None:
    width = half_width(np.array(residuals), level)
    assert width in np.abs(residuals)
    covered = (np.abs(residuals) <= width).sum()
    assert covered >= (len(residuals) + 1) * level - 1e-9
    assert (np.abs(residuals) < width).sum() < (len(residuals) + 1) * level


def test_too_few_rows_for_a_level_raise_an_error_with_their_number() -> None:
    assert half_width(np.arange(19.0), 0.95) == 18.0
    with pytest.raises(MetricError, match=r"18 held-out rows.*19 rows or more for level 0\.95"):
        half_width(np.arange(18.0), 0.95)
