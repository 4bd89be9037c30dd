"""A model's three steps, the same for every model: train with evidence, register behind the gate, serve.

What is trained and how is the caller's: the training program and the deployment are passed in.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.errors import ModelError
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse import time_travel
from pipelines.lineage.events import Dataset, version_of
from pipelines.machine import ray_connection, ray_head
from pipelines.models import gate, model_files, run_record
from pipelines.models.evidence import Evidence, Standing, read_gate
from pipelines.models.registry import EVIDENCE_FOLDER, RegisteredModel, Registry
from pipelines.quality import plots
from pipelines.settings import PROJECT, Settings

AS_OF_RULE = "last feature row whose event_timestamp is no later than the question's, nulls taken as they are"


def train(
    run: GovernedRun,
    challenge: Callable[..., Any],
    recipe: Any,
    *,
    model: str,
    question: str,
    limits: Sequence[str],
    service: str,
    fine_tune: bool,
) -> Written:
    """Trains a challenger and tracks it with everything that the gate and the registry will ask for.

    Raises:
        ModelError: if it is to be fine-tuned and there is no champion, or no window is left that nobody was trained on.
    """
    settings, registry = run.platform.settings, Registry(run.platform.settings)
    champion = registry.champion(model)
    champion_dir = registry.download(champion) if champion else None
    if fine_tune and champion is None:
        raise ModelError(
            object=f"model {model}",
            observed="it has no champion to fine-tune",
            expected="a registered champion",
            next_step="train from scratch first: materialize with mode from_scratch",
        )
    name = f"{model.replace('.', '-')}-{run.run_id[:8]}-{run.context.retry_number}"
    folder = settings.root / "training" / name
    at = run.versions["training_set"]
    window = _window(recipe, registry, champion)
    with ray_connection.connect(settings):
        run.usage.watched |= {pid for pid in [ray_head.head_pid(settings)] if pid}
        result = challenge(
            recipe,
            table_uri=str(run.platform.lakehouse.path(at.table)),
            table_version=at.version,
            storage_path=str(folder / "checkpoints"),
            run_name=name,
            model_dir=folder / "model",
            window=window,
            base_model_dir=champion_dir if fine_tune else None,
            champion_dir=champion_dir,
            on_epoch=lambda epoch: run.context.log.info("%s", epoch),
        )
    trained = result.run
    if trained.accelerator != "cpu":
        run.usage.gpu_seconds += trained.seconds * trained.workers
        run.usage.accelerator = trained.accelerator
    standings = {name: _standing(standing) for name, standing in result.standings.items()}
    opponents = {name: standing.metrics for name, standing in standings.items() if name != "challenger"}
    decision = gate.decide(challenger=standings["challenger"].metrics, opponents=opponents, window=str(window))
    record = _record(run, recipe, trained, folder / "model", service, champion if fine_tune else None)
    windows = {"trained on": str(recipe.train_window), "compared on": str(window)}
    evidence = Evidence(model, question, limits, windows, standings, decision)
    images = evidence.write(folder / "evidence", record)
    metrics = {f"gate_{metric}": value for metric, value in standings["challenger"].metrics.items()}
    metrics |= {f"{who}_{m}": v for who, values in opponents.items() for m, v in values.items()}
    tracked = registry.log_run(
        experiment=model,
        model=folder / "model",
        record=record,
        metrics=metrics,
        history={"train_loss": [e.train_loss for e in trained.history],
                 "validation_loss": [e.validation_loss for e in trained.history]},
        evidence=folder / "evidence",
        tags={**run.declaration.tags, "dagster_run": run.run_id, "feature_service": service},
    )  # fmt: skip
    metadata = {
        **metrics,
        "mlflow_run": tracked,
        "rows": trained.rows,
        "epochs": len(trained.history),
        "accelerator": trained.accelerator,
        "plots": dg.MetadataValue.md(plots.markdown(*images)),
        "card": dg.MetadataValue.md(evidence.card(record)),
    }
    return Written(Dataset(run.declaration.name, tracked, run.declaration.owner), metadata)


def _window(recipe: Any, registry: Registry, champion: RegisteredModel | None) -> Any:
    """The part of the recipe's gate window that the champion was not trained on either."""
    if champion is None:
        return recipe.gate_window
    seen = registry.record(champion).hyperparameters["train_window"]["end"]
    start = max(recipe.gate_window.start, datetime.fromisoformat(seen))
    if start >= recipe.gate_window.end:
        raise ModelError(
            object=f"gate window {recipe.gate_window}",
            observed=f"the champion {champion} was trained until {seen}",
            expected="flights that no contender was trained on",
            next_step="move the gate window behind the champion's training",
        )
    return dataclasses.replace(recipe.gate_window, start=start)


