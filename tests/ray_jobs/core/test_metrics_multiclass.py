"""Metrics of several labels against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.models import tasks
from ray_jobs.core.errors import MetricError
from ray_jobs.core.metrics_multiclass import LABELS_SHOWN, OTHERS, SMALLEST, LabelProbabilities, evaluate

ABC = ("a", "b", "c")


def test_the_metrics_of_four_rows_are_those_worked_out_by_hand() -> None:
    rows = np.array([[0.5, 0.25, 0.25], [0.2, 0.4, 0.4], [0.6, 0.2, 0.2], [0.1, 0.1, 0.8]])
    evaluation = evaluate(["a", "b", "b", "c"], LabelProbabilities(ABC, rows))
    assert evaluation.metrics == {
        "log_loss": pytest.approx(-np.log([0.5, 0.4, 0.2, 0.8]).mean()),
        "accuracy": 0.75,
        "mean_recall": pytest.approx((1 + 0.5 + 1) / 3),
        "n": 4,
        "labels": 3,
    }
    assert evaluation.metrics.keys() == tasks.TASKS["multiclass"].metrics.keys()
    assert evaluation.figures["confusion"] == {"labels": ["a", "b", "c"], "counts": [[1, 0, 0], [1, 1, 0], [0, 0, 1]]}
    assert evaluation.figures["recall"] == {"a": 1.0, "b": 0.5, "c": 1.0}


def test_a_label_that_the_model_does_not_know_counts_as_not_recognized() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    evaluation = evaluate(["a", "new"], LabelProbabilities(("a", "b"), rows))
    assert evaluation.metrics["accuracy"] == 0.5
    assert evaluation.metrics["log_loss"] == pytest.approx(-np.log(SMALLEST) / 2)
    assert evaluation.figures["recall"] == {"a": 1.0, "new": 0.0}
    assert evaluation.figures["confusion"]["labels"] == ["a", "b", "new"]


def test_many_labels_show_the_most_frequent_ones_and_the_rest_as_one() -> None:
    labels = [f"l{i:02d}" for i in range(30)]
    actual = [label for place, label in enumerate(labels) for _ in range(30 - place)]
    rows = np.full((len(actual), 30), 1 / 30)
    confusion = evaluate(actual, LabelProbabilities(tuple(labels), rows)).figures["confusion"]
    assert confusion["labels"] == [*labels[:LABELS_SHOWN], OTHERS]
    assert sum(map(sum, confusion["counts"])) == len(actual)


@pytest.mark.parametrize(
    ("labels", "rows", "problem"),
    [
        ([], np.empty((0, 3)), "0 labels"),
        (["a"], np.full((1, 2), 0.5), "1 labels and probabilities of shape"),
        (["a", "b"], np.array([[1.5, -0.5, 0.0], [1.0, 0.0, 0.0]]), "2 values that are no probability"),
        (["a", "b"], np.full((2, 3), np.nan), "6 values that are no probability"),
        (["a", "a"], np.full((2, 3), 1 / 3), "only label 'a' in 2 rows"),
    ],
)
def test_predictions_that_have_no_metrics_raise_an_error(labels: list[str], rows: np.ndarray, problem: str) -> None:
    with pytest.raises(MetricError, match=problem):
        evaluate(labels, LabelProbabilities(ABC, rows))
