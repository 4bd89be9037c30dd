"""The gate: whether a challenger may become the champion, by figures on rows that no contender was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn

from pipelines.errors import ModelError
from pipelines.models import tasks
from pipelines.models.answers import Task
from pipelines.models.judgement import Difference, Gate, Judgement, Slice
from pipelines.models.program import CHAMPION
from pipelines.models.tasks import Better


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of the challenger against one opponent, and which value is better."""

    difference: Difference
    better: Better
    allowance: float = 0.0

    @property
    def won(self) -> bool:
        """Whether the challenger is better, and not by chance; with an allowance, that it is not worse by that much."""
        own, less = self.difference, -self.allowance
        if self.better == "greater":
            return own.challenger_value - own.opponent_value > less and own.low > less
        return own.challenger_value - own.opponent_value < self.allowance and own.high < self.allowance

    @property
    def figures(self) -> dict[str, Any]:
        """What the gate's file holds of it."""
        return asdict(self.difference) | {"better": self.better, "won": self.won}

    def __str__(self) -> str:
        own = self.difference
        values = f"{own.metric} {own.challenger_value:.4f} against {own.opponent} {own.opponent_value:.4f}"
        low, high = own.shown
        return f"{values} (difference {low:+.4f} to {high:+.4f})"


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What a gate decides by a judgement.

    Attributes:
        task: The task of the model.
        gate: What is asked, with its metrics named.
        judgement: The figures.
        window: Which rows were compared.
    """

    task: Task
    gate: Gate
    judgement: Judgement
    window: str

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The comparisons with the gate's opponents, over all rows."""
        named = self.gate.opponents
        return tuple(
            Comparison(difference, self._better(difference.metric), self._allowance(difference))
            for difference in self.judgement.differences
            if not named or difference.opponent in (*named, CHAMPION)
        )

    @property
    def objections(self) -> list[str]:
        """Why the challenger does not pass; none if it does."""
        compared = self.comparisons
        lost = [str(each) for each in compared if not each.won and not each.allowance]
        worse = [f"{each}, allowed {each.allowance:g}" for each in compared if not each.won and each.allowance]
        objections = [f"does not beat: {'; '.join(lost)}"] if lost else []
        objections += [f"may be worse: {'; '.join(worse)}"] if worse else []
        objections += [] if compared else ["was compared with nobody"]
        for declared in self.gate.slices:
            objections += self._slices_objections(declared)
        return objections

    @property
    def passed(self) -> bool:
        return not self.objections

    @property
    def reason(self) -> str:
        if self.objections:
            return "; ".join(self.objections)
        beaten = all(self._beats(each) for each in self.comparisons)
        return "beats every opponent" if beaten else "beats every opponent, or is not worse than the allowance"

    def document(self) -> dict[str, Any]:
        """The decision with its figures and what follows from them, as JSON holds it."""
        content = {
            "task": self.task,
            "gate": asdict(self.gate),
            "metrics": self.gate.metrics,
            "passed": self.passed,
            "reason": self.reason,
            "window": self.window,
            "comparisons": [comparison.figures for comparison in self.comparisons],
            "judgement": asdict(self.judgement),
        }
        return json.loads(json.dumps(content), object_hook=_without_absent)

    def _slices_objections(self, declared: Slice) -> list[str]:
        """Which slices of a column got worse or lie too far apart, and whether that could be told at all."""
        slices = [each for each in self.judgement.slices if each.column == declared.column]
        judged = [each for each in slices if not each.not_judged]
        opponents = {difference.opponent for difference in self.judgement.differences}
        asked = {(opponent, metric) for opponent in opponents for metric in declared.tolerance}
        complete = all({(own.opponent, own.metric) for own in each.differences} == asked for each in judged)
        if not complete or sum(each.rows for each in slices) != self.judgement.rows:
            return [f"lacks figures of slices of {declared.column}"]
        if (declared.tolerance and not judged) or (declared.largest_gap and len(judged) < 2):
            reasons = "; ".join(f"{each.value}: {each.not_judged}" for each in slices[:3] if each.not_judged)
            return [f"cannot tell slices of {declared.column} apart from chance: {reasons or 'too few of them'}"]
        worse = [
            f"gets worse where {declared.column} is {each.value}: {Comparison(own, self._better(own.metric))}, "
            f"allowed {declared.tolerance[own.metric]:g}"
            for each in judged
            for own in each.differences
            if self._worse(own, declared.tolerance[own.metric])
        ]
        gaps = {gap.metric: gap for gap in self.judgement.gaps if gap.column == declared.column}
        wide = [
            f"{metric} lies {gaps[metric].distance:.4f} apart between {declared.column} {gaps[metric].lowest} and "
            f"{gaps[metric].highest}, allowed {limit:g}"
            for metric, limit in declared.largest_gap.items()
            if not gaps[metric].low <= limit
        ]
        return [*worse, *wide]

    def _worse(self, own: Difference, tolerance: float) -> bool:
        """Whether a slice got worse by more than the tolerance, and not by chance."""
        return not (own.high >= -tolerance if self._better(own.metric) == "greater" else own.low <= tolerance)

    def _allowance(self, difference: Difference) -> float:
        return self.gate.allowance.get(difference.metric, 0.0) if difference.opponent == CHAMPION else 0.0

    @staticmethod
    def _beats(comparison: Comparison) -> bool:
        return replace(comparison, allowance=0.0).won

    def _better(self, metric: str) -> Better:
        return tasks.gate_metrics(self.task, (metric,))[metric]


