"""The training programs that a model's declaration can name. Imports no heavy library.

A new program is a module that defines a `TrainingProgram`, and its line here.
"""

from __future__ import annotations

from pipelines.models.program import Program

#: Trains on the rows of a table: a wide and deep network over numbers and categories.
TABULAR = Program(
    "ray_jobs.tabular.challenge:challenge",
    loads="ray_jobs.tabular.model:load",
    tasks=("binary", "regression", "multiclass"),
    kinds=("pytorch", "ray"),
)
