"""One training run on a Ray cluster: fit encoder and objective, train the workers, calibrate, measure, save."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ray.train import Checkpoint

from pipelines.models.program import Epoch, OnEpoch, RecipeError
from ray_jobs.core import run_folder
from ray_jobs.core.dataset import DatasetVersion, evaluation_rows, training_rows
from ray_jobs.core.progress import following, ignore
from ray_jobs.core.ray_train import UserCallback, run_workers, workers_for
from ray_jobs.core.worker_state import Progress, read_state
from ray_jobs.tabular import objective
from ray_jobs.tabular.encoding import Encoder
from ray_jobs.tabular.loop import Job, train_loop
from ray_jobs.tabular.model import CONFIG_FILE, Shape, TabularModel, WideAndDeep
from ray_jobs.tabular.recipe import Recipe


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished run.

    Attributes:
        model_dir: Holds the model, as `TabularModel.load` reads it.
        metrics: On the gate window, after calibration; by name.
        history: One entry per epoch, however often the run was interrupted.
        resumed_after: Number of finished epochs at each restart from a checkpoint; empty for an uninterrupted run.
        rows: Rows that weights were fitted on.
        workers: Training processes.
        accelerator: Name of the GPU, or "cpu".
        seconds: Wall clock of the whole call.
    """

    model_dir: Path
    metrics: Mapping[str, float]
    history: tuple[Epoch, ...]
    resumed_after: tuple[int, ...]
    rows: int
    workers: int
    accelerator: str
    seconds: float


def train(
    recipe: Recipe,
    *,
    table: DatasetVersion,
    storage_path: str,
    run_name: str,
    model_dir: Path,
    base_model_dir: Path | None = None,
    resume: Literal["never", "always"] = "never",
    on_epoch: OnEpoch = ignore,
    callbacks: Sequence[UserCallback] = (),
) -> TrainResult:
    """Trains a model on the cluster that this process is connected to.

    Args:
        recipe: The complete configuration.
        table: The training set; it has the recipe's columns, and one row per `row_key`.
        storage_path: Absolute path or URI that all nodes reach, for checkpoints.
        run_name: Name of the run's folder there; a name is used once.
        model_dir: Where the model is written; empty or absent.
        base_model_dir: A model to fine-tune: training begins with its weights, and its encoder is kept.
        resume: "always" continues the run of this name, which must exist and have the same recipe, table and base.
        on_epoch: Is called after each epoch, in this process, in a thread of its own.
        callbacks: Ray Train calls them in its controller, another process.

    Raises:
        TrainingError: if the cluster is too small, if the run's folder exists (or doesn't, to resume), or if more
            workers failed than the recipe allows.
        RecipeError: if the base model doesn't fit the recipe, or is missing.
        DatasetError: if the table lacks columns, or rows in a window, or its labels do not fit the task.
        MetricError: if the held-out days do not decide the calibration, or the gate window a metric.
    """
    started = time.monotonic()
    workers = workers_for(recipe.model_name, recipe.num_workers)
    rows = training_rows(table, recipe, "fit")
    base = _base(base_model_dir, recipe)
    encoder = base.encoder if base else Encoder.fit(rows.columns, recipe)
    fitted = base.objective if base else objective.fit(rows.labels, recipe)
    fitted.require(rows.labels, recipe)
    shape = base.shape if base else Shape.of(encoder, fitted, recipe)
    weights = {name: tensor.numpy() for name, tensor in base.network.state_dict().items()} if base else None
    identity = {"recipe": recipe.fingerprint, "table": str(table), "base": _config_digest(base_model_dir)}
    run_folder.claim(storage_path, run_name, identity, resume=resume)
    with following(on_epoch) as epochs:
        checkpoint = run_workers(
            train_loop,
            {"job": Job(recipe, table, encoder.to_json(), fitted, shape, weights)},
            run_name=run_name,
            storage_path=storage_path,
            workers=workers,
            max_failures=recipe.max_failures,
            callbacks=[epochs, *callbacks],
        )
    network, progress = _trained(checkpoint, shape)
    model = TabularModel(encoder=encoder, shape=shape, network=network, objective=fitted, label=recipe.label)
    if recipe.calibration == "fit":
        holdout = training_rows(table, recipe, "holdout")
        outputs = model.outputs(encoder.encode(holdout.columns))
        model.objective = fitted.calibrated(outputs, holdout.labels, recipe)
    gate = evaluation_rows(table, recipe, recipe.gate_window)
    metrics = model.objective.evaluate(gate.labels, model.predict(gate.columns)).metrics
    model.save(model_dir)
    return TrainResult(
        model_dir=model_dir,
        metrics=metrics,
        history=tuple(progress.epochs),
        resumed_after=tuple(progress.resumed_after),
        rows=len(rows),
        workers=workers.number,
        accelerator=progress.accelerator,
        seconds=time.monotonic() - started,
    )


def _base(folder: Path | None, recipe: Recipe) -> TabularModel | None:
    """The base model, if the recipe fits it; None to train from scratch."""
    if folder is None:
        if recipe.calibration == "fit":
            return None
        raise RecipeError(
            object=f"recipe of {recipe.model_name}: calibration",
            observed='"keep", and no base model',
            expected="a base model whose calibration is kept",
            next_step='name one, or set calibration to "fit"',
        )
    model = TabularModel.load(folder)
    require_task(model, recipe, object=f"base model in {folder}")
    if set(model.inputs) != set(recipe.inputs) or model.label != recipe.label:
        different = sorted(set(model.inputs) ^ set(recipe.inputs)) or [model.label]
        raise RecipeError(
            object=f"base model in {folder}",
            observed=f"differs from the recipe in {', '.join(different)}",
            expected="a model with the recipe's inputs and label",
            next_step="train from scratch, or fine-tune a model of the same feature service",
        )
    return model


def require_task(model: TabularModel, recipe: Recipe, *, object: str) -> None:
    """Raises RecipeError unless the model, which `object` names, is one of the recipe's task."""
    if model.task != recipe.task:
        raise RecipeError(
            object=object,
            observed=f"its task is {model.task}",
            expected=f"a model of the task {recipe.task}, as the recipe of {recipe.model_name} says",
            next_step="declare the model of another task under a name of its own",
        )


def _config_digest(model_dir: Path | None) -> str:
    """Identifies a base model: the checksum of its configuration, which holds the checksum of its weights."""
    return hashlib.sha256((model_dir / CONFIG_FILE).read_bytes()).hexdigest() if model_dir else "none"


def _trained(checkpoint: Checkpoint, shape: Shape) -> tuple[WideAndDeep, Progress]:
    with checkpoint.as_directory() as folder:
        state, progress = read_state(Path(folder))
    network = WideAndDeep(shape)
    network.load_state_dict(state["network"])
    return network, progress
