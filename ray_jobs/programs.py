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

#: Learns the label of a text: an encoder of texts (MiniLM) with a linear layer.
TEXT_CLASSIFIER = Program(
    "ray_jobs.text.text_classifier:TextClassifier",
    loads="ray_jobs.text.label_model:load",
    tasks=("multiclass",),
    kinds=("pytorch", "ray", "huggingface"),
)

#: Fine-tunes a language model (SmolLM2) on pairs of a prompt and its answer, whole or by adapters (LoRA).
CAUSAL_LM = Program(
    "ray_jobs.text.causal_lm:CausalLm",
    loads="ray_jobs.text.language_model:load",
    tasks=("text",),
    kinds=("pytorch", "ray", "huggingface"),
)
