"""One training run on a Ray cluster: fit the encoder, train the workers, calibrate, measure, save."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ray
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.torch.torch_trainer import TorchTrainer

from ray_jobs.core.dataset import TableVersion, training_rows
from ray_jobs.core.errors import RecipeError, TrainingError
from ray_jobs.core.progress import OnEpoch, following, silent
from ray_jobs.tabular import calibration, run_folder
from ray_jobs.tabular.calibration import Calibration
from ray_jobs.tabular.encoding import Encoder
from ray_jobs.tabular.evaluate import Metrics, evaluate
from ray_jobs.tabular.loop import Epoch, Job, Progress, read_state, train_loop
from ray_jobs.tabular.model import Shape, TabularModel, WideAndDeep
from ray_jobs.tabular.recipe import Recipe

CHECKPOINTS_KEPT = 2


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished run.

    Attributes:
        model_dir: Holds the model, as `TabularModel.load` reads it.
        metrics: On the gate window, after calibration.
        history: One entry per epoch, however often the run was interrupted.
        resumed_after: Number of finished epochs at each restart from a checkpoint; empty for an uninterrupted run.
        rows: Rows that weights were fitted on.
        workers: Training processes.
        accelerator: Name of the GPU, or "cpu".
        seconds: Wall clock of the whole call.
    """

    model_dir: Path
    metrics: Metrics
    history: tuple[Epoch, ...]
    resumed_after: tuple[int, ...]
    rows: int
    workers: int
    accelerator: str
    seconds: float


def train(
    recipe: Recipe,
    *,
    table: TableVersion,
    storage_path: str,
    run_name: str,
    model_dir: Path,
    base_model_dir: Path | None = None,
    resume: Literal["never", "always"] = "never",
    on_epoch: OnEpoch = silent,
    callbacks: Sequence[UserCallback] = (),
) -> TrainResult:
    """Trains a model on the cluster that this process is connected to.

    Args:
        recipe: The complete configuration.
        table: The training set; the recipe's columns by name, one row per `row_key`.
        storage_path: Absolute path or URI that all nodes reach, for checkpoints.
        run_name: Names the run's folder there; unique, since Ray Train silently continues a run whose name it finds.
        model_dir: Where the model is written; empty or absent.
        base_model_dir: A model to fine-tune: its encoder is kept as it is and its weights are the first ones.
        resume: "always" continues the run of this name, which must exist and have the same recipe, table and base.
        on_epoch: Is told of each epoch as it ends, in this process, in a thread of its own.
        callbacks: Ray Train's own; they run on its controller, not in this process.

    Raises:
        TrainingError: if there is no cluster for it, if the run's folder exists (or doesn't, to resume), or if more
            workers failed than the recipe allows.
        RecipeError: if the base model doesn't fit the recipe, or is missing.
        DatasetError: if the table lacks columns, or rows in a window.
        MetricError: if the held-out days or the gate window have only one class.
    """
    started = time.monotonic()
    workers, use_gpu = _workers(recipe)
    rows = training_rows(table, recipe, "fit")
    base = _base(base_model_dir, recipe)
    encoder = base.encoder if base else Encoder.fit(rows.columns, recipe)
    shape = base.shape if base else Shape.of(encoder, recipe)
    weights = {name: tensor.numpy() for name, tensor in base.network.state_dict().items()} if base else None
    job = Job(recipe, table, encoder.to_json(), shape, weights)
    identity = {"recipe": recipe.fingerprint, "table": str(table), "base": run_folder.digest(base_model_dir)}
    run_folder.claim(storage_path, run_name, identity, resume=resume)
    with following(on_epoch) as epochs:
        trainer = TorchTrainer(
            train_loop,
            train_loop_config={"job": job},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
            run_config=RunConfig(
                name=run_name,
                storage_path=storage_path,
                failure_config=FailureConfig(max_failures=recipe.max_failures),
                checkpoint_config=CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),
                callbacks=[epochs, *callbacks],
                logging_config=LoggingConfig(log_level="WARNING"),
            ),
        )
        network, progress = _finished(trainer, run_name, shape, recipe)
    model = TabularModel(
        encoder=encoder,
        shape=shape,
        network=network,
        calibration=base.calibration if base else Calibration(),
        label=recipe.label,
    )
    if recipe.calibration == "fit":
        holdout = training_rows(table, recipe, "holdout")
        logits = model.logits(encoder.encode(holdout.columns))
        model.calibration = calibration.fit(logits, holdout.labels.astype(float))
    metrics = evaluate(model, recipe, table=table, window=recipe.gate_window)
    model.save(model_dir)
    return TrainResult(
        model_dir=model_dir,
        metrics=metrics,
        history=tuple(progress.epochs),
        resumed_after=tuple(progress.resumed_after),
        rows=len(rows),
        workers=workers,
        accelerator=progress.accelerator,
        seconds=time.monotonic() - started,
    )


def _workers(recipe: Recipe) -> tuple[int, bool]:
    """How many, and whether on GPUs: one GPU per worker where the cluster has any, else one CPU."""
    offered = ray.cluster_resources() if ray.is_initialized() else {}
    gpus, cpus = int(offered.get("GPU", 0)), int(offered.get("CPU", 0))
    if gpus:
        return min(recipe.num_workers, gpus), True
    if cpus < recipe.num_workers:
        raise TrainingError(
            object=f"recipe {recipe.model_name}",
            observed=f"a cluster with {cpus} CPUs" if offered else "no Ray cluster that this process is connected to",
            expected=f"{recipe.num_workers} CPUs, one per worker",
            next_step="connect to a larger cluster, or lower the recipe's num_workers",
        )
    return recipe.num_workers, False


def _base(folder: Path | None, recipe: Recipe) -> TabularModel | None:
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
    if set(model.inputs) != set(recipe.inputs) or model.label != recipe.label:
        different = sorted(set(model.inputs) ^ set(recipe.inputs)) or [model.label]
        raise RecipeError(
            object=f"base model in {folder}",
            observed=f"differs from the recipe in {', '.join(different)}",
            expected="a model with the recipe's inputs and label",
            next_step="train from scratch, or fine-tune a model of the same feature service",
        )
    return model


def _finished(trainer: TorchTrainer, run_name: str, shape: Shape, recipe: Recipe) -> tuple[WideAndDeep, Progress]:
    """Runs the trainer to its end and reads its last checkpoint."""
    try:
        result = trainer.fit()
    except TrainingFailedError as error:
        raise TrainingError(
            object=f"training run {run_name}",
            observed=str(error).strip(),
            expected=f"at most {recipe.max_failures} worker failures",
            next_step='remove the cause, then call train with resume="always": it goes on after the last checkpoint',
        ) from error
    if result.checkpoint is None:
        raise TrainingError(
            object=f"training run {run_name}",
            observed="it ended without a checkpoint",
            expected="one after the last epoch",
            next_step="look into the run's worker logs",
        )
    with result.checkpoint.as_directory() as folder:
        state, progress = read_state(Path(folder))
    network = WideAndDeep(shape)
    network.load_state_dict(state["network"])
    return network, progress
