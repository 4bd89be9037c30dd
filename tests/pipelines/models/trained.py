"""What training leaves beside a model's files: its run record, the gate's verdict and its card."""

from __future__ import annotations

from pathlib import Path

from pipelines.models import gate, model_files, run_record, tasks
from pipelines.models.evidence import Evidence
from pipelines.models.program import Evaluation
from pipelines.models.run_record import RunRecord

CURVE = ((0.0, 0.0), (0.25, 0.75), (1.0, 1.0))


def write_evidence(folder: Path, name: str, *, auc: float = 0.71) -> Path:
    """Writes the evidence of the model in `folder`, which was compared with a baseline of AUC 0.68; returns its folder."""
    evaluations = {
        "challenger": Evaluation({"auc": auc, "log_loss": 0.48}, {"roc": CURVE, "calibration": CURVE}),
        "baseline": Evaluation({"auc": 0.68, "log_loss": 0.49}, {"roc": CURVE, "calibration": CURVE}),
    }
    metrics = {contender: evaluation.metrics for contender, evaluation in evaluations.items()}
    decision = gate.decide(
        metrics=tasks.gate_metrics("binary", ()),
        challenger=metrics["challenger"],
        opponents={"baseline": metrics["baseline"]},
        window="November",
    )
    record = RunRecord(
        created_at=run_record.now(), code_version="0123", code_dirty=False, feature_service="s", as_of_rule="r",
        dataset_versions={"gold/toys/training_set": 3}, hyperparameters={}, environment={}, base_model=None,
        base_image=None, accelerator="cpu", artifacts=model_files.checksums(folder), dagster_run_id="run",
    )  # fmt: skip
    evidence = Evidence(
        name, "binary", "Is it late?", ["Only toys."], {"compared on": "November"}, evaluations, decision, None
    )
    evidence.write(folder.parent / "evidence", record)
    return folder.parent / "evidence"
