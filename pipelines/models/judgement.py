"""How a model is judged: what its declaration asks for, and the figures that a comparison of contenders leaves.

Leaf types: training programs import them in every process of a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Slice:
    """Parts of the compared rows: those of each value of a column of the training set.

    Attributes:
        column: Of texts, booleans or numbers; rows where it is null are a slice of their own.
        edges: Rising numbers that divide a column of numbers; without them, each number is a slice.
        tolerance: The metrics that must not get worse in a slice, and by how much they may.
        largest_gap: How far metrics of the challenger may lie apart between two slices (fairness).
        minimum_rows: A slice with fewer rows is shown and not judged.
    """

    column: str
    edges: tuple[float, ...] = ()
    tolerance: Mapping[str, float] = field(default_factory=dict)
    largest_gap: Mapping[str, float] = field(default_factory=dict)
    minimum_rows: int = 100


@dataclass(frozen=True, slots=True)
class Gate:
    """What a challenger must show before it becomes the champion.

    Attributes:
        metrics: Those that it must win against every opponent; none stands for the usual ones of the model's task.
        opponents: The baselines that it must beat; none stands for all that the program compares it with. The champion
            is always an opponent.
        confidence: Of each comparison: a challenger that is no better passes at most in a share `1 - confidence` of all
            comparisons. 0.5 asks for a better figure alone.
        together: Columns of the training set: rows that agree in them share causes, and are resampled as one. An
            instant counts as its UTC day. None: rows are independent of each other.
        slices: Parts of the rows that are judged too.
        apart: Columns whose values must not be on both sides, training and comparison, such as the id of a patient.
        known_inputs: Inputs that may tell the label nearly alone, since they are known when the model is asked.
        allowance: By metric, how much worse than the champion a challenger may truly be, where its rollout finds the
            rest: few rows seldom show that one is better. Without it, a challenger must be better than the champion.
    """

    metrics: tuple[str, ...] = ()
    opponents: tuple[str, ...] = ()
    confidence: float = 0.95
    together: tuple[str, ...] = ()
    slices: tuple[Slice, ...] = ()
    apart: tuple[str, ...] = ()
    known_inputs: tuple[str, ...] = ()
    allowance: Mapping[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the compared rows that judging reads, each once."""
        return tuple(dict.fromkeys((*self.together, *(part.column for part in self.slices), *self.apart)))


#: Of bounds that people are shown, however little a gate asks for: with 0.5, both bounds would be one number.
SHOWN_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of the challenger and of one opponent on the same rows.

    Attributes:
        metric: The metric's name.
        opponent: The opponent's name.
        challenger_value: The challenger's value.
        opponent_value: The opponent's value.
        low: The true difference, challenger minus opponent, is greater than this with the comparison's confidence.
        high: It is smaller than this with the same confidence.
        interval: The same bounds with `SHOWN_CONFIDENCE`, for people; None if the comparison's is not less.
    """

    metric: str
    opponent: str
    challenger_value: float
    opponent_value: float
    low: float
    high: float
    interval: tuple[float, float] | None = None

    @property
    def shown(self) -> tuple[float, float]:
        """The bounds that people are shown: they never tell less from chance than `SHOWN_CONFIDENCE`."""
        return self.interval or (self.low, self.high)


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """What was measured in one slice.

    Attributes:
        column: The column that divides the rows.
        value: The column's value, as text; of a number with edges, the interval.
        rows: The number of rows.
        values: The metrics of each contender, by its name.
        differences: Of each metric with a tolerance, from each opponent; their bounds hold for all slices of the model
            together with the comparison's confidence.
        not_judged: Why it is not judged; empty if it is.
    """

    column: str
    value: str
    rows: int
    values: Mapping[str, Mapping[str, float]]
    differences: tuple[Difference, ...] = ()
    not_judged: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """The widest distance of a challenger's metric between two slices of a column.

    `low` is the distance that is exceeded, of all pairs of slices together, with the comparison's confidence.
    """

    column: str
    metric: str
    lowest: str
    highest: str
    distance: float
    low: float


@dataclass(frozen=True, slots=True)
class SingleInput:
    """How well one input alone tells the label of training rows: `ray_jobs/core/leakage.py` defines the figure."""

    name: str
    skill: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """All comparisons of one contest.

    Attributes:
        rows: The rows that were compared.
        confidence: Of each comparison, and of all slices together.
        resamples: How often the rows were drawn again.
        units: What was drawn: the number of rows, or of groups of rows that share causes.
        differences: Over all rows, of each metric of the gate from each contender.
        slices: The declared slices.
        gaps: The declared gaps between slices.
        intervals: Of each contender, by its name, the bounds of each metric of the gate over all rows, with the
            comparison's confidence or, if that is more, `SHOWN_CONFIDENCE`.
        single_inputs: The inputs that tell most of the label alone, the strongest first.
    """

    rows: int
    confidence: float
    resamples: int
    units: int
    differences: tuple[Difference, ...]
    slices: tuple[SliceFigures, ...] = ()
    gaps: tuple[Gap, ...] = ()
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    single_inputs: tuple[SingleInput, ...] = ()
