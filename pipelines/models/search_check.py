"""Whether a declared search agrees with the recipe whose values it changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pipelines.errors import DefinitionError
from pipelines.models.program import RecipeError
from pipelines.models.search import Choice, Distribution, LogUniform, RandInt, Search, Uniform, value_of, with_values

#: What decides which rows are read, how far a trial goes or where it runs: losses of other values say nothing.
FIXED = {
    "model_name", "task", "label", "row_key", "time_column", "known_at_column", "train_window", "gate_window",
    "holdout_every_days", "epochs", "seed", "num_workers", "max_failures", "checkpoint_interval_epochs",
    "checkpoint_interval_steps", "quality_target", "scale", "interval_level", "baseline_column", "calibration",
}  # fmt: skip


def require(search: Search, recipe: Any, *, model: str, declared_in: str) -> None:
    """Raises DefinitionError for the first contradiction of a search.

    Args:
        search: As it is declared.
        recipe: The one that trials change, `from_scratch`.
        model: The model's registered name.
        declared_in: Where the declaration is, in words.
    """
    problem = next(_problems(search, recipe), None)
    if problem is not None:
        observed, expected = problem
        raise DefinitionError(
            object=f"search of model {model}",
            observed=observed,
            expected=expected,
            next_step=f"correct the search in {declared_in}",
        )


def _problems(search: Search, recipe: Any) -> Iterator[tuple[str, str]]:
    """What was seen of each contradiction, and what is valid."""
    epochs = recipe.epochs
    for name, valid, expected in (
        ("trials", search.trials >= 2, "2 or more, of which the first has the recipe's own values"),
        ("max_minutes", search.max_minutes is None or search.max_minutes > 0, "more than 0, or None"),
        ("max_cost", search.max_cost is None or search.max_cost > 0, "more than 0, or None"),
        ("max_concurrent_trials", (search.max_concurrent_trials or 1) >= 1, "1 or more, or None"),
        ("grace_period", 1 <= search.grace_period <= epochs, f"1 to the recipe's epochs, which are {epochs}"),
        ("reduction_factor", search.reduction_factor >= 2, "2 or more"),
    ):
        if not valid:
            yield f"{name} is {getattr(search, name)!r}", expected
    if recipe.scale.strategy != "ddp":
        yield f"its recipe has scale.strategy {recipe.scale.strategy}", "ddp: a trial trains in one process"
    if not search.space:
        yield "its space is empty", "at least one field of the recipe, with its distribution"
    for name, distribution in search.space.items():
        yield from _of_a_field(name, distribution, recipe)


def _of_a_field(name: str, distribution: Distribution, recipe: Any) -> Iterator[tuple[str, str]]:
    try:
        own = value_of(recipe, name)
    except AttributeError:
        known = sorted(set(recipe.__dataclass_fields__) - FIXED)
        yield f"its space has {name}, which the recipe lacks", f"fields of the recipe: {', '.join(known)}"
        return
    if name.partition(".")[0] in FIXED:
        yield (
            f"its space has {name}, which decides what a loss is measured on or where a trial runs",
            "fields that decide how a model learns, such as learning_rate",
        )
        return
    if isinstance(distribution, Choice):
        if len(distribution.values) < 2 or _repeated(distribution.values):
            yield f"{name} is {distribution!r}", "2 or more values, none of them twice"
            return
        extremes = distribution.values
    elif isinstance(distribution, Uniform | LogUniform | RandInt):
        low, high = distribution.low, distribution.high
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            yield f"{name} is {distribution!r}", "two finite numbers, the lower one first"
            return
        if isinstance(distribution, LogUniform) and low <= 0:
            yield f"{name} is {distribution!r}", "a range above 0, which has logarithms"
            return
        if isinstance(own, int) and not isinstance(distribution, RandInt):
            yield f"{name} is {distribution!r}, and the recipe has the whole number {own}", "RandInt, or a Choice"
            return
        extremes = (low, high)
    else:
        yield f"{name} is {distribution!r}", "Uniform, LogUniform, RandInt or Choice of pipelines.models.search"
        return
    for value in extremes:
        try:
            with_values(recipe, {name: value})
        except RecipeError as error:
            yield f"{name} can be {value!r}, with which {error.object} is {error.observed}", error.expected
        except TypeError as error:
            yield f"{name} can be {value!r}: {error}", f"values such as the recipe's, {own!r}"


def _repeated(values: tuple[Any, ...]) -> bool:
    return any(value in values[:place] for place, value in enumerate(values))
