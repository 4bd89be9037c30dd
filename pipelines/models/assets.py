"""The assets of a declared model: one that trains challengers, one that registers them behind the gate.

returns = ModelSpec(shop, "returns", question=..., ...)
returns_training, returns_registered = model_assets(returns)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines import clock
from pipelines.errors import SettingsError
from pipelines.governed.asset import declare
from pipelines.governed.declaration import Check, Declaration, GovernedRun, Written
from pipelines.models.gate import METRICS
from pipelines.models.program import Window
from pipelines.models.register import register
from pipelines.models.train import TRAINING_SET, train

if TYPE_CHECKING:
    from pipelines.models.program import Recipe
    from pipelines.models.spec import ModelSpec

FROM_SCRATCH, FINE_TUNE = "from_scratch", "fine_tune"


class Mode(Enum):
    """The first weights of a training run: random ones, or the champion's."""

    FROM_SCRATCH = FROM_SCRATCH
    FINE_TUNE = FINE_TUNE


class TrainConfig(dg.Config):
    """The configuration of a training run. Windows are [start, end), ISO 8601 with offset; empty means the recipe's."""

    mode: Mode = Mode.FROM_SCRATCH
    train_start: str = ""
    train_end: str = ""
    gate_end: str = ""


def model_assets(spec: ModelSpec) -> tuple[dg.AssetsDefinition, dg.AssetsDefinition]:
    """The assets `training/<domain>/<name>` and `models/<domain>/<name>` of a model.

    Raises:
        DefinitionError: if the model's training set, features, recipes and program do not fit each other (`fits`).
    """
    return _training(spec), _registered(spec)


def recipe_of(spec: ModelSpec, config: TrainConfig) -> Recipe:
    """The recipe of the config's mode, with the config's windows.

    Raises:
        SettingsError: for a mode for which the model has no recipe, or a text that is no instant with its offset.
    """
    make = spec.recipes.get(config.mode.value)
    if make is None:
        raise SettingsError(
            object=f"config mode of training {spec.registered_name}",
            observed=f"{config.mode.value}, for which the model has no recipe",
            expected=f"one of {', '.join(spec.recipes)}",
            next_step="add the recipe to the model's declaration, or choose another mode",
        )
    return with_windows(make(), config.train_start, config.train_end, config.gate_end)


def with_windows(recipe: Recipe, train_start: str, train_end: str, gate_end: str) -> Any:
    """The recipe with other windows, ISO 8601 with offset; an empty text keeps the recipe's own instant.

    With another end of the train window, the gate window begins there.
    """
    train, gate = recipe.train_window, recipe.gate_window
    start = _instant("train_start", train_start, train.start)
    train = Window(start, _instant("train_end", train_end, train.end))
    gate = Window(train.end if train_end else gate.start, _instant("gate_end", gate_end, gate.end))
    return dataclasses.replace(recipe, train_window=train, gate_window=gate)


def _instant(name: str, text: str, default: datetime) -> datetime:
    return clock.instant(text, of=f"config {name}", next_step="write it with its offset") if text else default


def _training(spec: ModelSpec) -> dg.AssetsDefinition:
    def work(run: GovernedRun, config: TrainConfig) -> Iterator[Written]:
        yield train(run, spec, recipe_of(spec, config), fine_tune=config.mode is Mode.FINE_TUNE)

    description = (
        f"A trained challenger that answers: {spec.question}\n\n"
        f"Trained on Ray from one version of {spec.training_set.table}, from scratch or from the champion's weights, "
        "and compared with the baseline and the champion on rows that none of them was trained on.\n\n"
        "Grain: one MLflow run per materialization, with its run record, card and figures."
    )
    declaration = Declaration(
        key=spec.key("training"),
        kind="training",
        owner=spec.domain.owner,
        tags=spec.domain.cost.of("training"),
        description=description,
        kinds=("pytorch", "ray"),
        inputs={TRAINING_SET: spec.training_set.table},
    )
    return declare(declaration, work, config=TrainConfig)


def _registered(spec: ModelSpec) -> dg.AssetsDefinition:
    def work(run: GovernedRun) -> Iterator[Written]:
        yield register(run, spec.registered_name, trained_by=spec.key("training"))

    words = f"The challenger beats the baseline and the champion, by {' and '.join(METRICS)}"
    declaration = Declaration(
        key=spec.key("models"),
        kind="model",
        owner=spec.domain.owner,
        tags=spec.domain.cost.of("training"),
        description=f"The registered model {spec.registered_name}, champion if it passed the gate.\n\n"
        "Grain: one version per trained challenger.",
        kinds=("mlflow",),
        deps=(spec.key("training"),),
        check=Check("gate", words, blocking=False),
    )
    return declare(declaration, work)
