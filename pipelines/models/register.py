"""Registering a model behind the gate: every challenger becomes a version, one that passed becomes the champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from pipelines.errors import ModelError
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lineage.events import Dataset, version_of
from pipelines.models import admission, decisions, gate, model_files, promotion
from pipelines.models.evidence import read_gate
from pipelines.models.judgement import Gate
from pipelines.models.registry import EVIDENCE_FOLDER, RegisteredModel, Registry
from pipelines.models.spec import ModelSpec

#: How many decisions the asset shows; `goldpath model show` shows all.
SHOWN = 20


def register(run: GovernedRun, spec: ModelSpec, *, declared: Gate) -> Written:
    """Registers a challenger, and makes it the champion if the gate says so.

    The challenger is the one that this Dagster run trained; where it trained none, the last one that any run trained.
    A challenger with the champion's files is not registered again. The gate's verdict counts against the champion that
    the challenger was compared with, and once: where another champion serves since, or where people took the challenger
    out of service, or another gate is declared than when it was trained, it is registered and not promoted. So is one
    that may not serve (`admission`), and one whose risk tier asks for a person.

    Args:
        run: The run of the model's asset.
        spec: The model.
        declared: The model's gate, with its metrics named.

    Raises:
        ModelError: if there is no challenger, or its files are not those of its run record.
        LockTimeout: if another run decides about this model for too long.
    """
    settings, model = run.platform.settings, spec.registered_name
    registry = Registry(settings)
    training_asset = "/".join(spec.key("training"))
    mlflow_run = _challenger_run(run, training_asset)
    folder = registry.download_run(mlflow_run)
    verdict = read_gate(folder.parent / EVIDENCE_FOLDER)
    digest = model_files.digest(folder)
    rolls_out = False
    with promotion.deciding(settings, model):
        champion = registry.champion(model)
        if champion is not None and champion.digest == digest:
            challenger, is_champion, reason = champion, True, "is the champion already, byte for byte"
            registry.promote(champion)  # a killed run may have left it without its note
        else:
            passed = "passed" if verdict["passed"] else "failed"
            tags = {"gate": passed, "task": str(verdict["task"]), "risk": spec.risk}
            challenger = registry.register(model, run_id=mlflow_run, tags=tags)
            objection = _other_gate(verdict, declared, training_asset)
            objection = objection or _objection(verdict, digest, champion, registry.versions(model))
            objection = objection or admission.objection(settings, challenger)
            objection = objection or promotion.awaits(settings, spec.risk, challenger)
            is_champion, reason = objection is None, objection or str(verdict["reason"])
            if is_champion and spec.rollout is not None and champion is not None:
                is_champion, reason = False, f"{reason}; its rollout begins with {'/'.join(spec.key('serving'))}"
                rolls_out = True
            elif is_champion:
                signed = registry.download(challenger)
                promotion.make_champion(
                    settings, registry, "promote", challenger, champion, signed, reason, dagster_run=run.run_id
                )
                champion = challenger
        record = decisions.read(settings, model)
    check = dg.AssetCheckResult(
        check_name="gate",
        passed=is_champion or rolls_out,
        severity=dg.AssetCheckSeverity.WARN,
        description=reason
        if verdict["passed"]
        else f"{reason}; card.md of version {challenger.version} has all figures",
        metadata={
            f"{c['opponent']}_{c['metric']}": f"{c['challenger_value']:.4f} against {c['opponent_value']:.4f}, "
            "difference {:+.4f} to {:+.4f}".format(*c.get("interval", (c["low"], c["high"])))
            for c in verdict["comparisons"]
        },
    )
    metadata = {
        "model": challenger.name,
        "model_version": challenger.version,
        "digest": challenger.digest,
        "champion": str(champion) if champion else "none",
        "gate": reason,
        "mlflow_run": challenger.run_id,
        "risk": spec.risk,
        "decisions": dg.MetadataValue.md("\n".join(f"- {decisions.words(each)}" for each in record[-SHOWN:]) or "none"),
    }
    run.record_input(Dataset(training_asset, mlflow_run))
    dataset = Dataset(run.declaration.name, str(challenger.version), run.declaration.owner)
    return Written(dataset, metadata, (check,))


def _other_gate(verdict: Mapping[str, Any], declared: Gate, training_asset: str) -> str | None:
    """Why the verdict of another gate than the declared one does not count; None if it is the same."""
    differing = gate.differing(verdict.get("gate", {}), declared)
    if not differing:
        return None
    return (
        f"was judged by a gate that differs from the declared one in {' and '.join(differing)}: "
        f"goldpath materialize {training_asset}"
    )


def _objection(
    verdict: Mapping[str, Any], digest: str, champion: RegisteredModel | None, versions: Sequence[RegisteredModel]
) -> str | None:
    """Why a challenger does not become the champion; None if it does.

    Args:
        verdict: The content of its gate file.
        digest: Of its files.
        champion: The one that serves now.
        versions: All registered versions of the model.
    """
    if not verdict["passed"]:
        return str(verdict["reason"])
    before = next((v for v in versions if v.digest == digest and v.promoted_at), None)
    if before is not None:
        return (
            f"was the champion from {before.promoted_at} on, as version {before.version}, and was taken out of service "
            "since: only a person makes it the champion again, by MLflow's alias `champion`"
        )
    compared_with = verdict.get("champion")
    if compared_with != (champion.digest if champion else None):
        opponent = f"the champion {compared_with[:12]}" if compared_with else "no champion"
        return f"was compared with {opponent}; the champion now is {champion or 'none'}: train again to compare with it"
    return None


def _challenger_run(run: GovernedRun, asset: str) -> str:
    """The MLflow run of the challenger that this Dagster run trained, else of the last one that was trained."""
    last, own = None, None
    for event in run.platform.lineage.events():
        if event["eventType"] == "COMPLETE":
            for output in event.get("outputs", []):
                if output["name"] == asset:
                    last = version_of(output)
                    parent = event["run"].get("facets", {}).get("parent", {}).get("run", {}).get("runId")
                    own = last if parent == run.run_id else own
    challenger = own or last
    if challenger is None:
        raise ModelError(
            object=f"asset {asset}",
            observed="it was never materialized",
            expected="a trained challenger",
            next_step=f"goldpath materialize {asset}",
        )
    return challenger
