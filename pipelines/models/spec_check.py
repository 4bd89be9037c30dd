"""Whether a model's declaration agrees with its program, its recipes, its training set and its features."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NoReturn, get_args

from pipelines.errors import DefinitionError
from pipelines.models import gate_check, rollout_check, search_check
from pipelines.models.program import Holds, Recipe
from pipelines.models.spec import Mode, ModelSpec, Risk

#: The beginnings of the SQL types of columns that hold these.
TYPES: dict[Holds, tuple[str, ...]] = {
    "number": ("int", "bigint", "double", "float", "decimal", "boolean"),
    "text": ("string",),
    "instant": ("timestamp",),
    "any": ("",),
}


def require(spec: ModelSpec) -> None:
    """Raises DefinitionError for the first contradiction of a model's declaration.

    The code location asks this when it loads, so that a mistake does not wait for a training run.
    """
    declared_in = f"the declaration of {spec.name} in assets/{spec.domain.name}"
    if not (spec.name.isidentifier() and spec.name.islower()):
        _refuse(spec, f"its name is {spec.name!r}", "a lower-case identifier", f"correct {declared_in}")
    if spec.task not in spec.program.tasks:
        _refuse(
            spec,
            f"its task is {spec.task}, and the program {spec.program.place} does not train it",
            f"a task that the program trains: {', '.join(spec.program.tasks)}",
            f"name another task or program in {declared_in}",
        )
    if spec.risk not in get_args(Risk):
        _refuse(spec, f"its risk is {spec.risk!r}", f"one of {', '.join(get_args(Risk))}", f"correct {declared_in}")
    modes = get_args(Mode)
    if "from_scratch" not in spec.recipes or not spec.recipes.keys() <= set(modes):
        _refuse(
            spec,
            f"its recipes are {', '.join(spec.recipes) or 'none'}",
            f"from_scratch, and no others than {', '.join(modes)}",
            f"correct the recipes in {declared_in}",
        )
    for mode, make in spec.recipes.items():
        _require_recipe(spec, make(), f"its recipe {mode}{_place(make)}")
    gate_check.require(spec)
    rollout_check.require(spec)
    if spec.search is not None:
        search_check.require(
            spec.search, spec.recipes["from_scratch"](), model=spec.registered_name, declared_in=declared_in
        )
    _require_features(spec)


def _require_recipe(spec: ModelSpec, recipe: Recipe, name: str) -> None:
    """Raises DefinitionError unless the training set's contract has the recipe's columns with fitting types."""
    if recipe.task != spec.task:
        _refuse(spec, f"{name} is of the task {recipe.task}", f"the model's task {spec.task}", "correct one of them")
    contract = spec.training_set
    types = {column.name: column.type for column in contract.columns}
    for column, holds in recipe.columns.items():
        if column not in types:
            _refuse(
                spec,
                f"{name} reads the column {column}, which {contract.table} lacks",
                f"columns of {contract.path}",
                "correct the recipe, or add the column to the training set and its contract",
            )
        if not types[column].startswith(TYPES[holds]):
            _refuse(
                spec,
                f"{name} reads the column {column} of {contract.table} as {holds}, and its type is {types[column]}",
                f"{' or '.join(TYPES[holds])} in {contract.path}",
                "correct the recipe, or cast the column in the training set and correct its type in the contract",
            )


def _require_features(spec: ModelSpec) -> None:
    """Raises DefinitionError for a view of the service of which the training set's contract has no feature at all."""
    contract = spec.training_set
    columns = {column.name for column in contract.columns}
    for view in spec.features.views:
        if columns.isdisjoint(view.full_names):
            _refuse(
                spec,
                f"its training set {contract.table} has no feature of the view {view.name}, which its service "
                f"{spec.features.name} reads",
                f"columns such as {view.full_names[0]} in {contract.path}",
                "build the training set with this service and add the columns to its contract, or leave out the view",
            )


def _place(make: Callable[[], Recipe]) -> str:
    """Where a recipe is defined; empty for a callable that is no function."""
    return f" in {inspect.getfile(make)}" if inspect.isfunction(make) else ""


def _refuse(spec: ModelSpec, observed: str, expected: str, next_step: str) -> NoReturn:
    raise DefinitionError(
        object=f"model {spec.registered_name}", observed=observed, expected=expected, next_step=next_step
    )
