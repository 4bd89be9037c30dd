"""A score with counts is the metric of the rows repeated as often; compared with scikit-learn on repeated rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from ray_jobs.core import metrics_multiclass
from ray_jobs.core.metrics_multiclass import LabelProbabilities
from ray_jobs.core.scores import AveragePrecision, Mean, MeanOfGroups
from ray_jobs.tabular import metrics_binary, metrics_regression
from ray_jobs.tabular.metrics_regression import Estimates

ROWS = 60
Metric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]


def _ece(labels: NDArray[np.float64], probabilities: NDArray[np.float64]) -> float:
    bins = np.minimum(np.ceil(probabilities * 15), 15).clip(1)
    return sum(
        abs(probabilities[bins == each].mean() - labels[bins == each].mean()) * (bins == each).mean()
        for each in np.unique(bins)
    )


BINARY: dict[str, Metric] = {
    "auc": reference.roc_auc_score,
    "average_precision": reference.average_precision_score,
    "log_loss": reference.log_loss,
    "brier": reference.brier_score_loss,
    "ece": _ece,
    "bias": lambda y, p: float(p.mean() - y.mean()),
    "mean_probability": lambda y, p: float(p.mean()),
    "balance_of_1": lambda y, p: float(p[y == 1].mean()),
    "balance_of_0": lambda y, p: float(p[y == 0].mean()),
}
REGRESSION: dict[str, Metric] = {
    "mae": reference.mean_absolute_error,
    "rmse": reference.root_mean_squared_error,
    "bias": lambda y, p: float((p - y).mean()),
    "coverage": lambda y, p: float((np.abs(p - y) <= 0.7).mean()),
}


@pytest.fixture(scope="module", params=["distinct", "tied"])
def binary(request: pytest.FixtureRequest) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(5)
    probabilities = random.random(ROWS)
    if request.param == "tied":
        probabilities = np.round(probabilities, 1)
    return (random.random(ROWS) < probabilities).astype(float), probabilities


@pytest.fixture(scope="module")
def counts() -> NDArray[np.float64]:
    drawn = np.random.default_rng(6).integers(0, 4, size=(4, ROWS)).astype(float)
    drawn[0] = 1.0
    return drawn


@pytest.mark.parametrize("name", BINARY)
def test_a_binary_score_is_the_metric_of_repeated_rows(
    name: str, binary: tuple[NDArray[np.float64], NDArray[np.float64]], counts: NDArray[np.float64]
) -> None:
    labels, probabilities = binary
    score = metrics_binary.evaluate(labels, probabilities).scores[name]
    some = np.arange(0, ROWS, 2)
    for drawn, value, of_some in zip(counts, score(counts), score.of(some)(counts[:, some]), strict=True):
        times = drawn.astype(int)
        assert value == pytest.approx(BINARY[name](labels.repeat(times), probabilities.repeat(times)))
        times = times[some]
        assert of_some == pytest.approx(BINARY[name](labels[some].repeat(times), probabilities[some].repeat(times)))


@pytest.mark.parametrize("name", REGRESSION)
def test_a_regression_score_is_the_metric_of_repeated_rows(name: str, counts: NDArray[np.float64]) -> None:
    random = np.random.default_rng(7)
    labels, values = random.standard_normal((2, ROWS))
    score = metrics_regression.evaluate(labels, Estimates(values, 0.7, 0.9)).scores[name]
    for drawn, value in zip(counts.astype(int), score(counts), strict=True):
        assert value == pytest.approx(REGRESSION[name](labels.repeat(drawn), values.repeat(drawn)))


def test_multiclass_scores_are_the_metrics_of_repeated_rows(counts: NDArray[np.float64]) -> None:
    random = np.random.default_rng(8)
    names = ("a", "b", "c")
    probabilities = random.dirichlet((1, 1, 1), ROWS)
    labels = np.array(names, dtype=object)[random.integers(0, 3, ROWS)]
    scores = metrics_multiclass.evaluate(labels, LabelProbabilities(names, probabilities)).scores
    for place, drawn in enumerate(counts.astype(int)):
        y, p = labels.repeat(drawn).astype(str), probabilities.repeat(drawn, axis=0)
        predicted = np.array(names)[p.argmax(axis=1)]
        expected = {
            "log_loss": reference.log_loss(y, p, labels=names),
            "accuracy": reference.accuracy_score(y, predicted),
            "mean_recall": reference.recall_score(y, predicted, average="macro"),
        }
        assert {name: score(counts)[place] for name, score in scores.items()} == pytest.approx(expected)


@pytest.mark.parametrize("number", [7, 600])
@pytest.mark.parametrize("name", BINARY)
def test_a_score_by_unit_is_the_score_of_rows_that_count_as_often_as_their_unit(
    name: str, number: int, binary: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> None:
    random = np.random.default_rng(9)
    units = random.integers(number, size=ROWS)
    counts = random.integers(0, 3, size=(5, number)).astype(float)
    score = metrics_binary.evaluate(*binary).scores[name]
    expected = score(counts[:, units])
    assert score.by_unit(units, number)(counts) == pytest.approx(expected, rel=1e-12, nan_ok=True)
    if name == "auc":
        assert np.array_equal(score.by_unit(units, number)(counts), expected, equal_nan=True)


def test_a_weighted_mean_and_a_mean_of_groups_by_unit_are_those_of_rows() -> None:
    random = np.random.default_rng(10)
    units, counts = random.integers(7, size=ROWS), random.integers(0, 3, size=(5, 7)).astype(float)
    values, weights = random.random((2, ROWS))
    for score in (Mean(values, weights, np.exp), MeanOfGroups(values, random.integers(3, size=ROWS))):
        assert score.by_unit(units, 7)(counts) == pytest.approx(score(counts[:, units]), rel=1e-12)


def test_a_metric_without_value_is_nan() -> None:
    no_positives = np.array([[1.0, 1.0, 0.0]])
    precision = AveragePrecision(np.array([0.0, 0.0, 1.0]), np.array([0.1, 0.2, 0.3]))
    assert np.isnan(precision(no_positives)).all()
    assert np.isnan(Mean(np.array([0.0, 0.0, 0.5]), np.array([0.0, 0.0, 1.0]))(no_positives)).all()


def test_a_mean_of_weighted_rows_is_a_ratio_of_sums() -> None:
    perplexity = Mean(np.array([4.0, 9.0]), np.array([2.0, 3.0]), np.exp)
    assert perplexity(np.array([[1.0, 1.0], [0.0, 2.0]])) == pytest.approx(np.exp([13 / 5, 3.0]))
