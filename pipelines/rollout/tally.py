"""Counts what the versions did, by guard, stage and field value, each under its part of the allowed false alarms.

Guards are tested together: `false_alarms` is divided by their number, and each part further by the stages and by the
field values that the guard looks at (Bonferroni), so that all bounds of a rollout hold together at all times.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.models.rollout_plan import Guard, Plan
from pipelines.rollout.routes import Arm
from pipelines.rollout.sequential import Bounds, Mean, Rate, rate

ARMS: tuple[Arm, Arm] = ("stable", "candidate")
QUANTILES = {"latency_p50": 0.5, "latency_p99": 0.99}
#: A candidate that is slower by less than this, in milliseconds, is not slow: it answers from another process.
NOT_SLOW_MS = 10.0
#: So many values of a field are judged at most, those that are seen first; each has its part of the false alarms.
LARGEST_FIELD = 20
#: So many durations of each version and stage are kept.
KEPT = 2_000
#: The number of a stage for what is counted over the whole rollout: losses, whose outcomes come late.
WHOLE = -1


class LossVerdict(Guard):
    """The guard behind a verdict on the loss, which plans with such a stage have beside their own.

    Of a class of its own, so that a plan's guard with the same limit is another guard.
    """


VERDICT = LossVerdict("loss", 0.0)

#: How two versions are compared: answers of each, or the difference on the same questions.
How = Literal["apart", "paired"]


@dataclass(frozen=True, slots=True)
class Key:
    """What is tested once: a guard, in a stage, for one value of a field or (empty) for all questions."""

    guard: Guard
    stage: int
    how: How
    value: str = ""


@dataclass(slots=True)
class Compared:
    """The values of a guard's metric, by version; of the candidate alone where they are paired."""

    alpha: float
    arms: dict[Arm, Mean] | dict[Arm, Rate]

    def bounds(self) -> Bounds:
        """Of the difference of two means; of a rate, or of what is paired, the candidate's own."""
        stable, candidate = self.arms.get("stable"), self.arms["candidate"]
        if isinstance(stable, Mean) and isinstance(candidate, Mean):
            return candidate.minus(stable, self.alpha)
        return candidate.bounds(self.alpha)


@dataclass(slots=True)
class Slow:
    """The candidate's slow answers, for a guard of a latency.

    Attributes:
        limit: A slow answer takes longer, in milliseconds. It is taken once in a stage, when as many answers of the
            serving version are known as the guard's `minimum`, and kept: above the true quantile with 99.5 % by a
            normal approximation, times the guard's limit.
        alpha: The guard's part of the false alarms.
        hits: How many answers were slow.
        count: Of how many.
    """

    limit: float
    alpha: float
    hits: int = 0
    count: int = 0

    def add(self, milliseconds: float) -> None:
        """Counts an answer."""
        self.hits += milliseconds > self.limit
        self.count += 1

    def bounds(self) -> Bounds:
        """The interval that holds the true share of slow answers."""
        return rate(self.hits, self.count, self.alpha)


