"""Training a model with evidence: a challenger is trained, compared, and tracked with all that the registry asks for.

The model's declaration names the training program; the caller passes in its recipe.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.errors import ModelError
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse import time_travel
from pipelines.lineage.events import Dataset
from pipelines.machine import ray_connection, ray_head
from pipelines.models import efficiency, gate, model_files, run_record, search_report, unfinished, windows
from pipelines.models.answers import Task
from pipelines.models.drift import Reference, reference
from pipelines.models.evidence import Evidence, read_gate
from pipelines.models.feature_versions import as_trained
from pipelines.models.program import CHALLENGER, Challenge, Evaluation, Part, Recipe, TrainedRun
from pipelines.models.registry import EVIDENCE_FOLDER, RegisteredModel, Registry
from pipelines.models.search import Search
from pipelines.models.spec import ModelSpec
from pipelines.quality import plots
from pipelines.settings import PROJECT
from pipelines.tables import TableVersion

AS_OF_RULE = "last feature row whose event_timestamp is no later than the question's, nulls taken as they are"
TRAINING_SET = "training_set"


def train(
    run: GovernedRun, spec: ModelSpec, recipe: Recipe, *, fine_tune: bool, search: Search | None = None
) -> Written:
    """Trains a challenger and tracks it with everything that the gate and the registry will ask for.

    Args:
        run: The run of the training asset; its input `training_set` is the table to train on.
        spec: The model.
        recipe: The configuration of its program.
        fine_tune: Whether training begins with the champion's weights.
        search: What chooses values of the recipe first; None to train it as it is.

    Raises:
        ModelError: if there is no champion to fine-tune, if the champion answers another task, or if there is no part
            of the gate window that the champion was not trained on.
    """
    model, registry = spec.registered_name, Registry(run.platform.settings)
    champion = registry.champion(model)
    champion_dir = registry.download(champion) if champion else None
    if fine_tune and champion is None:
        raise ModelError(
            object=f"model {model}",
            observed="it has no champion to fine-tune",
            expected="a registered champion",
            next_step=f"train from scratch first: goldpath materialize {run.declaration.name}",
        )
    window = recipe.gate_window
    if champion is not None and champion_dir is not None:
        require_task(spec.task, champion, champion_dir)
        window = windows.comparison_window(
            window, champion, trained_on=windows.trained_on(registry.record(champion).hyperparameters)
        )
    root, begin = run.platform.settings.root / "training", model.replace(".", "-")
    identity = _identity(run, spec, recipe, window, champion=champion, fine_tune=fine_tune)
    identity |= {"search": repr(search)} if search else {}
    with unfinished.claimed(root, begin, f"{begin}-{run.run_id[:8]}-{run.context.retry_number}", identity) as claim:
        folder, goes_on = claim
        if goes_on:
            run.context.log.info("goes on with the unfinished training in %s", folder)
        challenge = _challenge(
            run, spec, recipe, folder, window, champion_dir=champion_dir, fine_tune=fine_tune, search=search
        )
        trained = challenge.recipe or recipe
        return _tracked(
            run, spec, trained, folder, window, challenge, champion=champion, fine_tune=fine_tune, search=search
        )


def _identity(
    run: GovernedRun,
    spec: ModelSpec,
    recipe: Recipe,
    window: Part,
    *,
    champion: RegisteredModel | None,
    fine_tune: bool,
) -> dict[str, str]:
    """What decides a training and its comparison: a run goes on with one that is the same in all of it."""
    return {
        "recipe": json.dumps(_plain(dataclasses.asdict(recipe)), sort_keys=True),
        "training set": str(run.versions[TRAINING_SET]),
        "begins with": champion.digest if champion and fine_tune else "random weights",
        "champion": champion.digest if champion else "none",
        "compared on": str(window),
        "gate": repr(spec.gate),
        "code": unfinished.code_digest(spec.program),
        "environment": json.dumps(run_record.environment(), sort_keys=True),
    }


def _tracked(
    run: GovernedRun,
    spec: ModelSpec,
    recipe: Recipe,
    folder: Path,
    window: Part,
    challenge: Challenge,
    *,
    champion: RegisteredModel | None,
    fine_tune: bool,
    search: Search | None,
) -> Written:
    """Writes the evidence of a trained challenger, and tracks both."""
    model, service, registry = spec.registered_name, spec.features.name, Registry(run.platform.settings)
    trained, evaluations = challenge.run, challenge.evaluations
    asked = gate.named(spec.task, spec.gate)
    decision = gate.decide(task=spec.task, gate=asked, judgement=challenge.judgement, window=str(window))
    base = champion if fine_tune else None
    shutil.rmtree(folder / "evidence", ignore_errors=True)  # of a run that was killed while it wrote it
    record = _record(run, recipe, trained, model_dir=folder / "model", service=service, base=base)
    windows = {"trained on": f"{trained.rows:,} rows of {recipe.train_window}", "compared on": str(window)}
    windows |= {"searched": str(challenge.search)} if challenge.search else {}
    compared_with = champion.digest if champion else None
    evidence = Evidence(model, spec.question, spec.limits, spec.risk, windows, evaluations, decision, compared_with)
    images = evidence.write(folder / "evidence", record)
    _reference(run, spec, recipe, record).write(folder / "evidence")
    if search and challenge.search:
        search_report.write(search, challenge.search, folder / "evidence")
    metrics = {**_metrics(evaluations), **record.efficiency}
    mlflow_run = registry.log_run(
        experiment=model,
        model=folder / "model",
        record=record,
        metrics=metrics,
        history={
            "train_loss": [epoch.train_loss for epoch in trained.history],
            "validation_loss": [epoch.validation_loss for epoch in trained.history],
            "epoch_seconds": [epoch.seconds for epoch in trained.history],
        },
        evidence=folder / "evidence",
        tags={**run.declaration.tags, "dagster_run": run.run_id, "feature_service": service, "task": spec.task},
    )
    metadata = {
        **metrics,
        "mlflow_run": mlflow_run,
        "rows": trained.rows,
        "epochs": len(trained.history),
        "accelerator": trained.accelerator,
        "plots": dg.MetadataValue.md(plots.markdown(*images)),
        "card": dg.MetadataValue.md(evidence.card(record)),
    }
    if search and challenge.search:
        search_report.track(registry, mlflow_run, challenge.search)
        metadata |= search_report.metadata(search, challenge.search)
    return Written(Dataset(run.declaration.name, mlflow_run, run.declaration.owner), metadata)


def require_task(task: Task, champion: RegisteredModel, folder: Path) -> None:
    """Raises ModelError unless the champion, whose files are in the folder, answers this task."""
    observed = read_gate(folder.parent / EVIDENCE_FOLDER).get("task", "not known: an older release trained it")
    if observed != task:
        raise ModelError(
            object=f"model {champion.name}",
            observed=f"the task of its champion {champion} is {observed}",
            expected=f"a champion of the task {task}: another cannot be fine-tuned, nor compared with",
            next_step="declare the model under another name, or delete MLflow's alias `champion` of the former one",
        )


def _challenge(
    run: GovernedRun,
    spec: ModelSpec,
    recipe: Recipe,
    folder: Path,
    window: Part,
    *,
    champion_dir: Path | None,
    fine_tune: bool,
    search: Search | None,
) -> Challenge:
    """Runs the program on a Ray cluster, and meters the cluster and the run's GPUs."""
    settings = run.platform.settings
    training_set = run.versions[TRAINING_SET]
    program = spec.program.load()
    with ray_connection.connect(settings):
        head = ray_head.head_pid(settings)
        run.usage.watched |= {head} if head else set()
        challenge = program(
            recipe,
            place="cluster" if settings.ray_address or head else "process",
            table_uri=str(run.platform.lakehouse.path(training_set.table)),
            table_version=training_set.version,
            storage_path=str(folder / "checkpoints"),
            run_name=folder.name,
            model_dir=folder / "model",
            window=window,
            base_model_dir=champion_dir if fine_tune else None,
            champion_dir=champion_dir,
            gate=gate.named(spec.task, spec.gate),
            on_progress=lambda progress: run.context.log.info("%s", progress),
            search=search,
            prices=run.platform.prices,
        )
    trained, trials = challenge.run, challenge.search.trials if challenge.search else ()
    if settings.ray_address and head is None:
        # Elsewhere: each worker reserves a core there, the rest is not measurable.
        run.usage.cpu_seconds += trained.seconds * trained.workers + sum(trial.cpu_seconds for trial in trials)
        run.usage.unmetered.add("memory and evaluation on the Ray cluster")
    if trained.accelerator != "cpu":
        run.usage.gpu_seconds += trained.seconds * trained.workers + sum(trial.gpu_seconds for trial in trials)
        run.usage.accelerator = trained.accelerator
    return challenge


