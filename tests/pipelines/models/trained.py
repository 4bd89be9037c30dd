"""What training leaves beside a model's files: its run record, the gate's verdict and its card."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.contracts.domain import CostTags, Domain
from pipelines.contracts.load import Contracts
from pipelines.features.declaration import NoFeatures
from pipelines.models import gate, model_files, run_record
from pipelines.models.answers import Task
from pipelines.models.evidence import Evidence
from pipelines.models.gate import GateDecision
from pipelines.models.judgement import Difference, Gate, Judgement
from pipelines.models.program import Evaluation, Program
from pipelines.models.run_record import RunRecord
from pipelines.models.signature import SIGNATURE_FOLDER, sign
from pipelines.models.spec import ModelSpec
from pipelines.settings import Settings
from tests.pipelines import toy_contracts

#: The keys of the homes that tests share models between.
KEYS = Path(tempfile.mkdtemp(prefix="goldpath_keys_")) / "keys"
atexit.register(shutil.rmtree, KEYS.parent, ignore_errors=True)
CURVE = ((0.0, 0.0), (0.25, 0.75), (1.0, 1.0))
#: The figures of an evaluation, by task.
FIGURES: Mapping[Task, Mapping[str, Any]] = {
    "binary": {"roc": CURVE, "calibration": CURVE},
    "regression": {
        "predicted_against_actual": CURVE,
        "residuals": {"edges": [-1.0, 0.0, 1.0], "shares": [0.25, 0.75]},
        "interval_coverage": {"level": 0.9, "points": CURVE},
    },
    "multiclass": {
        "confusion": {"labels": ["a", "b"], "counts": [[3, 1], [0, 0]]},
        "recall": {"a": 0.75, "b": 0.0},
    },
    "text": {
        "rouge_l": [0.0, 0.5, 1.0],
        "samples": [{"question": "Costs $5 and $x_1$?", "known": "Yes. " * 90, "written": ""}],
    },
}
#: The metrics of a challenger that wins, and of a baseline, by task.
METRICS: Mapping[Task, tuple[dict[str, float], dict[str, float]]] = {
    "binary": ({"auc": 0.71, "log_loss": 0.48, "n": 10.0}, {"auc": 0.68, "log_loss": 0.49, "n": 10.0}),
    "regression": ({"mae": 1.0, "rmse": 1.5, "coverage": 0.91}, {"mae": 2.0, "rmse": 2.5, "coverage": 0.9}),
    "multiclass": ({"log_loss": 0.5, "accuracy": 0.8}, {"log_loss": 0.6, "accuracy": 0.7}),
    "text": ({"held_out_loss": 1.5, "rouge_l": 0.4}, {"held_out_loss": 2.5, "rouge_l": 0.2}),
}


def judged(
    task: Task,
    challenger: Mapping[str, float],
    opponents: Mapping[str, Mapping[str, float]],
    *,
    declared: Gate | None = None,
    width: float = 0.0,
    window: str = "November",
    **figures: Any,
) -> GateDecision:
    """The gate's decision by metrics; the true difference lies within `width` of the observed one."""
    asked = gate.named(task, declared or Gate())
    differences = tuple(
        Difference(metric, name, challenger[metric], values[metric], own - width, own + width)
        for name, values in opponents.items()
        for metric in asked.metrics
        if metric in values and (own := challenger.get(metric, 0.0) - values[metric]) is not None
    )
    judgement = Judgement(10, asked.confidence, 2000, 10, differences, **figures)
    return gate.decide(task=task, gate=asked, judgement=judgement, window=window)


def evidence_of(name: str, task: Task = "binary", *, wins: bool = True, champion: str | None = None) -> Evidence:
    """The evidence of a model that was compared with a baseline."""
    challenger, baseline = METRICS[task] if wins else reversed(METRICS[task])
    evaluations = {
        "challenger": Evaluation(challenger, FIGURES[task]),
        "baseline": Evaluation(baseline, FIGURES[task]),
    }
    decision = judged(task, challenger, {"baseline": baseline})
    windows = {"compared on": "November"}
    return Evidence(name, "Is it late?", ["Only toys."], "limited", windows, evaluations, decision, champion)


def write_evidence(
    folder: Path, name: str, task: Task = "binary", *, wins: bool = True, champion: str | None = None, run: str = "run"
) -> Path:
    """Writes the evidence of the model in `folder`, which was compared with a baseline; returns its folder."""
    record = RunRecord(
        created_at=run_record.now(), code_version="0123", code_dirty=False, feature_service="s", as_of_rule="r",
        dataset_versions={"gold/toys/training_set": 3}, hyperparameters={}, environment={}, base_model=None,
        base_image=None, accelerator="cpu", artifacts=model_files.checksums(folder), dagster_run_id=run,
    )  # fmt: skip
    evidence_of(name, task, wins=wins, champion=champion).write(folder.parent / "evidence", record)
    return folder.parent / "evidence"


def signed(settings: Settings, folder: Path) -> Path:
    """Signs the model in `folder` with its evidence, as its registration does; returns the model's folder."""
    shutil.rmtree(folder.parent / SIGNATURE_FOLDER, ignore_errors=True)
    with tempfile.TemporaryDirectory() as work:
        signature = sign(settings, folder.parent, into=Path(work))
        (folder.parent / SIGNATURE_FOLDER).mkdir()
        shutil.copy(signature, folder.parent / SIGNATURE_FOLDER)
    return folder


def toy_spec(name: str, folder: Path) -> ModelSpec:
    """The declaration of a toy model, which no program trains."""
    return ModelSpec(
        domain=Domain("toys", "toy-data", CostTags("cc-7", "toys", "blocks", "building"), Contracts()),
        name=name, question="Is it late?", task="binary", recipes={},
        program=Program("nowhere:Toy", "nowhere:load", tasks=("binary",), kinds=("ray",)),
        training_set=toy_contracts.contract(folder, "gold/toys/bricks", [toy_contracts.text("brick", primaryKey=True)]),
        features=NoFeatures(domain="toys", owner="toy-data"), limits=("Only toys.",),
    )  # fmt: skip