class Tally:
    """The evidence of a rollout, in constant memory except for predictions whose outcomes are not known yet.

    Args:
        plan: The running plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        verdicts = any(stage.until == "verdict" or stage.bandit for stage in plan.stages)
        self.guards = (*plan.guards, VERDICT) if verdicts else plan.guards
        self.compared: dict[Key, Compared] = {}
        self.answers: Counter[tuple[int, Arm]] = Counter()
        #: Of the last answers in each stage, for the beginning of a stage and for people.
        self.milliseconds: dict[tuple[int, Arm], deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))
        #: Of the candidate's requests without an answer, by the word for the failure.
        self.failures: Counter[str] = Counter()
        self.slow: dict[tuple[Guard, int], Slow] = {}
        self._unknown: dict[str, list[tuple[How, dict[str, Any], dict[str, Any], dict[str, Any], Arm]]] = {}
        self._values: dict[tuple[Guard, str], list[str]] = defaultdict(list)

    @property
    def waiting_for_outcomes(self) -> list[str]:
        """The ids of predictions whose outcomes are not known."""
        return list(self._unknown)

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Counts lines of evidence."""
        for line in lines:
            self._add(line)

    def _add(self, line: Mapping[str, Any]) -> None:
        stage, arm, mirrored, failed = line["stage"], line["arm"], line["mirrored"], line["failed"]
        questions = line["answers"]
        self.answers[stage, arm] += len(questions)
        if failed:
            self.failures[failed] += arm == "candidate"
        else:
            self._add_duration(stage, arm, line["ms"])
        for guard in self.guards:
            if guard.metric == "errors":
                for question in questions:
                    self._count(guard, stage, "apart", arm, float(bool(failed)), question.get("fields", {}))
        if failed:
            return
        for place, question in enumerate(questions):
            stable = line["stable"][place] if mirrored else None
            self._add_answer(stage, arm, question, stable)
            if line["cpu_ms"] is not None:
                self._add_cost(stage, arm, line["cpu_ms"] / len(questions), question.get("fields", {}))

    def _add_duration(self, stage: int, arm: Arm, milliseconds: float) -> None:
        self.milliseconds[stage, arm].append(milliseconds)
        for guard in self.guards:
            if guard.metric not in QUANTILES:
                continue
            if (slow := self.slow.get((guard, stage))) is None:
                self._begin_to_count(guard, stage)
            elif arm == "candidate":
                slow.add(milliseconds)

    def _add_cost(self, stage: int, arm: Arm, cpu_ms: float, fields: Mapping[str, Any]) -> None:
        """Counts the processor time of an answer; of the serving version the time that is allowed."""
        for guard in self.guards:
            if guard.metric == "cost":
                value = cpu_ms * guard.limit if arm == "stable" else cpu_ms
                self._count(guard, stage, "apart", arm, value, fields)

    def _add_answer(self, stage: int, arm: Arm, question: Mapping[str, Any], stable: Mapping[str, Any] | None) -> None:
        said, fields = question["said"], question.get("fields", {})
        for guard in self.guards:
            if guard.metric == "missing":
                self._count(guard, stage, "apart", arm, question["missing"], fields)
            elif guard.metric == "disagreement" and stable is not None:
                self._count(guard, stage, "paired", arm, float(differ(said, stable, guard.tolerance)), fields)
            elif guard.metric == "score" and stable is not None:
                difference = (score(said) - score(stable)) / self._scale
                self._count(guard, stage, "paired", arm, _within(difference), fields)
            elif guard.metric == "score" and "value" not in said:
                self._count(guard, stage, "apart", arm, score(said), fields)
        if any(guard.metric == "loss" for guard in self.guards) and question.get("id"):
            how: How = "paired" if stable is not None else "apart"
            entry = (how, dict(said), dict(stable or {}), dict(fields), arm)
            self._unknown.setdefault(question["id"], []).append(entry)

    def learn(self, outcomes: Mapping[str, Any]) -> int:
        """Counts the losses of predictions whose outcomes are known now; returns how many there were.

        Args:
            outcomes: The label by the prediction's id. One that came before is not counted twice.
        """
        learned = 0
        for prediction, label in outcomes.items():
            for how, said, stable, fields, arm in self._unknown.pop(prediction, ()):
                value = loss(said, label, self._scale)
                if how == "paired":
                    value = _within(value - loss(stable, label, self._scale))
                for guard in self.guards:
                    if guard.metric == "loss":
                        self._count(guard, WHOLE, how, arm, value, fields)
                learned += 1
        return learned

    def _count(self, guard: Guard, stage: int, how: How, arm: Arm, value: float, fields: Mapping[str, Any]) -> None:
        for text in ("", *(f"{name}={fields[name]}" for name in guard.by if name in fields)):
            if text and not self._is_judged(guard, text):
                continue
            key = Key(guard, stage, how, text)
            if key not in self.compared:
                self.compared[key] = self._new(key)
            self.compared[key].arms[arm].add([value])

    def _is_judged(self, guard: Guard, value: str) -> bool:
        """Whether a field value is one of those that are judged, which it becomes while there are few."""
        seen = self._values[guard, value.partition("=")[0]]
        if value not in seen and len(seen) < LARGEST_FIELD:
            seen.append(value)
        return value in seen

    def _new(self, key: Key) -> Compared:
        kind = Rate if key.guard.metric in ("errors", "disagreement") else Mean
        arms: tuple[Arm, ...] = ("candidate",) if key.how == "paired" else ARMS
        return Compared(self.alpha(key.guard), {arm: kind() for arm in arms})  # ty: ignore[invalid-argument-type]

    def alpha(self, guard: Guard) -> float:
        """The part of the false alarms that each test of a guard has."""
        part = self.plan.false_alarms / len(self.guards)
        # Losses are tested over the whole rollout, paired and apart; the rest once in each stage.
        part /= 2 if guard.metric == "loss" else len(self.plan.stages)
        return part / (1 + LARGEST_FIELD * len(guard.by)) if guard.by else part

    def slower(self, guard: Guard, stage: int) -> Slow | None:
        """How many of the candidate's answers are slow, for a guard of a latency; None while that is not known."""
        slow = self.slow.get((guard, stage))
        return slow if slow is not None and slow.count else None

    def _begin_to_count(self, guard: Guard, stage: int) -> None:
        """Begins to count slow answers, if enough answers of the serving version are known: of this stage, or where it
        has few of the stage before. With each answer, so that the same evidence gives the same limit."""
        import numpy as np

        stable, before = self.milliseconds[stage, "stable"], self.milliseconds[stage - 1, "stable"]
        known = stable if len(stable) >= guard.minimum else before
        if len(known) < guard.minimum:
            return
        quantile = QUANTILES[guard.metric]
        upper = min(1.0, quantile + 2.6 * math.sqrt(quantile * (1 - quantile) / len(known)))
        usual = float(np.quantile(known, upper))
        slow = self.slow[guard, stage] = Slow(max(guard.limit * usual, usual + NOT_SLOW_MS), self.alpha(guard))
        for milliseconds in self.milliseconds[stage, "candidate"]:
            slow.add(milliseconds)

    @property
    def _scale(self) -> float:
        return float(self.plan.outcomes["scale"]) if self.plan.outcomes else 1.0

    def losses(self) -> tuple[Mean, Mean] | None:
        """The losses of both versions' own answers; None before the first is known."""
        compared = self.compared.get(Key(VERDICT, WHOLE, "apart"))
        return (compared.arms["stable"], compared.arms["candidate"]) if compared else None  # ty: ignore


def score(said: Mapping[str, Any]) -> float:
    """The number in an answer: the probability, of labels that of the chosen one, or the value."""
    if "probabilities" in said:
        return float(max(said["probabilities"].values()))
    return float(said["probability"] if "probability" in said else said["value"])


def differ(said: Mapping[str, Any], other: Mapping[str, Any], tolerance: float) -> bool:
    """Whether two answers say something else: another decision, label or text, or a value too far away."""
    if "value" in said:
        return abs(said["value"] - other["value"]) > tolerance
    name = next(name for name in ("decision", "label", "text") if name in said)
    return said[name] != other[name]


def loss(said: Mapping[str, Any], label: Any, scale: float) -> float:
    """The error of an answer, from 0 to 1: Brier's score of a probability; 1 minus the probability of the true label;
    the absolute error of a value in units of `scale`, at most 1."""
    if "probability" in said:
        return (float(said["probability"]) - float(label)) ** 2
    if "probabilities" in said:
        return 1.0 - float(said["probabilities"].get(str(label), 0.0))
    return min(abs(float(said["value"]) - float(label)) / scale, 1.0)


def _within(difference: float) -> float:
    """A difference, at most 1 in either direction."""
    return min(max(difference, -1.0), 1.0)
