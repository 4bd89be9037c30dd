"""The assets of a model: its training and its registration, made from their declarations."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import dagster as dg

from pipelines.errors import SettingsError
from pipelines.governed.asset import declare
from pipelines.governed.declaration import Check, Declaration, GovernedRun, Written
from pipelines.models import gate, spec_check
from pipelines.models.program import Recipe
from pipelines.models.register import register
from pipelines.models.spec import Mode, ModelSpec
from pipelines.models.train import TRAINING_SET, train
from pipelines.models.windows import with_windows


class TrainMode(Enum):
    """How a training run begins: with random weights, the champion's, or random ones after the declared search."""

    FROM_SCRATCH = "from_scratch"
    FINE_TUNE = "fine_tune"
    SEARCH = "search"


class TrainConfig(dg.Config):
    """The configuration of a training run. Windows are [start, end), ISO 8601 with offset; empty means the recipe's."""

    mode: TrainMode = TrainMode.FROM_SCRATCH
    train_start: str = ""
    train_end: str = ""
    gate_end: str = ""


def model_assets(spec: ModelSpec) -> tuple[dg.AssetsDefinition, dg.AssetsDefinition]:
    """The assets that train a model, `training/<domain>/<name>`, and register it, `models/<domain>/<name>`.

    Both have to be names of a module of the domain, so that the code location collects them.

    Raises:
        DefinitionError: for a spec that contradicts itself, its program or its training set.
    """
    spec_check.require(spec)
    return _training(spec), _registered(spec)


def _training(spec: ModelSpec) -> dg.AssetsDefinition:
    def work(run: GovernedRun, config: TrainConfig) -> Iterator[Written]:
        fine_tune = config.mode is TrainMode.FINE_TUNE
        search = spec.search if config.mode is TrainMode.SEARCH else None
        yield train(run, spec, chosen_recipe(spec, config), fine_tune=fine_tune, search=search)

    declaration = Declaration(
        key=spec.key("training"),
        kind="training",
        owner=spec.domain.owner,
        tags=spec.domain.cost.of("training"),
        description=f"{spec.question}\n\nA trained challenger with its run record, card and figures, compared with the "
        "baseline and the champion on rows that none of them was trained on.\n\n"
        "Grain: one MLflow run per materialization.",
        kinds=spec.program.kinds,
        inputs={TRAINING_SET: spec.training_set.table},
        priority=spec.priority,
    )
    return declare(declaration, work, config=TrainConfig)


def _registered(spec: ModelSpec) -> dg.AssetsDefinition:
    def work(run: GovernedRun) -> Iterator[Written]:
        yield register(run, spec, declared=declared)

    declared = gate.named(spec.task, spec.gate)
    metrics = " and ".join(declared.metrics)
    declaration = Declaration(
        key=spec.key("models"),
        kind="model",
        owner=spec.domain.owner,
        tags=spec.domain.cost.of("training"),
        description=f"{spec.question}\n\nThe registered model, champion if it passed the gate.\n\n"
        "Grain: one version per trained challenger.",
        kinds=("mlflow",),
        deps=(spec.key("training"),),
        checks=(
            Check(
                "gate",
                f"The challenger beats its opponents, not by chance ({declared.confidence:.0%}), by {metrics}",
                blocking=False,
            ),
        ),
        priority=spec.priority,
    )
    return declare(declaration, work)


def chosen_recipe(spec: ModelSpec, config: TrainConfig) -> Recipe:
    """The recipe of the config's mode, with the config's windows; a search begins with the recipe from scratch.

    Raises:
        SettingsError: if the model has no recipe of this mode, or declares no search, or a window is no instant.
        RecipeError: if the windows contradict each other.
    """
    if config.mode is TrainMode.SEARCH and spec.search is None:
        raise SettingsError(
            object="config mode",
            observed=f"{config.mode.name}, and model {spec.registered_name} declares no search",
            expected=" or ".join(spec.recipes).upper(),
            next_step="train in another mode, or add search=Search(...) to the model's declaration",
        )
    mode: Mode = "fine_tune" if config.mode is TrainMode.FINE_TUNE else "from_scratch"
    if mode not in spec.recipes:
        raise SettingsError(
            object="config mode",
            observed=f"{config.mode.name}, and model {spec.registered_name} has no recipe {mode}",
            expected=" or ".join(spec.recipes).upper(),
            next_step=f"train in another mode, or add the recipe {mode} to the model's declaration",
        )
    return with_windows(spec.recipes[mode](), config.train_start, config.train_end, config.gate_end)
