"""One trial of a search: a training in one process, whose folder says how far it came."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from pipelines.cost.prices import PriceSheet
from pipelines.errors import GoldpathError
from pipelines.machine import files
from pipelines.models import efficiency
from pipelines.models.program import Epoch
from pipelines.models.program import Program as Place
from pipelines.models.search import Search, Trial, with_values
from ray_jobs.core import shard_writer
from ray_jobs.core.dataset import DatasetVersion
from ray_jobs.core.errors import TrainingError
from ray_jobs.core.loop import Job, Worker, run
from ray_jobs.core.progress import Journal
from ray_jobs.core.recipe import TrainingRecipe
from ray_jobs.core.run_folder import finished
from ray_jobs.core.sample import sampled_rows

#: In a trial's folder: written when it came to its end, and why it failed.
ENDED_FILE, ERROR_FILE = "ended", "error"


@dataclass(frozen=True, slots=True)
class Trials:
    """What all trials of a search have in common; it is pickled to their processes.

    Attributes:
        program: The program by its places.
        recipe: The declared one.
        values: Those of each trial, by the names of the space.
        table: The training set.
        base_model_dir: A model to begin with.
        folder: Of the search; all nodes reach it as this path.
        prices: For the cost of a trial.
        search: As it was declared.
    """

    program: Place
    recipe: TrainingRecipe
    values: tuple[Mapping[str, Any], ...]
    table: DatasetVersion
    base_model_dir: Path | None
    folder: Path
    prices: PriceSheet
    search: Search

    def folder_of(self, number: int) -> Path:
        return self.folder / f"trial-{number:03d}"

    def recipe_of(self, number: int) -> TrainingRecipe:
        """The recipe of a trial, which trains in one process: a step has the same rows, in as many batches."""
        recipe = with_values(self.recipe, self.values[number - 1])
        batches = recipe.scale.accumulate * recipe.num_workers
        scale = dataclasses.replace(recipe.scale, accumulate=batches, elastic_from=None)
        return dataclasses.replace(recipe, num_workers=1, scale=scale)

    def train(self, number: int) -> None:
        """Trains a trial in this process, from its last checkpoint if it has one, and reports each epoch to Ray Tune.

        Epochs before an interruption are reported again, so that ASHA knows them; a trial that came to its end is
        reported alone.

        Raises:
            GoldpathError: as training does; the trial's folder keeps it.
        """
        folder = self.folder_of(number)
        reported: list[Epoch] = []

        def report(epoch: Epoch) -> None:
            reported.append(epoch)
            cost = sum(self._cost(each, self.accelerator) for each in reported)
            tune.report({"epoch": epoch.number, "validation_loss": epoch.validation_loss, "cost": cost})

        for epoch in journaled(folder):
            report(epoch)
        if (folder / ENDED_FILE).exists() or (folder / ERROR_FILE).exists():
            return
        try:
            self._train(number, folder, Worker(0, 1, self._device(), on_epoch=report))
        except Exception as error:
            words = str(error) if isinstance(error, GoldpathError) else f"{type(error).__name__}: {error}"
            files.replace(folder / ERROR_FILE, words)
            raise

    def _train(self, number: int, folder: Path, worker: Worker) -> None:
        recipe = self.recipe_of(number)
        program = self.program.definition().fitted(recipe, sampled_rows(self.table, recipe, "fit"), self.base_model_dir)
        fit = shard_writer.write(program, self.table, recipe, "fit", folder / "examples" / "fit")
        holdout = shard_writer.write(program, self.table, recipe, "holdout", folder / "examples" / "holdout")
        if not holdout.rows:
            raise TrainingError(
                object=f"trial {number} of {self.folder.name}",
                observed="no held-out row",
                expected="rows of the train window that are held out, by which trials are judged",
                next_step="correct the recipe's train_window or holdout_every_days",
            )
        run(Job(program, recipe, fit, holdout, folder), worker)
        finished(folder, f"{self.folder.name}/{folder.name}")

    def _cost(self, epoch: Epoch, accelerator: str) -> float:
        return efficiency.cost(epoch, self.prices, workers=1, accelerator=accelerator)

    def _device(self) -> torch.device:
        if not ray.get_gpu_ids():
            torch.set_num_threads(1)
            return torch.device("cpu")
        torch.cuda.empty_cache()
        return torch.device("cuda", 0)

    @property
    def accelerator(self) -> str:
        return torch.cuda.get_device_name(0) if ray.get_gpu_ids() else "cpu"

    def outcome(self, number: int) -> Trial | None:
        """How far a trial came; None of one that never began."""
        folder = self.folder_of(number)
        error = (folder / ERROR_FILE).read_text(encoding="utf-8") if (folder / ERROR_FILE).exists() else None
        journal = Journal.read(folder)
        if journal is None and error is None:
            return None
        epochs = journal.epochs if journal else []
        accelerator = journal.accelerator if journal else "cpu"
        seconds = sum(epoch.seconds for epoch in epochs)
        return Trial(
            number,
            {name: _shown(value) for name, value in self.values[number - 1].items()},
            "failed" if error else "finished" if len(epochs) == self.recipe.epochs else "stopped",
            tuple(epoch.validation_loss for epoch in epochs),
            seconds,
            sum(epoch.cpu_seconds for epoch in epochs),
            0.0 if accelerator == "cpu" else seconds,
            sum(self._cost(epoch, accelerator) for epoch in epochs),
            error,
        )


def journaled(folder: Path) -> list[Epoch]:
    """The epochs of a trial's folder so far."""
    journal = Journal.read(folder)
    return journal.epochs if journal else []


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool | None) else str(value)
