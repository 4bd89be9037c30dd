"""One training run on a Ray cluster: what is fitted beforehand, the workers, and the finished model."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from pipelines.models import model_files
from pipelines.models.program import Epoch, OnProgress, Unit
from ray_jobs.core import checkpoint_folder, ray_train, run_folder, shard_writer
from ray_jobs.core.dataset import DatasetVersion, Rows
from ray_jobs.core.loop import Job
from ray_jobs.core.program import Model, Program
from ray_jobs.core.progress import following, ignore
from ray_jobs.core.recipe import TrainingRecipe
from ray_jobs.core.sample import sampled_rows

#: The folder of a run's examples, in the run's folder; removed when the run is finished.
EXAMPLES = "examples"


class Definition(Protocol):
    """What makes a program: its class."""

    def fitted(self, recipe: Any, rows: Rows, base: Path | None) -> Program[Any]: ...


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What is recorded of a finished run.

    Attributes:
        history: One entry per epoch, however often the run was interrupted.
        resumed_after: Number of finished steps at each restart from a checkpoint; empty for an uninterrupted run.
        unit: What an epoch's amount counts.
        rows: Rows that weights were fitted on.
        workers: Training processes.
        accelerator: Name of the GPU, or "cpu".
        seconds: Wall clock of the whole call.
    """

    history: tuple[Epoch, ...]
    resumed_after: tuple[int, ...]
    unit: Unit
    rows: int
    workers: int
    accelerator: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainResult(FinishedRun):
    """A finished run.

    Attributes:
        program: As it was fitted.
        model: The trained model, which was saved.
        beside: What the function returned that was called beside the workers; None without one.
    """

    program: Program[Any]
    model: Model
    beside: Any = None

    def record(self) -> FinishedRun:
        """The run without its model, for other processes."""
        return FinishedRun(**{field.name: getattr(self, field.name) for field in fields(FinishedRun)})


def train(
    definition: Definition,
    recipe: TrainingRecipe,
    *,
    table: DatasetVersion,
    storage_path: str,
    run_name: str,
    model_dir: Path,
    base_model_dir: Path | None = None,
    on_progress: OnProgress = ignore,
    beside: Callable[[Program[Any]], Any] | None = None,
) -> TrainResult:
    """Trains a model on the cluster that this process is connected to.

    Args:
        definition: The program's class.
        recipe: The complete configuration.
        table: The training set; it has the recipe's columns, and one row per `row_key`.
        storage_path: An absolute path that all nodes reach, for examples and checkpoints.
        run_name: Name of the run's folder there. Where there is that folder, the run goes on in it: with the same
            recipe, table and base alone.
        model_dir: Where the model is written; empty or absent, unless the run goes on.
        base_model_dir: A model to fine-tune: training begins with its weights.
        on_progress: Is called after each epoch and within one, in this process, in a thread of its own.
        beside: Is called with the fitted program, in a thread of its own: starting workers leaves this process, and for
            seconds a core, with nothing to do. An error of it is raised once the workers have ended.

    Raises:
        TrainingError: if the cluster is too small, if the run's folder is another run's, if a loss was no number, or if
            more workers failed than the recipe allows.
        Interrupted: if `requests.ask_to_stop` was called.
        RecipeError: if the base model doesn't fit the recipe, or is missing, or the workers lack what it asks for.
        DatasetError: if the table lacks columns or rows, or its labels do not fit the task.
        MetricError: if the held-out rows do not decide the calibration.
    """
    started = time.monotonic()
    workers = ray_train.workers_for(recipe.model_name, recipe.num_workers, fewest=recipe.scale.elastic_from)
    program = definition.fitted(recipe, sampled_rows(table, recipe, "fit"), base_model_dir)
    base = model_files.digest(base_model_dir) if base_model_dir else "none"
    identity = {"recipe": recipe.fingerprint, "table": str(table), "base": base}
    folder = Path(storage_path) / run_name
    goes_on = run_folder.claim(folder, identity)
    fit = shard_writer.write(program, table, recipe, "fit", folder / EXAMPLES / "fit")
    holdout = shard_writer.write(program, table, recipe, "holdout", folder / EXAMPLES / "holdout")
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as thread, following(folder, on_progress):
        further = thread.submit(beside, program) if beside else None
        ray_train.run_workers(
            ray_train.worker_main,
            {"job": Job(program, recipe, fit, holdout, folder)},
            run_name=run_name,
            storage_path=storage_path,
            workers=workers,
            fewest=recipe.scale.elastic_from,
            max_failures=recipe.max_failures,
        )
    journal = run_folder.finished(folder, run_name)
    network = program.network()
    checkpoint_folder.complete(folder)[-1].load_weights(network)
    model = program.trained(network, sampled_rows(table, recipe, "holdout"))
    if goes_on:
        shutil.rmtree(model_dir, ignore_errors=True)  # it may have ended while the model was saved
    model.save(model_dir)
    shutil.rmtree(folder / EXAMPLES)
    return TrainResult(
        program=program,
        model=model,
        beside=further.result() if further else None,
        history=tuple(journal.epochs),
        resumed_after=tuple(journal.resumed_after),
        unit=program.unit,
        rows=fit.rows,
        workers=workers.number,
        accelerator=journal.accelerator,
        seconds=time.monotonic() - started,
    )