def _without_absent(document: dict[str, Any]) -> dict[str, Any]:
    """Without what files of earlier releases lack."""
    return {
        name: value for name, value in document.items() if (name, value) not in (("interval", None), ("allowance", {}))
    }


def decide(*, task: Task, gate: Gate, judgement: Judgement, window: str) -> GateDecision:
    """The decision of a gate by the figures of a contest.

    Args:
        task: The task of the model.
        gate: What is asked; its metrics are named.
        judgement: Compares the challenger with each opponent.
        window: Which rows were compared.

    Raises:
        ModelError: if there is no opponent, or a comparison that the gate asks for is missing.
    """
    compared = {(each.opponent, each.metric) for each in judgement.differences}
    opponents = {opponent for opponent, _ in compared}
    if not opponents:
        _refuse("no opponent to compare the challenger with", "at least the baseline's metrics")
    if judgement.confidence != gate.confidence:
        _refuse(f"comparisons with confidence {judgement.confidence}", f"the gate's {gate.confidence}")
    if absent := sorted(set(gate.opponents) - opponents - {CHAMPION}):
        _refuse(
            f"no opponent {', '.join(absent)}", f"opponents that the program compares: {', '.join(sorted(opponents))}"
        )
    for opponent in sorted(opponents):
        if missing := sorted(metric for metric in gate.metrics if (opponent, metric) not in compared):
            _refuse(f"no comparison with the {opponent} by {', '.join(missing)}", f"{', '.join(gate.metrics)} for each")
    return GateDecision(task, gate, judgement, window)


def read(document: Mapping[str, Any]) -> GateDecision:
    """The decision that `GateDecision.document` describes.

    Raises:
        KeyError, ValueError: if a part is absent or of another type, or does not follow from the figures.
        ModelError: as `decide` does.
    """
    from pydantic import TypeAdapter

    decision = decide(
        task=TypeAdapter(Task).validate_python(document["task"]),
        gate=TypeAdapter(Gate).validate_python(document["gate"]),
        judgement=TypeAdapter(Judgement).validate_python(document["judgement"]),
        window=document["window"],
    )
    own = decision.document()
    if differing := [name for name, value in own.items() if document.get(name) != value]:
        raise ValueError(f"{' and '.join(differing)} does not follow from its figures")
    return decision


def named(task: Task, gate: Gate) -> Gate:
    """The gate with its metrics named; raises DefinitionError as `tasks.gate_metrics` does."""
    return replace(gate, metrics=tuple(tasks.gate_metrics(task, gate.metrics)))


def differing(gate: Mapping[str, Any], declared: Gate) -> Sequence[str]:
    """The settings in which a gate, as its file holds it, differs from a declared one."""
    own = json.loads(json.dumps(asdict(declared)), object_hook=_without_absent)
    unordered = ("metrics", "opponents", "apart", "known_inputs")
    return [
        name
        for name in dict.fromkeys((*own, *gate))
        if gate.get(name) != own.get(name)
        and not (name in unordered and sorted(gate.get(name, ())) == sorted(own.get(name, ())))
    ]


def _refuse(observed: str, expected: str) -> NoReturn:
    raise ModelError(
        object="gate",
        observed=observed,
        expected=expected,
        next_step="correct the gate in the model's declaration, or the opponents that its program compares",
    )
