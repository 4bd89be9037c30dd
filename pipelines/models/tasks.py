"""What follows from a model's task: its metrics and their words, those that its gate compares, and its plots.

A new task is its name in `answers.Task`, its answer there, and its entry in `TASKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.errors import DefinitionError
from pipelines.models.answers import Task
from pipelines.quality import plots

#: Which value of a metric is better.
Better = Literal["greater", "smaller"]
#: Draws a PNG from a figure of each contender, by the contender's name.
Draw = Callable[[Mapping[str, Any]], bytes]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric tells; `better` is None for one that no gate can compare."""

    meaning: str
    better: Better | None = None


@dataclass(frozen=True, slots=True)
class TaskRules:
    """What follows from one task.

    Attributes:
        answer: What a model answers, for its card.
        metrics: By name, those that programs measure for every contender.
        gate: The metrics that a gate compares if the model's declaration names none.
        plots: Draws each figure of an evaluation, by the figure's name.
    """

    answer: str
    metrics: Mapping[str, Metric]
    gate: tuple[str, ...]
    plots: Mapping[str, Draw]

    def better(self, metric: str) -> Better | None:
        """Which value of a metric is better; None for a metric that no gate can compare."""
        known = self.metrics.get(metric)
        return known.better if known else None

    def draw(self, figures: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
        """The plots as PNG images by name, from the figures of each contender."""
        return {name: draw({who: own[name] for who, own in figures.items()}) for name, draw in self.plots.items()}


ROWS = Metric("rows that were compared")
TASKS: Mapping[Task, TaskRules] = {
    "binary": TaskRules(
        answer="the probability that the label is 1",
        metrics={
            "auc": Metric("area under the ROC curve: how well probabilities order rows; 0.5 is chance", "greater"),
            "average_precision": Metric("area under the precision-recall curve", "greater"),
            "log_loss": Metric("mean negative logarithm of the probability of what came", "smaller"),
            "brier": Metric("mean squared distance between probability and label", "smaller"),
            "ece": Metric("mean distance between predicted probability and observed share, in 15 bins", "smaller"),
            "bias": Metric("mean of predicted probability minus label"),
            "mean_probability": Metric("mean predicted probability"),
            "balance_of_1": Metric("mean predicted probability of the rows with label 1"),
            "balance_of_0": Metric("mean predicted probability of the rows with label 0"),
            "n": ROWS,
            "positives": Metric("rows with label 1"),
        },
        gate=("auc", "log_loss"),
        plots={"roc": plots.roc, "calibration": plots.calibration},
    ),
    "regression": TaskRules(
        answer="a value and an interval around it, in the unit of the label",
        metrics={
            "mae": Metric("mean absolute error, in the unit of the label", "smaller"),
            "rmse": Metric("root of the mean squared error, in the unit of the label", "smaller"),
            "bias": Metric("mean of predicted minus true value, in the unit of the label"),
            "coverage": Metric("share of true values inside the interval; it should be about interval_level"),
            "interval_level": Metric("probability with which the interval should hold the true value"),
            "interval_width": Metric("width of the interval, in the unit of the label"),
            "n": ROWS,
        },
        gate=("mae", "rmse"),
        plots={
            "predicted_against_actual": plots.predicted_against_actual,
            "residuals": plots.residuals,
            "interval_coverage": plots.interval_coverage,
        },
    ),
    "multiclass": TaskRules(
        answer="the probability of each label",
        metrics={
            "log_loss": Metric("mean negative logarithm of the probability of what came", "smaller"),
            "accuracy": Metric("share of rows whose most probable label came", "greater"),
            "mean_recall": Metric("mean over labels of the share of their rows that were recognized", "greater"),
            "n": ROWS,
            "labels": Metric("labels that came"),
        },
        gate=("log_loss", "accuracy"),
        plots={"confusion": plots.confusion, "recall": plots.recall},
    ),
    "text": TaskRules(
        answer="a text",
        metrics={
            "held_out_loss": Metric("mean negative logarithm of the probability of a known answer's tokens", "smaller"),
            "perplexity": Metric("exponential of held_out_loss", "smaller"),
            "rouge_l": Metric(
                "mean F-measure of the longest common subsequence of words of the known and the written answer",
                "greater",
            ),
            "exact_match": Metric("share of written answers that are the known ones, but for white space", "greater"),
            "cut": Metric("share of rows whose prompt lost its end, because it was too long"),
            "n": ROWS,
            "n_written": Metric("rows for which an answer was written, to compute rouge_l and exact_match"),
        },
        gate=("held_out_loss", "rouge_l"),
        plots={"rouge_l": plots.rouge_l, "samples": plots.samples},
    ),
}


def rules(task: Task) -> TaskRules:
    """What follows from a task; raises DefinitionError for one of which nothing is known yet."""
    if task not in TASKS:
        raise DefinitionError(
            object=f"task {task}",
            observed="the platform has no metrics, plots and gate for it, and no program trains it",
            expected=" or ".join(TASKS),
            next_step="declare one of these tasks, or add the task to pipelines/models/tasks.py and to a program",
        )
    return TASKS[task]


def gate_metrics(task: Task, named: Sequence[str]) -> dict[str, Better]:
    """Which value is better, of each metric that a gate compares: those named, or those of the task if none is.

    Raises:
        DefinitionError: for a metric that the task lacks, or that no gate can compare.
    """
    known = rules(task)
    compared = {metric: known.better(metric) for metric in named or known.gate}
    directions = {metric: better for metric, better in compared.items() if better is not None}
    if unknown := sorted(compared.keys() - directions.keys()):
        raise DefinitionError(
            object=f"gate metrics {', '.join(unknown)}",
            observed=f"no metrics that a gate of the task {task} compares",
            expected=", ".join(metric for metric in known.metrics if known.better(metric)),
            next_step="correct the gate of the model's declaration",
        )
    return directions
