"""The recipes of the models that learn from the packages' texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.models.program import Fold

if TYPE_CHECKING:
    from ray_jobs.text.recipe import ClassifierRecipe, LanguageRecipe

TRAIN, GATE = Fold("fold", ("train",), holdout=("holdout",)), Fold("fold", ("gate",))


def summaries() -> LanguageRecipe:
    """SmolLM2 learns by adapters to sum up a docstring; on two functions of each distribution, for two cores.

    With GPUs, the folds whose names end in `_more` hold the other functions.
    """
    from ray_jobs.text.recipe import LanguageRecipe, Lora

    return LanguageRecipe(
        model_name="summaries",
        label="summary",
        row_key="function_id",
        prompt="Say in one sentence what this Python function does.\n\n{body}",
        adapter=Lora(rank=8, alpha=16, modules=("q_proj", "v_proj")),
        sequence_tokens=256,
        answer_tokens=48,
        compared_answers=12,
        train_window=TRAIN,
        gate_window=GATE,
        epochs=1,
        batch_size=8,
        learning_rate=1e-3,
        num_workers=2,
        checkpoint_interval_steps=10,
        seed=2026,
    )


def topic() -> ClassifierRecipe:
    """MiniLM, as it is, with a linear layer that learns the topic of a passage."""
    from ray_jobs.text.recipe import ClassifierRecipe

    return ClassifierRecipe(
        model_name="topic",
        label="topic",
        row_key="passage_id",
        texts=("text",),
        train_encoder=False,
        text_tokens=128,
        train_window=TRAIN,
        gate_window=GATE,
        epochs=8,
        batch_size=32,
        learning_rate=3e-3,
        num_workers=2,
        seed=2026,
    )
