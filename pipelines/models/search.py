"""A search for hyperparameters as a domain declares it beside a recipe, and what became of one.

    search=Search(
        space={"learning_rate": LogUniform(1e-4, 1e-1), "hidden_widths": Choice((64, 32), (128, 64))},
        trials=20, max_minutes=30, max_cost=2.5,
    )

A trial trains the recipe with other values, and is judged by the held-out rows of the train window alone. Successive
halving (ASHA; Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", arXiv:1810.05934) ends trials
that are worse than others were after as many epochs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Uniform:
    """A number between `low` and `high`, each as probable as the others."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LogUniform:
    """A number between `low` and `high` whose logarithm is uniform: as often from 0.001 to 0.01 as from 0.01 to 0.1."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RandInt:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int


class Choice:
    """One of some values, such as `Choice((64, 32), (128, 64))`."""

    __slots__ = ("values",)

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.values))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and other.values == self.values

    def __hash__(self) -> int:
        return hash(repr(self))


Distribution = Uniform | LogUniform | RandInt | Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which values are tried, how many, and when the search ends.

    Attributes:
        space: The distribution of each hyperparameter, by the recipe's field; of a field of a field, such as
            `adapter.rank`.
        trials: How many sets of values are drawn; the first is the recipe's own.
        max_minutes: No trial goes on after so many minutes of the search; None for no limit.
        max_cost: Nor after the trials have cost so much, in the currency of the price sheet; None for no limit.
        max_concurrent_trials: How many run at once; None for as many as the cluster has GPUs, or CPUs where it has
            none. With 1, and without the limits above, the search is repeatable in every detail.
        grace_period: No trial is ended before so many epochs.
        reduction_factor: After `grace_period` epochs the best of so many trials goes on, and again after
            `reduction_factor` times as many epochs.
        seed: Decides the values.
    """

    space: Mapping[str, Distribution]
    trials: int = 20
    max_minutes: float | None = None
    max_cost: float | None = None
    max_concurrent_trials: int | None = None
    grace_period: int = 1
    reduction_factor: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of values, and how far it came.

    Attributes:
        number: Counts from 1.
        values: By the name in the space; those of a Choice in words.
        state: `finished` after all epochs, `stopped` before them, by ASHA or a limit, or `failed`.
        validation_losses: Those of the held-out rows, one for each epoch.
        seconds: Wall clock of its epochs.
        cpu_seconds: Processor time.
        gpu_seconds: Time in which it held a GPU.
        cost: In the currency of the price sheet.
        error: Why it failed; None of another one.
    """

    number: int
    values: Mapping[str, Any]
    state: Literal["finished", "stopped", "failed"]
    validation_losses: tuple[float, ...]
    seconds: float
    cpu_seconds: float
    gpu_seconds: float
    cost: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """A search that came to its end.

    Attributes:
        trials: Those that began, by number.
        best: The number of the one with the lowest loss after its last epoch.
        ended_by: What ended the search: the last trial, or a limit.
        seconds: Its wall clock.
    """

    trials: tuple[Trial, ...]
    best: int
    ended_by: Literal["trials", "max_minutes", "max_cost"]
    seconds: float

    @property
    def best_trial(self) -> Trial:
        """The trial whose values are used."""
        return next(trial for trial in self.trials if trial.number == self.best)

    @property
    def cost(self) -> float:
        """That of all trials, in the currency of the price sheet."""
        return sum(trial.cost for trial in self.trials)

    def __str__(self) -> str:
        best = self.best_trial
        ends = "" if self.ended_by == "trials" else f" to its {self.ended_by}"
        values = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in best.values.items()
        )
        return (
            f"{len(self.trials)} trials in {self.seconds:,.0f} s{ends}; the best is trial "
            f"{best.number}, held out {best.validation_losses[-1]:.4f}: {values}"
        )


def value_of(recipe: Any, name: str) -> Any:
    """The recipe's own value of a field, or of a field of a field; raises AttributeError if there is none."""
    for part in name.split("."):
        recipe = getattr(recipe, part)
    return recipe


def with_values(recipe: R, values: Mapping[str, Any]) -> R:
    """The recipe, a dataclass, with other values by the names of a space; RecipeError if they contradict each other."""
    changes: dict[str, Any] = {}
    plain: Any = recipe
    for name, value in values.items():
        field, _, rest = name.partition(".")
        own = changes.get(field, getattr(recipe, field))
        changes[field] = with_values(own, {rest: value}) if rest else value
    return dataclasses.replace(plain, **changes)
