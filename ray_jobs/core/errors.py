"""The errors of training and evaluation.

    TerminalError (pipelines.errors)
    ├── RecipeError      a recipe that contradicts itself, or does not fit its base model (pipelines.models.program)
    ├── DatasetError     a training set that lacks what the recipe asks for
    ├── MetricError      a metric that has no value: no rows, one class, no probability
    └── TrainingError    a run that could not start, resume or finish
        └── Interrupted  a run that was asked to stop, and goes on when it is started again

A model that cannot be loaded, or rows that it cannot encode, raise `ModelError` (pipelines.errors).
"""

from __future__ import annotations

from pipelines.errors import TerminalError


class DatasetError(TerminalError):
    """A training set lacks columns or rows that the recipe asks for."""


class MetricError(TerminalError):
    """A metric has no value for these labels and probabilities."""


class TrainingError(TerminalError):
    """A run could not start, resume or finish; its workers have used up their retries."""


class Interrupted(TrainingError):
    """A run stopped because it was asked to; a checkpoint holds what it did."""
