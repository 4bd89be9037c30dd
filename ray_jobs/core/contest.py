"""Comparing models: all contenders answer the same rows, and each difference is told from chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from pipelines.models.judgement import SHOWN_CONFIDENCE, Gate, Judgement
from pipelines.models.program import CHALLENGER, Evaluation
from ray_jobs.core import slices
from ray_jobs.core.dataset import Columns, Rows
from ray_jobs.core.errors import MetricError
from ray_jobs.core.resampling import RESAMPLES, Part, Units, bounds, draw

#: Evaluates predictions of rows against their labels [rows]: `measure(labels, predictions)`.
Measure = Callable[[NDArray[Any], Any], Evaluation]


class Contender(Protocol):
    """A model that answers rows with predictions, of the type that the measure takes."""

    def predict(self, rows: Columns) -> Any: ...


@dataclass(frozen=True, slots=True)
class Contest:
    """The evaluation of each contender, by its name, and how the challenger differs from the others."""

    evaluations: Mapping[str, Evaluation]
    judgement: Judgement


def evaluate(rows: Rows, contenders: Mapping[str, Contender], *, measure: Measure) -> dict[str, Evaluation]:
    """Evaluates every contender on the same rows; raises what `measure` raises."""
    return {name: measure(rows.labels, contender.predict(rows.columns)) for name, contender in contenders.items()}


def contest(rows: Rows, contenders: Mapping[str, Contender], *, measure: Measure, gate: Gate) -> Contest:
    """Evaluates every contender on the same rows, and compares the challenger with each of the others.

    The same rows and predictions give the same bounds: the draws are seeded.

    Args:
        rows: The rows, with the gate's columns.
        contenders: By name; one of them is the challenger.
        measure: Its evaluations have a score for each metric that the gate names.
        gate: Its metrics are named.

    Raises:
        MetricError: if an evaluation lacks a score, or there is one unit alone to draw from; and as `measure` does.
        DatasetError: if a column that divides the rows has too many values.
    """
    evaluations = evaluate(rows, contenders, measure=measure)
    _require_scores(evaluations, gate)
    scores = {name: evaluation.scores for name, evaluation in evaluations.items()}
    units, divided = Units.of(rows, gate.together), slices.divide(rows, gate)
    whole = Part(None, {name: {metric: own[metric] for metric in gate.metrics} for name, own in scores.items()})
    drawn, *of_slices = draw([whole, *(each.part(scores, gate.metrics) for each in divided)], units, len(rows))
    opponents = [name for name in scores if name != CHALLENGER]
    differences = [
        slices.difference(drawn, metric, opponent, 1 - gate.confidence)
        for opponent in opponents
        for metric in gate.metrics
    ]
    intervals = {
        name: {
            metric: bounds(own, 1 - max(gate.confidence, SHOWN_CONFIDENCE), drawn.units)
            for metric, own in metrics.items()
        }
        for name, metrics in drawn.draws.items()
    }
    figures, gaps = slices.judge(divided, of_slices, gate)
    judgement = Judgement(
        rows=len(rows),
        confidence=gate.confidence,
        resamples=RESAMPLES,
        units=units.number,
        differences=tuple(differences),
        slices=tuple(figures),
        gaps=tuple(gaps),
        intervals=intervals,
    )
    return Contest(evaluations, judgement)


def _require_scores(evaluations: Mapping[str, Evaluation], gate: Gate) -> None:
    named = {*gate.metrics, *(m for part in gate.slices for m in (*part.tolerance, *part.largest_gap))}
    for contender, evaluation in evaluations.items():
        if lacking := sorted(named - evaluation.scores.keys()):
            raise MetricError(
                object=f"evaluation of the {contender}",
                observed=f"no score of {' and '.join(lacking)}",
                expected="a score of each metric that the gate names; it has "
                + (", ".join(sorted(evaluation.scores)) or "none"),
                next_step="name others in the gate, or return the score in `scores` of the program's evaluation; "
                "ray_jobs/core/scores.py has their classes",
            )
