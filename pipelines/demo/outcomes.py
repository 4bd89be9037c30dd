"""How good the replay's predictions were: a program's metrics of its model's task, over the outcomes known by now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.governed.platform import Platform
from pipelines.models.answers import Task
from pipelines.orchestration.demo_story import Demo


def replayed(platform: Platform, demo: Demo, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the replay.

    Returns:
        `asked`, the number of predictions; `outcomes_known`, of those with an outcome at the platform's clock;
        `compared`, of those whose outcome has the model's label; and `metrics` over the latter, by name. The metrics
        are empty where nothing can be compared, or all binary labels are the same.
    """
    replay = demo.replay
    predictions = {answer["prediction_id"] for answer in answers}
    rows = platform.lakehouse.snapshot(replay.outcomes.table).arrow().to_pylist()
    rows = [row for row in rows if row["prediction_id"] in predictions]
    now = platform.now()
    known = [row for row in rows if row["outcome_known_at"] and row["outcome_known_at"] <= now]
    compared = [row for row in known if row[replay.label] is not None]
    return {
        "subjects": replay.subjects,
        "asked": len(predictions),
        "outcomes_known": len(known),
        "compared": len(compared),
        "metrics": metrics(demo.model.task, compared, replay.label, replay.answer),
    }


def metrics(task: Task, rows: Sequence[dict[str, Any]], label: str, answer: str) -> dict[str, float]:
    """The metrics of predictions, the column `answer`, against outcomes, the column `label`."""
    came, said = [row[label] for row in rows], [row[answer] for row in rows]
    if task == "binary" and len(set(came)) == 2:
        from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

        return {
            "auc": float(roc_auc_score(came, said)),
            "average_precision": float(average_precision_score(came, said)),
            "log_loss": float(log_loss(came, said)),
            "brier": float(brier_score_loss(came, said)),
            "positive_share": sum(came) / len(came),
            "mean_probability": sum(said) / len(said),
        }
    if task == "regression" and rows:
        errors = [value - true for value, true in zip(said, came, strict=True)]
        return {
            "mae": sum(map(abs, errors)) / len(errors),
            "rmse": (sum(error**2 for error in errors) / len(errors)) ** 0.5,
            "bias": sum(errors) / len(errors),
        }
    if task == "multiclass" and rows:
        return {"accuracy": sum(value == true for value, true in zip(said, came, strict=True)) / len(rows)}
    return {}