def _standing(found: Any) -> Standing:
    return Standing(
        {name: float(value) for name, value in dataclasses.asdict(found.metrics).items()},
        [(p.false_positive_rate, p.true_positive_rate) for p in found.roc],
        [(b.mean_probability, b.positive_share) for b in found.calibration],
    )


def _record(
    run: GovernedRun, recipe: Any, trained: Any, folder: Path, service: str, base: RegisteredModel | None
) -> run_record.RunRecord:
    commit, dirty = run_record.code_version(PROJECT)
    at = run.versions["training_set"]
    made_by = time_travel.made_by(time_travel.commits(run.platform.lakehouse, at.table), at)
    inputs = (made_by.inputs if made_by else None) or {}
    versions = {str(at.table): at.version} | {str(found.table): found.version for found in inputs.values()}
    return run_record.RunRecord(
        created_at=run_record.now(),
        code_version=commit,
        code_dirty=dirty,
        dataset_versions=versions,
        feature_service=service,
        as_of_rule=AS_OF_RULE,
        hyperparameters=_plain(dataclasses.asdict(recipe)),
        environment=run_record.environment(),
        base_model=base.digest if base else None,
        base_image=os.environ.get("DAGSTER_CURRENT_IMAGE"),
        accelerator=trained.accelerator,
        artifacts=model_files.checksums(folder),
        dagster_run_id=run.run_id,
    )


def _plain(value: Any) -> Any:
    """A recipe as JSON holds it: instants in ISO 8601, durations in seconds."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if hasattr(value, "total_seconds") else value


def register(run: GovernedRun, model: str, *, trained_by: Sequence[str]) -> Written:
    """Registers the challenger that `trained_by` left last, and makes it the champion if it passed the gate."""
    registry = Registry(run.platform.settings)
    run_id = _last_version(run, "/".join(trained_by))
    folder = registry.download_run(run_id)
    found = read_gate(folder.parent / EVIDENCE_FOLDER)
    digest, champion = model_files.digest(folder), registry.champion(model)
    tags = {"gate": "passed" if found["passed"] else "failed"}
    same = champion is not None and champion.digest == digest
    challenger = champion if same else registry.register(model, run_id=run_id, tags=tags)
    if found["passed"] and not same:
        registry.promote(challenger)
        champion = challenger
    words = "is the champion already, byte for byte" if same else str(found["reason"])
    check = dg.AssetCheckResult(
        check_name="gate",
        passed=bool(found["passed"]) or same,
        severity=dg.AssetCheckSeverity.WARN,
        description=words,
        metadata={
            f"{c['opponent']}_{c['metric']}": f"{c['challenger_value']:.4f} against {c['opponent_value']:.4f}"
            for c in found["comparisons"]
        },
    )
    metadata = {
        "model": challenger.name,
        "model_version": challenger.version,
        "digest": challenger.digest,
        "champion": str(champion) if champion else "none",
        "gate": words,
        "mlflow_run": challenger.run_id,
    }
    run.reads(Dataset("/".join(trained_by), run_id))
    dataset = Dataset(run.declaration.name, str(challenger.version), run.declaration.owner)
    return Written(dataset, metadata, check)


def serve(run: GovernedRun, model: str, *, deploy: Callable[[Settings, RegisteredModel, Path], str]) -> Written:
    """Puts the champion behind the prediction service.

    Raises:
        ModelError: if no version ever passed the gate.
    """
    settings = run.platform.settings
    registry = Registry(settings)
    champion = registry.champion(model)
    if champion is None:
        raise ModelError(
            object=f"model {model}",
            observed="it has no champion",
            expected="a version that passed the gate",
            next_step="materialize the registered model; its gate check says what it lacks",
        )
    url = deploy(settings, champion, registry.download(champion))
    run.reads(Dataset(f"models/{'/'.join(model.split('.'))}", str(champion.version)))
    metadata = {"url": dg.MetadataValue.url(url), "model": str(champion), "digest": champion.digest}
    return Written(Dataset(run.declaration.name, champion.digest, run.declaration.owner), metadata)


def _last_version(run: GovernedRun, asset: str) -> str:
    """The version that an asset's last complete run wrote, by lineage: in this Dagster run if it ran here."""
    event = run.platform.lineage.producer_of(asset)
    if event is None:
        raise ModelError(
            object=f"asset {asset}",
            observed="it was never materialized",
            expected="a trained challenger",
            next_step="materialize it first",
        )
    return next(str(version_of(output)) for output in event["outputs"] if output["name"] == asset)
