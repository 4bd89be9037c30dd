"""Whether the gate of a model's declaration agrees with its task, its recipes and its training set."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from pipelines.models import part_check, tasks
from pipelines.models.judgement import Slice
from pipelines.models.part_check import NUMBERS, Check
from pipelines.models.spec import ModelSpec


def require(spec: ModelSpec) -> None:
    """Raises DefinitionError for the first contradiction of the gate."""
    gate = spec.gate
    tasks.gate_metrics(spec.task, gate.metrics)
    types = {column.name: column.type for column in spec.training_set.columns}
    inputs = {name for make in spec.recipes.values() for name in make().inputs}
    divided = [part.column for part in gate.slices]
    checks = [
        (0.5 <= gate.confidence < 1, f"confidence {gate.confidence}", "0.5 or more, and less than 1"),
        _named("columns", gate.columns, types, f"columns of {spec.training_set.path}"),
        _named("known_inputs", gate.known_inputs, inputs, "inputs of a recipe"),
        _named("an allowance for", gate.allowance, tasks.gate_metrics(spec.task, gate.metrics), "metrics of the gate"),
        (all(limit > 0 for limit in gate.allowance.values()), "an allowance that is not above 0", "numbers above 0"),
        (
            not gate.allowance or spec.rollout is not None,
            "an allowance, and the model no rollout",
            "a rollout, which finds whether the challenger is worse: rollout=Rollout.canary(...)",
        ),
        (len({*divided}) == len(divided), f"slices of {', '.join(divided)}", "each column once"),
        *(check for part in gate.slices for check in _slice_checks(spec, part, types.get(part.column, ""))),
    ]
    part_check.require(spec, "gate", checks)


def _slice_checks(spec: ModelSpec, part: Slice, type_: str) -> list[Check]:
    name = f"slices of {part.column} with"
    limits = {**part.tolerance, **part.largest_gap}
    known = tasks.rules(spec.task).metrics
    if part.tolerance:
        tasks.gate_metrics(spec.task, tuple(part.tolerance))
    rising = all(low < high for low, high in pairwise(part.edges))
    return [
        (rising, f"{name} the edges {', '.join(map(str, part.edges))}", "rising numbers"),
        (not part.edges or type_.startswith(NUMBERS), f"{name} edges, and its type is {type_}", "a column of numbers"),
        (all(limit >= 0 for limit in limits.values()), f"{name} a limit below 0", "0 or more"),
        (part.minimum_rows > 0, f"{name} minimum_rows {part.minimum_rows}", "1 or more"),
        _named(f"{name} the metrics", limits, known, f"metrics of the task {spec.task}"),
    ]


def _named(what: str, names: Iterable[str], known: Iterable[str], expected: str) -> Check:
    absent = sorted({*names} - {*known})
    return not absent, f"{what} {', '.join(absent)}", f"{expected}: {', '.join(known)}"
