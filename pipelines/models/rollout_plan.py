"""How a new version of a model takes over a service: what a domain declares beside the model.

    ModelSpec(..., rollout=Rollout.canary(shares=(0.01, 0.05, 0.25), outcomes=Outcomes(contract("gold/outcomes"), ...)))

A plan is a list of stages. In each, the candidate gets a share of the questions, or sees all of them without being
heard (mirrored). Guards compare it with the version that serves; a broken one ends the rollout at once.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError

#: What a guard compares, each between the candidate and the version that serves:
#: `errors` the share of questions without an answer: failures, answers that are no numbers, and late ones. Broken by a
#: candidate that fails more often than the limit, and more often than the version that serves;
#: `latency_p50`, `latency_p99` how long an answer takes;
#: `cost` the processor time of an answer;
#: `disagreement` the share of mirrored questions with another decision, or a value farther away than `tolerance`;
#: `score` the mean of the scores: drift of what is predicted;
#: `missing` the share of features that were missing: drift of what is read;
#: `loss` the error against the outcome, once it is known.
Metric = Literal["errors", "latency_p50", "latency_p99", "cost", "disagreement", "score", "missing", "loss"]
#: Metrics whose limit is a factor of what the serving version takes.
FACTORS = ("latency_p50", "latency_p99", "cost")
#: Metrics whose limit is a share, or a difference of shares.
SHARES = ("errors", "disagreement", "missing", "loss")
#: When a stage ends well: `enough` answers were counted and no guard broke; the `verdict` on the loss is that the
#: candidate is better; or a `person` says so.
Until = Literal["enough", "verdict", "person"]
#: What happens when a stage's longest time passes without its evidence.
IfMissing = Literal["back", "pause"]


def _wrong(what: str, observed: str, expected: str) -> DefinitionError:
    return DefinitionError(object=what, observed=observed, expected=expected, next_step="correct the model's rollout")


def _require_one_of(what: str, name: str, value: str, allowed: Any) -> None:
    if value not in get_args(allowed):
        raise _wrong(what, f"{name} {value!r}", f"one of {', '.join(get_args(allowed))}")


@dataclass(frozen=True, slots=True)
class Guard:
    """A limit that the candidate must keep to.

    Attributes:
        metric: What is compared.
        limit: By how much the candidate may be worse: for latencies a factor of the time that the serving version takes
            for the same share of its answers, for `cost` of its mean processor time; for `errors` and `disagreement`
            the share itself; else the difference of the mean scores in units of `scale`, of the mean shares of missing
            features, or of the mean losses.
        by: Fields of the question: the guard holds for each of their values too. Not for latencies.
        minimum: So many of the candidate's answers must be measured before a stage may end well; for `loss`, so many
            outcomes must be known.
        tolerance: For `disagreement` between values: how far apart they may be.
    """

    metric: Metric
    limit: float
    by: tuple[str, ...] = ()
    minimum: int = 50
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        _require_one_of("a rollout's guard", "metric", self.metric, Metric)
        if isinstance(self.by, str):
            raise _wrong(f"guard {self.metric}", f"by {self.by!r}", f"a tuple of fields: by=({self.by!r},)")
        if self.metric in SHARES and self.limit >= 1:
            raise _wrong(f"guard {self.metric}", f"limit {self.limit}", "a share below 1, which can be exceeded")
        lowest = 1.0 if self.metric in FACTORS else 0.0
        if not self.limit >= lowest or self.minimum < 1 or (self.by and self.metric.startswith("latency")):
            raise _wrong(
                f"guard {self.metric}",
                f"limit {self.limit}, minimum {self.minimum}, by {self.by}",
                f"a limit of at least {lowest:g}, a minimum of at least 1, and no fields for latencies",
            )


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a rollout.

    Attributes:
        name: How people read of it.
        share: Of the questions that the candidate answers; None lets it see every question, and drops its answers.
        answers: So many answers of the candidate, at least, before the stage may end well.
        minutes: The stage lasts at least so long.
        maximum_minutes: A stage that has not ended well by then has missed its evidence.
        until: What ends it well.
        bandit: Whether the share follows the outcomes, between `share` and `1 - share`: each version gets as much as it
            is probable that it is the better one (Thompson sampling).
    """

    name: str
    share: float | None
    answers: int = 500
    minutes: float = 10.0
    maximum_minutes: float = 24 * 60.0
    until: Until = "enough"
    bandit: bool = False

    def __post_init__(self) -> None:
        _require_one_of(f"stage {self.name}", "until", self.until, Until)
        good = self.share is None or 0 < self.share <= 1
        if not good or self.answers < 1 or not 0 <= self.minutes < self.maximum_minutes:
            raise _wrong(
                f"stage {self.name}",
                f"share {self.share}, {self.answers} answers, {self.minutes} to {self.maximum_minutes} minutes",
                "a share above 0 and at most 1, at least one answer, and a least time that is shorter than the longest",
            )


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Where the outcome of a prediction is found later.

    Attributes:
        table: The contract of the gold table of predictions and their outcomes: `prediction_id`, and the outcome.
        label: The column of the outcome; null while it is not known.
        scale: For values: an error of this size, in the unit of the label, counts as 1, and so does any larger one.
    """

    table: Contract
    label: str
    scale: float = 1.0


GUARDS = (
    Guard("errors", 0.01),
    Guard("latency_p50", 2.0),
    Guard("latency_p99", 2.0, minimum=200),
    Guard("missing", 0.05),
)


@dataclass(frozen=True, slots=True)
class Rollout:
    """A plan.

    Attributes:
        name: The kind of plan, for people.
        stages: In their order; after the last one the candidate is the champion.
        guards: Broken by evidence, each ends the rollout in any stage.
        false_alarms: A candidate that is exactly as good as the version that serves is sent back at most in this share
            of rollouts, over all guards, slices, stages and looks together.
        assigned_by: A field of the question: all questions with the same value get the same version, and keep it
            while the candidate's share grows. Empty: each question is assigned for itself.
        if_missing: What happens when a stage's longest time passes without its evidence: the candidate goes back, or
            the rollout pauses for a person. It never goes on.
        deadline_seconds: A candidate's answer that takes longer is given by the serving version, and is an error.
        outcomes: Where labels are found; needed for `loss`, for verdicts and for bandits.
    """

    name: str
    stages: tuple[Stage, ...]
    guards: tuple[Guard, ...] = GUARDS
    false_alarms: float = 0.05
    assigned_by: str = ""
    if_missing: IfMissing = "back"
    deadline_seconds: float = 2.0
    outcomes: Outcomes | None = None

    def __post_init__(self) -> None:
        _require_one_of(f"rollout {self.name}", "if_missing", self.if_missing, IfMissing)
        if len(set(self.guards)) < len(self.guards):
            raise _wrong(f"rollout {self.name}", "a guard that is named twice", "each guard once")
        if not self.deadline_seconds > 0:
            raise _wrong(f"rollout {self.name}", f"deadline_seconds {self.deadline_seconds}", "more than 0")
        needs = [guard.metric for guard in self.guards if guard.metric == "loss"]
        needs += [stage.name for stage in self.stages if stage.until == "verdict" or stage.bandit]
        if not self.stages or not self.guards or not 0 < self.false_alarms < 1:
            raise _wrong(
                f"rollout {self.name}",
                f"{len(self.stages)} stages, {len(self.guards)} guards, false_alarms {self.false_alarms}",
                "at least one stage and one guard, and a share between 0 and 1",
            )
        if needs and self.outcomes is None:
            raise _wrong(f"rollout {self.name}", f"no outcomes, which {needs[0]} needs", "outcomes=Outcomes(...)")

    @classmethod
    def canary(
        cls,
        shares: tuple[float, ...] = (0.01, 0.05, 0.25),
        *,
        answers: int = 500,
        minutes: float = 10.0,
        maximum_minutes: float = 24 * 60.0,
        **more: Any,
    ) -> Rollout:
        """Shadow, then rising shares, then all questions while the version before stays loaded; see `Stage`."""
        if any(after <= before for before, after in pairwise(shares)):
            raise _wrong("rollout canary", f"shares {', '.join(map(str, shares))}", "shares that rise")
        named = [(f"canary {share:.0%}", share) for share in shares]
        stages = (
            Stage(name, share, answers, minutes, maximum_minutes)
            for name, share in [("shadow", None), *named, ("all", 1.0)]
        )
        return cls("canary", tuple(stages), **more)

    @classmethod
    def linear(cls, steps: int = 5, **more: Any) -> Rollout:
        """Shadow, then equal steps up to all questions; takes what `canary` takes."""
        if steps < 2:
            raise _wrong("rollout linear", f"steps {steps}", "2 or more; with one it is blue_green()")
        return replace(cls.canary(tuple(step / steps for step in range(1, steps)), **more), name="linear")

    @classmethod
    def blue_green(cls, **more: Any) -> Rollout:
        """Shadow, then all questions at once, while the version before stays loaded; takes what `canary` takes."""
        return replace(cls.canary((), **more), name="blue-green")

    @classmethod
    def ab_test(
        cls,
        outcomes: Outcomes,
        share: float = 0.5,
        *,
        answers: int = 1_000,
        minutes: float = 60.0,
        maximum_minutes: float = 14 * 24 * 60.0,
        **more: Any,
    ) -> Rollout:
        """Two versions side by side until the outcomes say that the candidate is better; else it goes back."""
        stage = Stage("A/B", share, answers, minutes, maximum_minutes, "verdict")
        return cls("A/B", (stage,), outcomes=outcomes, **more)

    @classmethod
    def bandit(cls, outcomes: Outcomes, least_share: float = 0.1, **more: Any) -> Rollout:
        """As `ab_test`, while the better version gets more and more of the questions, each at least `least_share`."""
        plan = cls.ab_test(outcomes, least_share, **more)
        return replace(plan, name="bandit", stages=(replace(plan.stages[0], name="bandit", bandit=True),))

    def document(self) -> dict[str, Any]:
        """The plan as JSON holds it; of the outcomes' table the name."""
        outcomes = self.outcomes and {
            "table": str(self.outcomes.table.table), "label": self.outcomes.label, "scale": self.outcomes.scale
        }  # fmt: skip
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ("stages", "guards", "outcomes")}
        parts = {"stages": [asdict(stage) for stage in self.stages], "guards": [asdict(guard) for guard in self.guards]}
        return plain | parts | {"outcomes": outcomes}


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as a running rollout keeps it: a later change of the declaration does not touch it. See `Rollout`."""

    name: str
    stages: tuple[Stage, ...]
    guards: tuple[Guard, ...]
    false_alarms: float
    assigned_by: str
    if_missing: IfMissing
    deadline_seconds: float
    outcomes: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Plan:
        """The plan of a `Rollout.document`."""
        return _plans().validate_python(document)


@functools.cache
def _plans() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)
