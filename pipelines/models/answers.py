"""What a model answers, by its task, and what a saved model is asked by.

A training program's saved model is a `Predictor`; services and batch jobs see nothing else of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

#: What kind of answer a model gives. Metrics, plots, card and gate follow from it.
Task = Literal["binary", "regression", "multiclass", "text"]
#: Rows by column: equally long sequences by name; None, or NaN, is a missing value.
Rows = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Probability:
    """The answer of a binary model: the probability that the label is 1."""

    probability: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """The answer of a regression: a value, and the interval that holds the true one with probability `level`.

    All in the unit of the label.
    """

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class Probabilities:
    """The answer of a multiclass model: the probability of each label that it knows; they add up to 1."""

    by_label: Mapping[str, float]

    @property
    def label(self) -> str:
        """The most probable label; of equally probable ones the first."""
        return max(self.by_label, key=self.by_label.__getitem__)


@dataclass(frozen=True, slots=True)
class Text:
    """The answer of a model that writes: a text, without the marks of its end."""

    text: str


Answer = Probability | Estimate | Probabilities | Text


class Predictor(Protocol):
    """A saved model, loaded."""

    @property
    def task(self) -> Task:
        """Decides the class of its answers."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that a prediction needs."""
        ...

    def answer(self, rows: Rows) -> Sequence[Answer]:
        """One answer for each row; no row's answer depends on another row.

        Raises:
            ModelError: if an input column is absent, not numeric where it has to be, or infinite.
        """
        ...
