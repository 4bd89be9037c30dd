"""Whether the rollout of a model's declaration can be measured: by its task, its stages and its outcomes' table."""

from __future__ import annotations

from pipelines.models import part_check
from pipelines.models.part_check import NUMBERS
from pipelines.models.spec import ModelSpec


def require(spec: ModelSpec) -> None:
    """Raises DefinitionError for a guard whose metric nothing could measure, and for outcomes that are in no column."""
    plan = spec.rollout
    if plan is None:
        return
    metrics = {guard.metric for guard in plan.guards}
    is_mirrored = any(stage.share is None for stage in plan.stages)
    mirrored = "a mirrored stage, Stage(..., share=None), in which both versions answer the same questions"
    checks = [
        (
            spec.task != "text" or not (plan.outcomes or metrics & {"score", "loss"}),
            "a guard of score or loss, or outcomes, and its task is text",
            "guards of what texts have: errors, latencies, cost, disagreement, missing",
        ),
        (is_mirrored or "disagreement" not in metrics, "a guard of disagreement, and no mirrored stage", mirrored),
        (
            is_mirrored or "score" not in metrics or spec.task != "regression",
            "a guard of score, and no mirrored stage: values have no range, and are compared on the same questions",
            mirrored,
        ),
    ]
    if plan.outcomes is not None:
        table, label = plan.outcomes.table, plan.outcomes.label
        types = {column.name: column.type for column in table.columns}
        absent = {"prediction_id", label} - types.keys()
        lacks = f"outcomes in {table.table}, which lacks {', '.join(sorted(absent))}"
        checks.append((not absent, lacks, f"columns of {table.path}: {', '.join(types)}"))
        fits = spec.task not in ("binary", "regression") or types.get(label, "").startswith((*NUMBERS, "boolean"))
        wrong = f"outcomes in the column {label} of {table.table}, whose type is {types.get(label)}"
        checks.append((fits, wrong, "a column of numbers, or of booleans for yes and no"))
    part_check.require(spec, "rollout", checks)
