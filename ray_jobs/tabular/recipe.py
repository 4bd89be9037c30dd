"""The configuration of a training run: a complete, frozen `Recipe`, which a function of the domain returns.

Imports no heavy library, so that a domain can build a recipe anywhere. The defaults suit tables of some hundred to some
hundred thousand rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.models.answers import Task
from pipelines.models.program import Fold, Holds, Part, RecipeError


@dataclass(frozen=True, slots=True)
class Difference:
    """A numeric input that the encoder computes: `minuend - subtrahend`, clipped to [minimum, maximum]."""

    name: str
    minuend: str
    subtrahend: str
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The complete configuration of a training run, except the table version that it reads.

    Attributes:
        model_name: Names the model in errors.
        task: The kind of answer.
        label: Column of 0 and 1 (binary), of numbers (regression) or of texts (multiclass); rows where it is null
            are not used.
        row_key: Orders the rows that have the same time.
        time_column: When a prediction is asked for, UTC; a `Window` selects by it, and orders by it.
        known_at_column: When the label was known, UTC; a training row's label is known by the end of a `Window`.
        numeric: Numeric input columns.
        categorical: Text input columns; each gets an embedding.
        differences: Numeric inputs computed from two columns, in training and in prediction alike.
        train_window: The rows that weights, encoder and calibration are fitted on.
        gate_window: The rows that the model is measured on; it starts at the end of the train window or later.
        holdout_every_days: Every n-th day of the train window is held out: no weight is fitted on it. The days are
            spread over the window because its last weeks alone would be another season.
        interval_level: The probability with which a regression's interval holds the true value; for it alone.
        baseline_column: A regression is compared with the value of this column too: that what was is what will be. The
            mean label stands for a null.
        calibration: "fit" probabilities or the interval on the held-out days; "keep" the base model's where these days
            are too few to fit it. Then they only give the validation loss.
        minimum_category_count: A category with fewer training rows shares the embedding of unknown ones.
        maximum_embedding_width: An embedding of c categories has min(this, (c + 1) // 2) dimensions.
        hidden_widths: The widths of the deep part's hidden layers.
        dropout: Share of hidden units that a training step drops.
        epochs: Passes over the rows that are not held out.
        batch_size: Rows of one step, all workers together.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: AdamW's.
        seed: Decides first weights, order of rows and dropout.
        num_workers: Training processes; fewer where the cluster has fewer GPUs.
        max_failures: How many worker failures the run survives.
        checkpoint_interval_epochs: A worker failure loses at most so many epochs.
    """

    model_name: str
    task: Task
    label: str
    row_key: str
    time_column: str | None = None
    known_at_column: str | None = None
    numeric: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    train_window: Part
    gate_window: Part
    interval_level: float | None = None
    baseline_column: str | None = None
    holdout_every_days: int = 10
    calibration: Literal["fit", "keep"] = "fit"
    minimum_category_count: int = 10
    maximum_embedding_width: int = 4
    hidden_widths: tuple[int, ...] = (64, 32)
    dropout: float = 0.4
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 0.2
    seed: int = 0
    num_workers: int = 1
    max_failures: int = 2
    checkpoint_interval_epochs: int = 1

    def __post_init__(self) -> None:
        names = [*self.categorical, *self.numeric, *(difference.name for difference in self.differences)]
        checks = {
            **_windows(self),
            "numeric": (len(set(names)) == len(names), "no name twice among categorical, numeric and differences"),
            "label": (self.label not in (*self.inputs, self.baseline_column), "no input: it is what is predicted"),
            "interval_level": (
                self.interval_level is not None and 0 < self.interval_level < 1
                if self.task == "regression"
                else self.interval_level is None,
                "between 0 and 1 for a regression, and none for another task",
            ),
            "baseline_column": (
                self.baseline_column is None or self.task == "regression",
                "none: a column stands for the answer of a regression alone",
            ),
            "max_failures": (self.max_failures > 0, "1 or more: with 0 the first worker failure ends the run"),
            "num_workers": (self.num_workers > 0, "1 or more"),
            "epochs": (self.epochs > 0, "1 or more"),
            "batch_size": (self.batch_size >= self.num_workers, "1 or more per worker"),
            "checkpoint_interval_epochs": (self.checkpoint_interval_epochs > 0, "1 or more"),
        }  # fmt: skip
        for name, (valid, expected) in checks.items():
            if not valid:
                raise RecipeError(
                    object=f"recipe of {self.model_name}: {name}",
                    observed=str(getattr(self, name)),
                    expected=expected,
                    next_step="correct it in the recipe, or in the dataclasses.replace that changed it",
                )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The table's columns that the model reads, each once and in a fixed order."""
        of_differences = (c for d in self.differences for c in (d.minuend, d.subtrahend))
        return tuple(dict.fromkeys((*self.categorical, *self.numeric, *of_differences)))

    @property
    def columns_read(self) -> tuple[str, ...]:
        """The inputs, and the column of the baseline."""
        return tuple(dict.fromkeys((*self.inputs, *filter(None, (self.baseline_column,)))))

    @property
    def columns(self) -> Mapping[str, Holds]:
        """The columns that training and comparison read, and what each holds."""
        holds: dict[str, Holds] = {name: "text" if name in self.categorical else "number" for name in self.columns_read}
        holds |= {name: "instant" for name in (self.time_column, self.known_at_column) if name}
        holds |= {part.column: "text" for part in (self.train_window, self.gate_window) if isinstance(part, Fold)}
        holds |= {self.label: "text" if self.task == "multiclass" else "number"}
        return {self.row_key: "any"} | holds

    @property
    def fingerprint(self) -> str:
        """sha256 over every field: runs with the same fingerprint and table version do the same."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), default=str).encode()).hexdigest()


def _windows(recipe: Recipe) -> dict[str, tuple[bool, str]]:
    """Whether windows or folds are apart and have the columns that they need: by field, with what is right."""
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
