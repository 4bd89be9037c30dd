"""The training programs that a model's declaration can name. Imports no heavy library.

A new program is a module with a class that implements `ray_jobs.core.program.Program`, and its line here.
"""

from __future__ import annotations

from pipelines.models.program import Program

#: Trains on the rows of a table: a wide and deep network over numbers and categories.
TABULAR = Program(
    "ray_jobs.tabular.program:Tabular",
    loads="ray_jobs.tabular.model:load",
    tasks=("binary", "regression", "multiclass"),
    kinds=("pytorch", "ray"),
)
