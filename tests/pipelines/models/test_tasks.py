"""What follows from a task: its gate's metrics with their directions, and a plot for each figure of an evaluation."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from pipelines.errors import DefinitionError
from pipelines.models import tasks
from pipelines.models.answers import Estimate, Probabilities, Task
from tests.pipelines.models.trained import FIGURES


def test_the_gate_of_each_task_compares_its_metrics_in_their_direction() -> None:
    assert {task: tasks.gate_metrics(task, ()) for task in tasks.TASKS} == {
        "binary": {"auc": "greater", "log_loss": "smaller"},
        "regression": {"mae": "smaller", "rmse": "smaller"},
        "multiclass": {"log_loss": "smaller", "accuracy": "greater"},
        "text": {"held_out_loss": "smaller", "rouge_l": "greater"},
    }


def test_a_declaration_names_other_metrics_of_its_task() -> None:
    assert tasks.gate_metrics("binary", ("brier",)) == {"brier": "smaller"}


@pytest.mark.parametrize(("task", "metric"), [("regression", "auc"), ("binary", "n"), ("multiclass", "luck")])
def test_a_metric_that_no_gate_of_the_task_compares_raises_an_error(task: Task, metric: str) -> None:
    with pytest.raises(DefinitionError, match=f"gate metrics {metric}: no metrics that a gate of the task {task}"):
        tasks.gate_metrics(task, (metric,))


def test_a_task_without_rules_raises_an_error_that_says_what_it_lacks() -> None:
    assert set(get_args(Task)) == tasks.TASKS.keys()
    unknown: Any = "riddle"
    with pytest.raises(DefinitionError, match=re.escape("task riddle: the platform has no metrics, plots and gate")):
        tasks.rules(unknown)


@pytest.mark.parametrize("task", tasks.TASKS)
def test_each_task_draws_its_plots_for_several_contenders(task: Task) -> None:
    figures: dict[str, Any] = dict.fromkeys(("challenger", "baseline", "champion", "persistence"), FIGURES[task])
    images = tasks.rules(task).draw(figures)
    assert images.keys() == FIGURES[task].keys()
    assert all(image.startswith(b"\x89PNG") for image in images.values())


def test_answers_name_the_most_probable_label_and_hold_the_interval() -> None:
    assert Probabilities({"green": 0.2, "red": 0.5, "yellow": 0.3}).label == "red"
    assert Estimate(1.0, 0.5, 1.5, 0.9).high == 1.5
