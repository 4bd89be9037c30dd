"""The windows of a training run: those of its recipe, unless the run's config gives others."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from pipelines import clock
from pipelines.models.program import Recipe, Window


def with_windows(recipe: Recipe, train_start: str, train_end: str, gate_end: str) -> Recipe:
    """The recipe with other windows, ISO 8601 with offset; an empty text keeps the recipe's own instant.

    With another end of the train window, the gate window begins there.

    Raises:
        SettingsError: for a text that is no instant, or lacks its offset.
        RecipeError: if the windows contradict each other.
    """
    gate = recipe.gate_window
    start = _instant("train_start", train_start, recipe.train_window.start)
    train = Window(start, _instant("train_end", train_end, recipe.train_window.end))
    compared = Window(train.end if train_end else gate.start, _instant("gate_end", gate_end, gate.end))
    changes: dict[str, Any] = {"train_window": train, "gate_window": compared}
    return dataclasses.replace(recipe, **changes)


def _instant(name: str, text: str, default: datetime) -> datetime:
    return clock.instant(text, of=f"config {name}", next_step="write it with its offset") if text else default
