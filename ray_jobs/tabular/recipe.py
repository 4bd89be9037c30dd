"""The configuration of a training run: a complete, frozen `Recipe`, which a function of the domain returns.

Imports no heavy library, so that a domain can build a recipe anywhere. The defaults suit tables of some hundred to some
hundred thousand rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.models.program import Holds
from ray_jobs.core.recipe import Checks, TrainingRecipe


@dataclass(frozen=True, slots=True)
class Difference:
    """A numeric input that the encoder computes: `minuend - subtrahend`, clipped to [minimum, maximum]."""

    name: str
    minuend: str
    subtrahend: str
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(TrainingRecipe):
    """The complete configuration of a training run, except the table version that it reads.

    Attributes:
        label: Column of 0 and 1 (binary), of numbers (regression) or of texts (multiclass).
        numeric: Numeric input columns.
        categorical: Text input columns; each gets an embedding.
        differences: Numeric inputs computed from two columns, in training and in prediction alike.
        interval_level: The probability with which a regression's interval holds the true value; for it alone.
        baseline_column: A regression is compared with the value of this column too: that what was is what will be. The
            mean label stands for a null.
        calibration: "fit" probabilities or the interval on the held-out days; "keep" the base model's where these days
            are too few to fit it. Then they only give the validation loss.
        minimum_category_count: A category with fewer training rows shares the embedding of unknown ones.
        maximum_embedding_width: An embedding of c categories has min(this, (c + 1) // 2) dimensions.
        hidden_widths: The widths of the deep part's hidden layers.
        dropout: Share of hidden units that a training step drops.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    interval_level: float | None = None
    baseline_column: str | None = None
    calibration: Literal["fit", "keep"] = "fit"
    minimum_category_count: int = 10
    maximum_embedding_width: int = 4
    hidden_widths: tuple[int, ...] = (64, 32)
    dropout: float = 0.4

    def checks(self) -> Checks:
        """Those of every recipe, then those of a table's columns and of the task."""
        names = [*self.categorical, *self.numeric, *(difference.name for difference in self.differences)]
        return {
            **TrainingRecipe.checks(self),
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
        }

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
        holds |= self.selects_by
        return holds | {self.label: "text" if self.task == "multiclass" else "number"}