def _metrics(evaluations: Mapping[str, Evaluation]) -> dict[str, float]:
    """All contenders' metrics under the names that MLflow and Dagster show: the challenger's begin with `gate_`."""
    return {
        f"{'gate' if contender == CHALLENGER else contender}_{metric}": value
        for contender, evaluation in evaluations.items()
        for metric, value in evaluation.metrics.items()
    }


def _record(
    run: GovernedRun,
    recipe: Recipe,
    trained: TrainedRun,
    *,
    model_dir: Path,
    service: str,
    base: RegisteredModel | None,
) -> run_record.RunRecord:
    commit, dirty = run_record.code_version(PROJECT)
    training_set = run.versions[TRAINING_SET]
    return run_record.RunRecord(
        created_at=run_record.now(),
        code_version=commit,
        code_dirty=dirty,
        dataset_versions={str(at.table): at.version for at in (training_set, *_sources(run).values())},
        feature_service=service,
        as_of_rule=AS_OF_RULE,
        hyperparameters=_plain(dataclasses.asdict(recipe)),
        environment=run_record.environment(),
        base_model=base.digest if base else None,
        base_image=os.environ.get("DAGSTER_CURRENT_IMAGE"),
        accelerator=trained.accelerator,
        artifacts=model_files.checksums(model_dir),
        dagster_run_id=run.run_id,
        efficiency=efficiency.figures(trained, run.platform.prices, quality_target=recipe.quality_target),
    )


def _reference(run: GovernedRun, spec: ModelSpec, recipe: Recipe, record: run_record.RunRecord) -> Reference:
    """The distributions of the features that the model was trained on, for later comparisons."""
    features = as_trained(spec.features, record, model=spec.registered_name)
    house = run.platform.lakehouse
    sources = {at.table: at for at in _sources(run).values() if time_travel.is_readable(house, at)}
    tables = [view.table for view in features.views]
    frames = {table.source_name: house.read(sources.get(table) or house.current(table)) for table in tables}
    return reference(spec, features, recipe, run.input(TRAINING_SET), frames)


def _sources(run: GovernedRun) -> Mapping[str, TableVersion]:
    """The tables that the training set was computed from, by the names of its inputs; none if its log lacks them."""
    training_set = run.versions[TRAINING_SET]
    made_by = time_travel.made_by(time_travel.commits(run.platform.lakehouse, training_set.table), training_set)
    return (made_by.inputs if made_by else None) or {}


def _plain(value: Any) -> Any:
    """A recipe's value as JSON holds it: instants in ISO 8601, durations in seconds."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value
