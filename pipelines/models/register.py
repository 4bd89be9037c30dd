"""Registering a model behind the gate: every challenger becomes a version, one that passed becomes the champion."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from pipelines.errors import ModelError
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lineage.events import Dataset, version_of
from pipelines.models import model_files
from pipelines.models.evidence import read_gate
from pipelines.models.registry import EVIDENCE_FOLDER, Registry


def register(run: GovernedRun, model: str, *, trained_by: Sequence[str]) -> Written:
    """Registers the last challenger, and makes it the champion if it passed the gate.

    A challenger with the champion's files is not registered again.

    Args:
        run: The run of the model's asset.
        model: The model's name in the registry.
        trained_by: The key of the asset whose last run trained the challenger.

    Raises:
        ModelError: if there is no challenger, or its files are not those of its run record.
    """
    registry = Registry(run.platform.settings)
    training_asset = "/".join(trained_by)
    mlflow_run = _last_version(run, training_asset)
    folder = registry.download_run(mlflow_run)
    gate = read_gate(folder.parent / EVIDENCE_FOLDER)
    passed = bool(gate["passed"])
    champion = registry.champion(model)
    if champion is not None and champion.digest == model_files.digest(folder):
        challenger, is_champion, reason = champion, True, "is the champion already, byte for byte"
    else:
        challenger = registry.register(model, run_id=mlflow_run, tags={"gate": "passed" if passed else "failed"})
        is_champion, reason = False, str(gate["reason"])
        if passed:
            registry.promote(challenger)
            champion = challenger
    check = dg.AssetCheckResult(
        check_name="gate",
        passed=passed or is_champion,
        severity=dg.AssetCheckSeverity.WARN,
        description=reason,
        metadata={
            f"{c['opponent']}_{c['metric']}": f"{c['challenger_value']:.4f} against {c['opponent_value']:.4f}"
            for c in gate["comparisons"]
        },
    )
    metadata = {
        "model": challenger.name,
        "model_version": challenger.version,
        "digest": challenger.digest,
        "champion": str(champion) if champion else "none",
        "gate": reason,
        "mlflow_run": challenger.run_id,
    }
    run.record_input(Dataset(training_asset, mlflow_run))
    dataset = Dataset(run.declaration.name, str(challenger.version), run.declaration.owner)
    return Written(dataset, metadata, check)


def _last_version(run: GovernedRun, asset: str) -> str:
    """The version that the asset's last complete run wrote, by lineage: in this Dagster run if it ran here."""
    event = run.platform.lineage.producer_of(asset)
    if event is None:
        raise ModelError(
            object=f"asset {asset}",
            observed="it was never materialized",
            expected="a trained challenger",
            next_step="materialize it first",
        )
    return next(str(version_of(output)) for output in event["outputs"] if output["name"] == asset)
