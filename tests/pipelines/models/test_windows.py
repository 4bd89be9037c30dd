"""The windows of a training run: the config's instants, and the recipe's where the config has none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from pipelines.errors import SettingsError
from pipelines.models.answers import Task
from pipelines.models.program import Fold, Holds, Part, Window
from pipelines.models.windows import with_windows


def october(day: int) -> datetime:
    return datetime(2013, 10, day, tzinfo=UTC)


@dataclass(frozen=True)
class ToyRecipe:
    """The part of a recipe that the platform reads."""

    train_window: Part
    gate_window: Part
    inputs: tuple[str, ...] = ()
    label: str = "label"
    row_key: str = "key"
    quality_target: float | None = None
    task: Task = "binary"

    @property
    def columns(self) -> dict[str, Holds]:
        return {}


RECIPE = ToyRecipe(Window(october(1), october(15)), Window(october(16), october(31)))


def test_empty_texts_keep_the_windows() -> None:
    assert with_windows(RECIPE, "", "", "") == RECIPE


def test_another_end_of_the_train_window_moves_the_start_of_the_gate_window() -> None:
    changed = with_windows(RECIPE, "", october(8).isoformat(), october(12).isoformat())
    expected = replace(RECIPE, train_window=Window(october(1), october(8)), gate_window=Window(october(8), october(12)))
    assert changed == expected


@pytest.mark.parametrize("text", ["soon", "2013-10-08T00:00:00"])
def test_a_text_that_is_no_instant_raises_an_error_with_its_name(text: str) -> None:
    with pytest.raises(SettingsError, match="config train_end"):
        with_windows(RECIPE, "", text, "")


def test_instants_for_a_recipe_of_folds_raise_an_error() -> None:
    folds = replace(RECIPE, train_window=Fold("fold", ("a",), holdout=("b",)), gate_window=Fold("fold", ("c",)))
    assert with_windows(folds, "", "", "") == folds
    with pytest.raises(SettingsError, match="trains on fold a, held out b"):
        with_windows(folds, "", october(8).isoformat(), "")
