"""The windows of a training run: those of its recipe, unless the run's config gives others; and those of a past run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipelines import clock
from pipelines.errors import ModelError, SettingsError
from pipelines.models.program import Fold, Part, Recipe, Window
from pipelines.models.registry import RegisteredModel


def with_windows(recipe: Recipe, train_start: str, train_end: str, gate_end: str) -> Recipe:
    """The recipe with other windows, ISO 8601 with offset; an empty text keeps the recipe's own instant.

    With another end of the train window, the gate window begins there.

    Raises:
        SettingsError: for a text that is no instant, or lacks its offset, and for a recipe of folds.
        RecipeError: if the windows contradict each other.
    """
    train, gate = recipe.train_window, recipe.gate_window
    if isinstance(train, Fold) or isinstance(gate, Fold):
        if train_start or train_end or gate_end:
            raise SettingsError(
                object="config train_start, train_end and gate_end",
                observed=f"instants, and the recipe trains on {train}",
                expected="none of them: no time selects the rows of a fold",
                next_step="leave them out, or change the folds in the recipe",
            )
        return recipe
    start = _instant("train_start", train_start, train.start)
    trained = Window(start, _instant("train_end", train_end, train.end))
    compared = Window(trained.end if train_end else gate.start, _instant("gate_end", gate_end, gate.end))
    changes: dict[str, Any] = {"train_window": trained, "gate_window": compared}
    return dataclasses.replace(recipe, **changes)


def trained_on(record: Mapping[str, Any]) -> Part:
    """The rows that a past run was trained on, from the hyperparameters of its run record."""
    saved = record["train_window"]
    if "column" in saved:
        return Fold(saved["column"], tuple(saved["values"]), tuple(saved["holdout"]))
    return Window(datetime.fromisoformat(saved["start"]), datetime.fromisoformat(saved["end"]))


def comparison_window(gate_window: Part, champion: RegisteredModel, *, trained_on: Part) -> Part:
    """The part of a gate window that the champion was not trained on: of a window its end, of a fold all or nothing.

    Raises:
        ModelError: if there is none.
    """
    if isinstance(gate_window, Window) and isinstance(trained_on, Window):
        start = max(gate_window.start, trained_on.end)
        if start < gate_window.end:
            return dataclasses.replace(gate_window, start=start)
        seen = f"until {trained_on.end.isoformat()}"
    elif isinstance(gate_window, Fold) and isinstance(trained_on, Fold) and not gate_window.overlaps(trained_on):
        return gate_window
    else:
        seen = f"on {trained_on}"
    raise ModelError(
        object=f"gate window {gate_window}",
        observed=f"the champion {champion} was trained {seen}",
        expected="rows that no contender was trained on",
        next_step="move the gate window behind the champion's training, or name folds that it was not trained on",
    )


def _instant(name: str, text: str, default: datetime) -> datetime:
    return clock.instant(text, of=f"config {name}", next_step="write it with its offset") if text else default
