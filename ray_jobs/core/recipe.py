"""What every recipe says: the label, which rows, how long, how fast and on how many workers.

Imports no heavy library, so that a domain can build a recipe anywhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import get_args

from pipelines.models.answers import Task
from pipelines.models.program import Fold, Holds, Part, RecipeError
from ray_jobs.core.scale import Precision, Scale

#: Whether each field is valid, with what is valid, in words.
Checks = dict[str, tuple[bool, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe(ABC):
    """The part of a recipe that the fabric reads; a program's recipe adds its own fields, `inputs` and `columns`.

    Attributes:
        model_name: Names the model in errors.
        task: The kind of answer.
        label: The column that is predicted; rows where it is null are not used.
        row_key: Names a row, and orders the rows that have the same time.
        time_column: When a prediction is asked for, UTC; a Window selects by it. None where folds select.
        known_at_column: When the label was known, UTC; a training row's label is known by the end of the train window.
            None where folds select.
        train_window: The rows that weights and calibration are fitted on; a Fold names those of both.
        gate_window: The rows that the model is measured on: a Window that starts at the end of the train window or
            later, or another Fold.
        holdout_every_days: Every n-th day of a train window is held out: no weight is fitted on it. The days are
            spread over the window because its last weeks alone would be another season. Without effect on a Fold.
        epochs: Passes over the rows that are not held out.
        batch_size: Rows of one step, all workers and accumulated batches together.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: AdamW's.
        maximum_gradient_norm: Longer gradients of a step are shortened to it; None to leave them.
        quality_target: The loss of held-out rows until which a run's time is recorded; None to record none.
        seed: Decides first weights, order of rows and dropout.
        num_workers: Training processes; fewer where the cluster has fewer GPUs.
        max_failures: How many worker failures the run survives.
        checkpoint_interval_epochs: A worker failure loses at most so many epochs.
        checkpoint_interval_steps: And at most so many steps; None to write no checkpoint within an epoch.
        scale: How the run is spread and made to fit.
    """

    model_name: str
    task: Task
    label: str
    row_key: str
    time_column: str | None = None
    known_at_column: str | None = None
    train_window: Part
    gate_window: Part
    holdout_every_days: int = 10
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 0.2
    maximum_gradient_norm: float | None = None
    quality_target: float | None = None
    seed: int = 0
    num_workers: int = 1
    max_failures: int = 2
    checkpoint_interval_epochs: int = 1
    checkpoint_interval_steps: int | None = None
    scale: Scale = field(default_factory=Scale)

    def __post_init__(self) -> None:
        for name, (valid, expected) in self.checks().items():
            if not valid:
                raise RecipeError(
                    object=f"recipe of {self.model_name}: {name}",
                    observed=str(attrgetter(name)(self)),
                    expected=expected,
                    next_step="correct it in the recipe, or in the dataclasses.replace that changed it",
                )

    def checks(self) -> Checks:
        """Each field that may contradict itself or others, in the order in which they are reported."""
        every = self.num_workers * self.scale.accumulate
        steps, norm, fewest = self.checkpoint_interval_steps, self.maximum_gradient_norm, self.scale.elastic_from
        return {
            **_windows(self),
            "max_failures": (self.max_failures > 0, "1 or more: with 0 the first worker failure ends the run"),
            "num_workers": (self.num_workers > 0, "1 or more"),
            "epochs": (self.epochs > 0, "1 or more"),
            "scale.accumulate": (self.scale.accumulate > 0, "1 or more"),
            "batch_size": (
                self.batch_size > 0 and self.batch_size % max(every, 1) == 0,
                f"a multiple of {every}, since {self.num_workers} workers accumulate {self.scale.accumulate} batches",
            ),
            "maximum_gradient_norm": (norm is None or norm > 0, "more than 0, or None"),
            "checkpoint_interval_epochs": (self.checkpoint_interval_epochs > 0, "1 or more"),
            "checkpoint_interval_steps": (steps is None or steps > 0, "1 or more, or None"),
            "scale.precision": (self.scale.precision in get_args(Precision), " or ".join(get_args(Precision))),
            "scale.strategy": (
                self.scale.strategy == "ddp" or (self.scale.strategy == "fsdp" and self.num_workers > 1),
                "ddp, or fsdp and 2 workers or more, among which it shards the weights",
            ),
            "scale.elastic_from": (
                fewest is None or 0 < fewest <= self.num_workers,
                f"a number of workers up to num_workers, which is {self.num_workers}",
            ),
        }

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """The training set's columns that the model reads."""

    @property
    def columns_read(self) -> tuple[str, ...]:
        """The columns that rows are read with, beside the label."""
        return self.inputs

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, Holds]:
        """The columns that training and comparison read, and what each holds; those of `selects_by` among them."""

    @property
    def selects_by(self) -> dict[str, Holds]:
        """The columns by which rows are selected and ordered, and what each holds."""
        holds: dict[str, Holds] = {self.row_key: "any"}
        holds |= {name: "instant" for name in (self.time_column, self.known_at_column) if name}
        return holds | {part.column: "text" for part in (self.train_window, self.gate_window) if isinstance(part, Fold)}

    @property
    def fingerprint(self) -> str:
        """sha256 over every field: runs with the same fingerprint and table version do the same."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), default=str).encode()).hexdigest()


def _windows(recipe: TrainingRecipe) -> Checks:
    """Whether windows or folds are apart and have the columns that they need."""
    train, gate = recipe.train_window, recipe.gate_window
    if isinstance(train, Fold) or isinstance(gate, Fold):
        apart = isinstance(train, Fold) and isinstance(gate, Fold) and not train.overlaps(gate)
        held_out = isinstance(train, Fold) and bool(train.holdout)
        return {
            "gate_window": (apart, "a Fold beside a Fold, with other values of the same column"),
            "train_window": (held_out, "a Fold with the values that are held out"),
        }
    days = (train.end - train.start).days
    return {
        "gate_window": (train.end <= gate.start, f"one that starts after the train window {train}"),
        "holdout_every_days": (2 <= recipe.holdout_every_days <= days, "2 or more, within the train window"),
        "time_column": (recipe.time_column is not None, "the column of instants by which a Window selects"),
        "known_at_column": (recipe.known_at_column is not None, "the column that says when a label was known"),
    }
